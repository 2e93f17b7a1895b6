"""What all connections together may hold of a node's memory, and who yields when it is taken.

All clients of a machine come from one address, so a limit for each would bind nobody. Whoever takes
little is served: when the memory is taken, the connection that holds most of it is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

HELD_BYTES_MAX = 256 * 1024 * 1024
"""Of requests that are not answered yet, and of answers and notifications that are not read."""


class Guest:
    """One connection's share."""

    __slots__ = ("_room", "has_left", "held", "scope")

    def __init__(self, room: Room, has_left: Callable[[], bool]) -> None:
        self._room = room
        self.has_left = has_left
        """Whether the client has closed its end. May be called from any thread."""
        self.held = 0
        """Bytes that are held for the client; the room counts them."""
        self.scope = trio.CancelScope()
        """Cancelled when the connection has to yield."""

    def hold(self, size: int) -> bool:
        """Count bytes that are held for the client; if False there is no room: drop them."""
        return self._room.hold(self, size)

    def release(self, size: int) -> None:
        """Count bytes off again."""
        self._room.release(self, size)


class Room:
    """The memory of a server for its connections."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._guests: set[Guest] = set()
        self._bytes_max = bytes_max
        self._held = 0

    @contextmanager
    def guest(self, has_left: Callable[[], bool] = lambda: False) -> Iterator[Guest]:
        """Take part; what runs within ends if it has to yield."""
        guest = Guest(self, has_left)
        self._guests.add(guest)
        try:
            with guest.scope:
                yield guest
        finally:
            self._forget(guest)

    def hold(self, guest: Guest, size: int) -> bool:
        """Count bytes of a connection, if need be in place of another's that holds more."""
        if guest not in self._guests:
            return False
        while self._held + size > self._bytes_max:
            largest = max(self._guests, key=lambda item: item.held)
            if largest.held <= guest.held + size:
                return False
            self._forget(largest)
            largest.scope.cancel()
        self._held += size
        guest.held += size
        return True

    def release(self, guest: Guest, size: int) -> None:
        """Count bytes of a connection off again."""
        if guest in self._guests:
            self._held -= size
            guest.held -= size

    def _forget(self, guest: Guest) -> None:
        if guest in self._guests:
            self._guests.remove(guest)
            self._held -= guest.held
