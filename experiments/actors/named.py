"""Actors by name, where a wrong name is told with the right ones."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeVar

from lowu.institutions.roles.holder import Holder

T = TypeVar("T")


class UnknownName(LookupError):
    """There is no such actor or node; the text names those that there are."""


class Named(dict[str, T]):
    """Actors of one kind, by name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: str) -> T:
        """Raise `UnknownName`, a `LookupError`."""
        raise UnknownName(tell_unknown(self._kind, name, list(self)))


class Holders(dict[str, Holder]):
    """Holders by name: any name is somebody."""

    def __init__(self, enter: Callable[[str], Holder]) -> None:
        super().__init__()
        self._enter = enter

    def __missing__(self, name: str) -> Holder:
        """Return a new holder."""
        self[name] = holder = self._enter(name)
        return holder


def tell_unknown(kind: str, name: object, known: list[str]) -> str:
    """Return the text of an error about a name that nobody has."""
    close = get_close_matches(str(name), known, 1)
    mend = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    return f"no {kind} {name!r} in this network; {mend}"
