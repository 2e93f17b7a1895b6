"""Reading of TOML files that people write: every problem at once, each with its line."""

from __future__ import annotations

import itertools
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lowu.contracts.named import printable
from lowu.node.errors import ConfigError

FILE_BYTES_MAX = 4 << 20
KEY_PARTS_MAX = 32
PROBLEMS_MAX = 50
UNKNOWN_KEYS_MAX = 20
"""Most problems that are told of a file, and unknown keys of one of its tables."""
_LONG_KEY = re.compile(
    r"""(?<![\w"'.-])(?:(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*)"""
    f"{{{KEY_PARTS_MAX}}}"
)


class _Lines:
    """Finds the line of a table or key in the text of a TOML file."""

    def __init__(self, text: str) -> None:
        self._places: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, index = "", 0
        for number, line in enumerate(text.splitlines(), start=1):
            header = re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]", line)
            key = re.match(r'\s*([A-Za-z0-9_-]+|"[^"]*")\s*=', line)
            if header:
                table = header[2]
                parent = table.rpartition(".")[0]
                index = counts[parent] - 1 if counts.get(parent) else counts.get(table, 0)
                counts[table] = index + 1
                self._places[table, index, ""] = number
            elif key:
                self._places.setdefault((table, index, key[1].strip('"')), number)

    def find(self, table: str, index: int = 0, key: str = "") -> int:
        """Return the line of a key, else of its table, else 1."""
        places = self._places
        above, _, last = table.partition(".")
        for place in (
            (table, index, key),
            (table, index, ""),
            (above, index, last),  # a table that is written within its line
            (above, index, ""),
            (key, 0, ""),  # of the file as a whole: the key is a table
        ):
            if place in places:
                return places[place]
        return 1


class TomlReader:
    """Collects problems while a file's tables are read."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = _Lines(text)
        self.problems: list[tuple[int, str]] = []

    def problem(self, table: str, index: int, key: str, text: str) -> None:
        """Note a problem at a key of the `index`-th table of a name."""
        self.problems.append((self.lines.find(table, index, key), text))

    def unknown_keys(self, table: str, index: int, raw: dict[str, Any], known: set[str]) -> None:
        """Note each key that a table should not have, with the nearest that it may have."""
        for key in itertools.islice(sorted(raw.keys() - known), UNKNOWN_KEYS_MAX):
            close = get_close_matches(key, known, 1)
            mend = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            self.problem(table, index, key, f"unknown key {key[:60]!r}; {mend}")

    def finish(self) -> None:
        """Raise `ConfigError` with all problems, in the order of their lines, if there are any."""
        if self.problems:
            told = sorted(self.problems)[:PROBLEMS_MAX]
            lines = [f"{self.path}:{line}: {text}" for line, text in told]
            if len(told) < len(self.problems):
                lines.append(f"and {len(self.problems) - len(told)} more")
            raise ConfigError("\n".join(map(printable, lines)))


def read_toml(path: Path) -> str:
    """Return the text of a TOML file of bounded size; `ConfigError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX:,} bytes")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Keys of many parts are refused first: the time that the parser takes grows with their square.
    """
    if _LONG_KEY.search(text):
        raise ConfigError(f"{path}: a key of more than {KEY_PARTS_MAX} parts")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
