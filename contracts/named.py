"""Things by name, where a wrong name is told with the right ones; texts fit for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")
_SPACES = "\u00a0\u3000"
"""Python does not call these printable, but they stand in texts that people write."""


class UnknownName(KeyError):
    """Nothing has that name; the text names what there is."""

    def __str__(self) -> str:
        """Return the text as it is; a `KeyError` puts it in quotes."""
        return str(self.args[0]) if self.args else ""


class Named(dict[str, T]):
    """Things of one kind, by name."""

    def __init__(self, kind: str, items: Mapping[str, T] | None = None) -> None:
        super().__init__(items or {})
        self._kind = kind

    def __missing__(self, name: str) -> T:
        """Raise `UnknownName`, a `KeyError`."""
        raise UnknownName(tell_unknown(self._kind, name, self))


def printable(text: str, kept: str = "") -> str:
    """Return a text without what would move a terminal's cursor, or begin another line.

    Characters in `kept`, such as a line's end, stay.
    """
    return "".join(
        char if char.isprintable() or char in kept or char in _SPACES else ascii(char)[1:-1]
        for char in text
    )


def tell_unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the text of an error about a name that nothing has."""
    names = list(known)
    close = get_close_matches(str(name), names, 1)
    mend = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
    return f"no {kind} {name!r}; {mend}"
