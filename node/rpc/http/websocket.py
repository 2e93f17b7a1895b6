"""WebSocket connections: one JSON-RPC request a message, with pushed notifications in between.

Requests are answered concurrently, and each answer is sent when it is ready: a request that waits
for a transaction delays neither others nor a pong. If a client has sent too many requests, the
node stops reading until there is room; if it disconnects, its requests are cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from lowu.node.limits.connections import WatchedStream
from lowu.node.rpc.dispatch import Dispatcher, encode_response
from lowu.node.rpc.http.room import Guest
from lowu.node.rpc.methods import Methods
from lowu.node.traffic_tap import Tap

MESSAGE_BYTES_MAX = 10 * 1024 * 1024
PIECE_BYTES = 64
"""Bytes counted for each piece of a message besides its own: its overhead in memory."""
ARRIVAL_S = 20.0
"""Time in which a message must arrive once it has begun."""
IDLE_S = 120.0
"""Silence before a ping is sent, and after it before the connection is closed."""
SEND_S = 60.0
IN_FLIGHT_MAX = 16
"""Requests of a connection that are answered concurrently."""
WAITING_MAX = 256
"""Requests that may wait for that; of any size for one, else at most MESSAGE_BYTES_MAX in all."""
PUSHES_MAX = 1_024
PUSHED_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of notifications that a client may leave unread before it is disconnected."""
RECEIVE_BYTES = 64 * 1024


async def serve_websocket(
    stream: WatchedStream,
    request: h11.Request,
    http: h11.Connection,
    guest: Guest,
    dispatcher: Dispatcher,
    methods: Methods,
    tap: Tap,
) -> None:
    """Take over a connection that asked for an upgrade, and serve it until it closes."""
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.initiate_upgrade_connection(
            list(request.headers), request.target.decode("ascii", "replace")
        )
        trailing, _ = http.trailing_data
        connection.receive_data(trailing or None)
        await _WebSocket(stream, connection, guest, dispatcher, methods, tap).run()
    except (RemoteProtocolError, LocalProtocolError, h11.ProtocolError, UnicodeError):
        return  # the peer broke the protocol: the connection is closed by the caller


