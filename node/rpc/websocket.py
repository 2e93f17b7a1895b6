"""WebSocket connections: one JSON-RPC request a message, notifications pushed between."""

from __future__ import annotations

import json
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

from node.rpc.dispatch import Dispatcher
from node.rpc.methods import Methods
from node.tap import Tap

MESSAGE_BYTES_MAX = 10 * 1024 * 1024
PIECE_BYTES = 64
"""What a piece of a message counts for at least: its place in memory."""
ARRIVAL_S = 20.0
"""For a message, once it has begun."""
IDLE_S = 120.0
"""Without a word before a ping, and again after it."""
SEND_S = 60.0
PUSHES_MAX = 1_024
RECEIVE_BYTES = 64 * 1024


async def serve_websocket(
    stream: trio.SocketStream,
    request: h11.Request,
    http: h11.Connection,
    dispatcher: Dispatcher,
    methods: Methods,
    tap: Tap,
) -> None:
    """Take over a connection that asked for an upgrade, and serve it to its end."""
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.initiate_upgrade_connection(
            list(request.headers), request.target.decode("ascii", "replace")
        )
        trailing, _ = http.trailing_data
        connection.receive_data(trailing or None)
        await _WebSocket(stream, connection, dispatcher, methods, tap).run()
    except (RemoteProtocolError, LocalProtocolError, h11.ProtocolError, UnicodeError):
        return  # the peer broke the protocol: the connection is closed by the caller


class _WebSocket:
    """One WebSocket connection."""

    def __init__(
        self,
        stream: trio.SocketStream,
        connection: WSConnection,
        dispatcher: Dispatcher,
        methods: Methods,
        tap: Tap,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._dispatcher = dispatcher
        self._tap = tap
        self._lock = trio.Lock()
        self._buffer: list[bytes] = []
        self._size = 0
        self._begun_s = 0.0
        """When the message in the buffer began."""
        self._pushes_in, self._pushes_out = trio.open_memory_channel[dict[str, Any]](PUSHES_MAX)
        self._scope = trio.CancelScope()
        self._session = methods.subscriptions.open_session(self._push)

    async def run(self) -> None:
        """Serve until the client closes."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_pushes)
                    await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            self._session.close()

    def _push(self, notification: dict[str, Any]) -> None:
        try:
            self._pushes_in.send_nowait(notification)
        except trio.WouldBlock:
            self._scope.cancel()

    async def _send_pushes(self) -> None:
        async for notification in self._pushes_out:
            await self._send(TextMessage(data=json.dumps(notification, separators=(",", ":"))))

    async def _send(self, event: Any) -> None:
        async with self._lock:
            try:
                with trio.move_on_after(SEND_S) as limit:
                    await self._stream.send_all(self._connection.send(event))
                if limit.cancelled_caught:  # it does not read, and got half a frame
                    self._scope.cancel()
            except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
                self._scope.cancel()

    async def _read(self) -> None:
        handlers: dict[type, Callable[[Any], Awaitable[bool]]] = {
            Request: self._on_request,
            TextMessage: self._on_text,
            BytesMessage: self._on_bytes,
            Ping: self._on_ping,
            CloseConnection: self._on_close,
        }
        while True:
            try:
                for event in self._connection.events():
                    handler = handlers.get(type(event))
                    if handler is not None and not await handler(event):
                        return
                data = await self._receive()
                self._connection.receive_data(data or None)
                if not data:
                    return
            except (RemoteProtocolError, LocalProtocolError):
                return

    async def _receive(self) -> bytes:
        """Return what arrives; nothing once the client is gone, silent even to a ping, or slow."""
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

    async def _on_bytes(self, event: BytesMessage) -> bool:
        await self._send(CloseConnection(code=1003, reason="send text"))
        return False

    async def _on_text(self, event: TextMessage) -> bool:
        if not self._buffer:
            self._begun_s = trio.current_time()
        data = event.data.encode()
        self._buffer.append(data)
        self._size += PIECE_BYTES + len(data)
        if self._size > MESSAGE_BYTES_MAX:
            await self._send(CloseConnection(code=1009, reason="message too large"))
            return False
        if not event.message_finished:
            return True
        body, self._buffer, self._size = b"".join(self._buffer), [], 0
        self._tap.received(body)
        extra = {
            "eth_subscribe": self._session.subscribe,
            "eth_unsubscribe": self._session.unsubscribe,
        }
        answer = await self._dispatcher.answer(body, extra)
        if answer:
            self._tap.sent(answer)
            await self._send(TextMessage(data=answer.decode()))
        return True
