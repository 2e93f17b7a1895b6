"""Holders by name: any name is somebody."""

from __future__ import annotations

from collections.abc import Callable

from lowu.institutions.roles.holder import Holder


class Holders(dict[str, Holder]):
    """Holders by name; one who is asked for first is made then."""

    def __init__(self, enter: Callable[[str], Holder]) -> None:
        super().__init__()
        self._enter = enter

    def __missing__(self, name: str) -> Holder:
        """Return a new holder."""
        self[name] = holder = self._enter(name)
        return holder
