"""The memory that all connections together may hold, and the choice of one to close at the limit.

All clients on one machine share an address, so a limit per address would be useless. Clients that
hold little are served: when the memory is used up, the connection that holds most is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

HELD_BYTES_MAX = 256 * 1024 * 1024
"""Limit for unanswered requests, and for answers and notifications not yet read by clients."""


class Guest:
    """One connection's share."""

    __slots__ = ("_room", "has_left", "held", "scope")

    def __init__(self, room: Room, has_left: Callable[[], bool]) -> None:
        self._room = room
        self.has_left = has_left
        """Whether the client has closed its end. May be called from any thread."""
        self.held = 0
        """Bytes held for the client; maintained by the room."""
        self.scope = trio.CancelScope()
        """Cancelled when the connection must be closed to free memory."""

    def hold(self, size: int) -> bool:
        """Reserve bytes for the client; False means no room: the caller must drop them."""
        return self._room.hold(self, size)

    def release(self, size: int) -> None:
        """Release reserved bytes."""
        self._room.release(self, size)


class Room:
    """The memory of a server for its connections."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._guests: set[Guest] = set()
        self._bytes_max = bytes_max
        self._held = 0

    @contextmanager
    def guest(self, has_left: Callable[[], bool] = lambda: False) -> Iterator[Guest]:
        """Register a connection; the body is cancelled if it must be closed to free memory."""
        guest = Guest(self, has_left)
        self._guests.add(guest)
        try:
            with guest.scope:
                yield guest
        finally:
            self._forget(guest)

    def hold(self, guest: Guest, size: int) -> bool:
        """Reserve bytes for a connection, if necessary by closing one that holds more."""
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
        """Release a connection's reserved bytes."""
        if guest in self._guests:
            self._held -= size
            guest.held -= size

    def _forget(self, guest: Guest) -> None:
        if guest in self._guests:
            self._guests.remove(guest)
            self._held -= guest.held