class _WebSocket:
    """One WebSocket connection."""

    def __init__(
        self,
        stream: WatchedStream,
        connection: WSConnection,
        guest: Guest,
        dispatcher: Dispatcher,
        methods: Methods,
        tap: Tap,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._guest = guest
        self._dispatcher = dispatcher
        self._tap = tap
        self._lock = trio.Lock()
        self._buffer: list[bytes] = []
        self._size = 0
        """Bytes in the buffer, with each piece's overhead; reserved, like all bytes below."""
        self._begun_s = 0.0
        """Time at which the message in the buffer began."""
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._workers = 0
        self._is_roomy = trio.Event()
        """Set whenever a waiting request is taken."""
        self._pushed_bytes = 0
        self._pushes_in, self._pushes_out = trio.open_memory_channel[bytes](PUSHES_MAX)
        self._scope = trio.CancelScope()
        self._session = methods.subscriptions.open_session(self._push)
        self._own_methods = {
            "eth_subscribe": self._session.subscribe,
            "eth_unsubscribe": self._session.unsubscribe,
        }

    async def run(self) -> None:
        """Serve until the client closes."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_pushes)
                    await self._read(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self._session.close()

    # --- sending ----------------------------------------------------------------------------

    def _push(self, notification: dict[str, Any]) -> bool:
        """Queue a notification; disconnect a client that leaves too much unread."""
        if self._scope.cancel_called:
            return False
        data = encode_response(notification)
        self._pushed_bytes += len(data)
        try:
            if self._pushed_bytes <= PUSHED_BYTES_MAX and self._guest.hold(len(data)):
                self._pushes_in.send_nowait(data)
                return True
        except trio.WouldBlock:
            pass
        self._scope.cancel()
        return False

    async def _send_pushes(self) -> None:
        async for data in self._pushes_out:
            await self._send(TextMessage(data=data.decode()))
            self._pushed_bytes -= len(data)
            self._guest.release(len(data))

    async def _send(self, event: Any) -> None:
        async with self._lock:
            try:
                with trio.move_on_after(SEND_S) as limit:
                    await self._stream.send_all(self._connection.send(event))
                if limit.cancelled_caught:  # the client does not read; it has half a frame
                    self._scope.cancel()
            except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
                self._scope.cancel()

    # --- receiving --------------------------------------------------------------------------

    async def _read(self, nursery: trio.Nursery) -> None:
        handlers: dict[type, Callable[[Any], Awaitable[bool]]] = {
            Request: self._on_request,
            TextMessage: self._on_piece,
            BytesMessage: self._on_piece,
            Ping: self._on_ping,
            CloseConnection: self._on_close,
        }
        while True:
            try:
                for event in self._connection.events():
                    handler = handlers.get(type(event))
                    if handler is not None and not await handler(event):
                        return
                    if self._waiting and self._workers < IN_FLIGHT_MAX:
                        self._workers += 1
                        nursery.start_soon(self._work)
                data = await self._receive()
                self._connection.receive_data(data or None)
                if not data:
                    return
            except (RemoteProtocolError, LocalProtocolError):
                return

    async def _receive(self) -> bytes:
        """Return the next bytes; b"" if the client left, ignored a ping, or sends too slowly."""
        for is_pinged in (False, True):
            now_s = trio.current_time()
            wait_s = self._begun_s + ARRIVAL_S - now_s if self._buffer else IDLE_S
            with trio.move_on_after(max(0.0, wait_s)):
                return bytes(await self._stream.receive_some(RECEIVE_BYTES))
            if self._buffer or is_pinged:
                break
            await self._send(Ping())
        return b""

    async def _on_request(self, event: Request) -> bool:
        await self._send(AcceptConnection())
        return True

    async def _on_ping(self, event: Ping) -> bool:
        await self._send(event.response())
        return True

    async def _on_close(self, event: CloseConnection) -> bool:
        await self._send(event.response())
        return False

    async def _on_piece(self, event: TextMessage | BytesMessage) -> bool:
        """Add a piece of a message, as text or as bytes: web3.py sends requests as bytes."""
        if not self._buffer:
            self._begun_s = trio.current_time()
        data = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
        size = PIECE_BYTES + len(data)
        self._buffer.append(data)
        self._size += size
        if self._size > MESSAGE_BYTES_MAX:
            await self._send(CloseConnection(code=1009, reason="message too large"))
            return False
        if not self._guest.hold(size):
            await self._send(CloseConnection(code=1013, reason="no room now; try again later"))
            return False
        if event.message_finished:
            await self._take(b"".join(self._buffer))
        return True

    async def _take(self, body: bytes) -> None:
        """Queue a complete message to be answered; wait, reading no more, until there is room."""
        self._guest.release(self._size - len(body))  # the pieces are joined now
        self._buffer, self._size = [], 0
        while self._waiting and (
            len(self._waiting) >= WAITING_MAX or self._waiting_bytes + len(body) > MESSAGE_BYTES_MAX
        ):
            self._is_roomy = trio.Event()
            await self._is_roomy.wait()
        self._waiting.append(body)
        self._waiting_bytes += len(body)

    async def _work(self) -> None:
        """Answer waiting requests until there are none."""
        while self._waiting:
            body = self._waiting.popleft()
            self._waiting_bytes -= len(body)
            self._is_roomy.set()
            self._tap.received(body)
            answer = await self._dispatcher.answer(body, self._own_methods, self._guest)
            self._guest.release(len(body))
            if answer and self._guest.hold(len(answer)):
                self._tap.sent(answer)
                await self._send(TextMessage(data=answer.decode()))
                self._guest.release(len(answer))
            elif answer:
                await self._send(CloseConnection(code=1013, reason="no room for the answer"))
                self._scope.cancel()
        self._workers -= 1
