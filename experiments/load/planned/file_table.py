"""A table of an experiment file: its values, within their bounds, or problems at their lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowu.contracts.named import tell_unknown
from lowu.contracts.schemas.schema_tables import tell_value
from lowu.node.topology.toml_reader import TomlReader

ENDS = 2
"""Of a link."""


class FileTable:
    """A table of the file. What is wrong with a value is noted, and its default returned."""

    def __init__(self, reader: TomlReader, name: str, index: int, raw: object) -> None:
        self._reader, self._name, self._index = reader, name, index
        self.raw: dict[str, Any] = raw if isinstance(raw, dict) else {}
        if not isinstance(raw, dict):
            reader.problem(name, index, "", f"table [{name}] is missing")

    def tell(self, key: str, text: str) -> None:
        """Note a problem of a key."""
        self._reader.problem(self._name, self._index, key, text)

    def only(self, *known: str) -> None:
        """Note all keys that are not known."""
        self._reader.unknown_keys(self._name, self._index, self.raw, set(known))

    def text(self, key: str, default: str) -> str:
        """Return a text."""
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            self.tell(key, f"{key} must be a text, not {tell_value(value)}")
            return default
        return value

    def path(self, key: str) -> Path:
        """Return the path of a file that is named from the experiment file's folder on.

        It has to be in that folder, so that results have a copy of both.
        """
        name = Path(self.text(key, ""))
        if name.is_absolute() or ".." in name.parts:
            self.tell(key, f"{key}: put the file beside this one, or in a folder there")
        return self._reader.path.parent / name

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """Return one of some texts."""
        value = self.text(key, default)
        if value not in choices:
            self.tell(key, tell_unknown(key, value, choices))
            return default
        return value

    def number(
        self, key: str, default: float, low: float, high: float, *, is_whole: bool = False
    ) -> float:
        """Return a number within bounds."""
        value = self.raw.get(key, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or (is_whole and not isinstance(value, int)):
            what = "a whole number" if is_whole else "a number"
            self.tell(key, f"{key} must be {what}, not {tell_value(value)}")
            return default
        if not low <= value <= high:  # NaN is not either
            self.tell(key, f"{key} must be in {low:g}..{high:g}, not {tell_value(value)}")
            return default
        return value if is_whole else float(value)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self.tell(key, f"{key} must be true or false, not {tell_value(value)}")
            return False
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a name, or several, as a tuple."""
        value = self.raw.get(key)
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            self.tell(key, f"{key} must be a name, or a list of names")
            return ()
        return tuple(value)

    def ends(self, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return two ends of links: a name each, or a list of names."""
        value = self.raw.get(key)
        found = []
        for item in value if isinstance(value, list) and len(value) == ENDS else ():
            names = [item] if isinstance(item, str) else item
            if isinstance(names, list) and names and all(isinstance(v, str) for v in names):
                found.append(tuple(names))
        if len(found) != ENDS:
            self.tell(
                key,
                f'{key} is two ends, such as ["SZ", "HK"]: each a side, an institution or a node, '
                "or a list of them",
            )
            return ("SZ",), ("HK",)
        return found[0], found[1]
