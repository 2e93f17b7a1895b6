"""Places for connections: a bound, and the choice of a connection to evict when it is reached.

A newcomer is never refused because others sit idle. Among the connections that this node is
waiting for, it evicts one of the source address with the most connections: the one it has waited
for longest. So a stranger with any number of connections evicts its own, a client that is being
served keeps its place, and a client that needs no longer than evicting all others once takes
always gets through. Where eviction is expensive, newcomers are accepted at a bounded rate; the
rest wait in the kernel's queue.
"""

from __future__ import annotations

import socket
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from lowu.node.errors import BadInput


class Place:
    """The place of one connection, for as long as `ConnectionTable.hold` lasts."""

    def __init__(self, table: ConnectionTable, source: str) -> None:
        self.source = source
        self.scope = trio.CancelScope()
        self.is_waiting = False
        """Whether it is the other end's turn: only then may this connection be evicted."""
        self._table = table

    def begin_wait(self) -> None:
        """Note that it is the other end's turn from now on."""
        self.is_waiting = True
        self._table.put_last(self)


class ConnectionTable:
    """At most `limit` connections of one kind."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: OrderedDict[Place, None] = OrderedDict()
        """Ordered by the time that they have kept this node waiting, longest first."""
        self._counts: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether a newcomer evicts another connection."""
        return len(self._places) >= self._limit

    @contextmanager
    def hold(self, source: str) -> Iterator[Place]:
        """Hold a place for a connection; the body is cancelled if the connection is evicted.

        Raises:
            BadInput: there is no place, since all other connections are being served.
        """
        if self.is_full:
            self._make_way()
        place = Place(self, source)
        self._places[place] = None
        self._counts[source] += 1
        try:
            with place.scope:
                yield place
        finally:
            self._remove(place)

    def put_last(self, place: Place) -> None:
        """Note that a place's wait begins now."""
        if place in self._places:
            self._places.move_to_end(place)

    def _make_way(self) -> None:
        waiting = (place for place in self._places if place.is_waiting)
        chosen = max(waiting, key=lambda place: self._counts[place.source], default=None)
        if chosen is None:
            raise BadInput(f"all {self._limit} connections are being served")
        self._remove(chosen)
        chosen.scope.cancel()

    def _remove(self, place: Place) -> None:
        if place in self._places:
            del self._places[place]
            self._counts[place.source] -= 1
            if not self._counts[place.source]:
                del self._counts[place.source]


class Pace:
    """Turns at a bounded rate, after a burst of free ones."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst * self._interval_s
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for a turn."""
        now_s = trio.current_time()
        self._next_s = max(self._next_s, now_s - self._burst_s) + self._interval_s
        await trio.sleep_until(self._next_s)


class GatedListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that passes a gate before it accepts each connection."""

    def __init__(self, listener: trio.SocketListener, gate: Callable[[], Awaitable[None]]) -> None:
        self._listener = listener
        self._gate = gate

    async def accept(self) -> trio.SocketStream:
        """Accept a connection."""
        await self._gate()
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()


def has_left(stream: trio.SocketStream) -> bool:
    """Whether the other end has closed; pending data stays unread."""
    try:
        # Called from any thread: the descriptor may be closed, or another file's, by now.
        lent = socket.socket(fileno=stream.socket.fileno())
    except (OSError, ValueError):
        return True
    try:
        return not lent.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        lent.detach()


class WatchedStream(trio.abc.HalfCloseableStream):
    """A connection that marks its place as waiting while it waits for the other end."""

    def __init__(self, stream: trio.SocketStream, place: Place) -> None:
        self._stream = stream
        self._place = place

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes."""
        self._place.begin_wait()
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        finally:
            self._place.is_waiting = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        self._place.begin_wait()
        try:
            await self._stream.send_all(data)
        finally:
            self._place.is_waiting = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket accepts bytes."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End the sending direction."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


def read_source(stream: trio.abc.Stream) -> str:
    """Return a connection's source address; "" if it has none, or is closed already."""
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
