"""The RPC server: HTTP/1.1 with h11 and WebSocket with wsproto, on the same ports.

Everything is bounded: connections, header and body size, time for a request to arrive, pushed
notifications. Web pages may use it if they are listed (`access`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
import trio

from lowu.node.errors import BadInput, raise_if_fatal
from lowu.node.limits.connections import (
    ConnectionTable,
    GatedListener,
    Pace,
    WatchedStream,
    has_left,
    read_source,
)
from lowu.node.rpc.call_runner import CallRunner, InlineRunner
from lowu.node.rpc.dispatch import Dispatcher, encode_response, failure
from lowu.node.rpc.http.access import Access, Refusal
from lowu.node.rpc.http.plain import find_body, render_answer
from lowu.node.rpc.http.room import Guest, Room
from lowu.node.rpc.http.websocket import serve_websocket
from lowu.node.rpc.methods import Methods
from lowu.node.rpc.rpc_errors import LIMIT_EXCEEDED, RpcError
from lowu.node.traffic_tap import Tap

BODY_BYTES_MAX = 10 * 1024 * 1024
_TOO_LARGE = f"the body is larger than {BODY_BYTES_MAX} bytes"
NEWCOMERS_PER_S = 100.0
"""Rate of new connections once all places are taken: each evicts an idle one, which may return."""
NEWCOMERS_AT_ONCE = 100
SMALL_BYTES = 64 * 1024
"""Bytes that a connection may hold uncounted: its place allows for them."""
IDLE_S = 120.0
ARRIVAL_S = 20.0
"""Time in which the rest of a request must arrive (against slow-loris attacks)."""
SEND_S = 60.0
"""Time in which a client must read an answer."""
LINGER_S = 2.0
RECEIVE_BYTES = SMALL_BYTES
_NO_ROOM = encode_response(
    failure(None, RpcError(LIMIT_EXCEEDED, "no room for so large an answer: ask for less"))
)

log = logging.getLogger("RPC")


class RpcServer:
    """Serves JSON-RPC on any number of listeners."""

    def __init__(
        self,
        methods: Methods,
        tap: Tap,
        access: Access,
        is_busy: Callable[[], bool] = lambda: False,
        *,
        connections_max: int,
        is_threaded: bool = True,
    ) -> None:
        self.methods = methods
        self.tap = tap
        self.access = access
        self.dispatcher = Dispatcher(
            methods, CallRunner(is_busy) if is_threaded else InlineRunner()
        )
        self.room = Room()
        self._connections = ConnectionTable(connections_max)
        self._pace = Pace(NEWCOMERS_PER_S, NEWCOMERS_AT_ONCE)

    async def run(self, listeners: list[trio.SocketListener]) -> None:
        """Serve for ever."""
        await trio.serve_listeners(
            self.serve, [GatedListener(listener, self._wait_for_turn) for listener in listeners]
        )

    async def _wait_for_turn(self) -> None:
        if self._connections.is_full:
            await self._pace.turn()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it closes."""
        try:
            with (
                self._connections.hold(read_source(stream)) as place,
                self.room.guest(lambda: has_left(stream)) as guest,
            ):
                await _HttpConnection(self, WatchedStream(stream, place), guest).run()
        except BadInput as error:
            log.info("connection refused,reason=%s", error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception as error:
            raise_if_fatal(error)
            log.warning("connection failed", exc_info=error)
        finally:
            with trio.move_on_after(0.5, shield=True):
                await trio.aclose_forcefully(stream)


class _HttpConnection:
    """One client connection."""

    def __init__(self, server: RpcServer, stream: WatchedStream, guest: Guest) -> None:
        self._server = server
        self._stream = stream
        self._guest = guest
        self._cors: list[tuple[str, bytes]] = []
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=32 * 1024)

    async def run(self) -> None:
        """Serve requests until the client disconnects or breaks the protocol."""
        rest = await self._serve_plain()
        if rest:
            self._http.receive_data(rest)
            await self._serve_by_h11()

    async def _serve_plain(self) -> bytes:
        """Serve plain requests; return the first bytes of any other, b"" if the client left."""
        data = b""
        with trio.CancelScope() as idle:  # one for all requests: creating one is expensive
            while True:
                bounds = find_body(data, BODY_BYTES_MAX, self._server.access)
                if bounds is not None:
                    body, data = data[bounds[0] : bounds[1]], data[bounds[1] :]
                    idle.deadline = math.inf  # answering has its own time-outs
                    answer = await self._answer(body)
                    idle.deadline = trio.current_time() + SEND_S
                    await self._stream.send_all(render_answer(answer))
                    self._note_sent(answer)
                elif data:
                    return data
                else:
                    idle.deadline = trio.current_time() + IDLE_S
                    data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
                    if not data:
                        return b""
        return b""

    async def _answer(self, body: bytes) -> bytes:
        """Return the answer to a body; the caller must pass it to `_note_sent` once sent."""
        server, guest = self._server, self._guest
        server.tap.received(body)
        answer = await server.dispatcher.answer(body, client=guest)
        if len(answer) > SMALL_BYTES and not guest.hold(len(answer)):
            answer = _NO_ROOM
        server.tap.sent(answer)
        return answer

    def _note_sent(self, answer: bytes) -> None:
        if len(answer) > SMALL_BYTES:
            self._guest.release(len(answer))

    async def _serve_by_h11(self) -> None:
        while True:
            try:
                with trio.move_on_after(IDLE_S) as idle:
                    request = await self._next_event()
                if idle.cancelled_caught or not isinstance(request, h11.Request):
                    return
                self._server.access.check(request)
                if _is_upgrade(request):
                    await serve_websocket(
                        self._stream,
                        request,
                        self._http,
                        self._guest,
                        self._server.dispatcher,
                        self._server.methods,
                        self._server.tap,
                    )
                    return
                if not await self._handle(request):
                    return
                self._http.start_next_cycle()
            except Refusal as refusal:
                await self._refuse(refusal.status, refusal.reason)
                return
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint or 400, str(error))
                return

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._send(go_on)
            self._http.receive_data(await self._stream.receive_some(RECEIVE_BYTES))

    async def _send(self, *events: h11.Event) -> None:
        """Send events in one write: a write costs more than building all the events."""
        data = b"".join([self._http.send(event) or b"" for event in events])
        if data:
            with trio.move_on_after(SEND_S) as limit:
                await self._stream.send_all(data)
            if limit.cancelled_caught:
                raise trio.BrokenResourceError("the client does not read its answer")

    async def _handle(self, request: h11.Request) -> bool:
        """Answer one request; return whether the connection can serve another."""
        self._cors = self._server.access.cors(request)
        for name, value in request.headers:
            if name == b"content-length" and int(value) > BODY_BYTES_MAX:
                raise Refusal(413, _TOO_LARGE)
        with trio.move_on_after(ARRIVAL_S) as arrival:
            body = await self._read_body()
        if arrival.cancelled_caught:
            await self._refuse(408, "the request did not arrive in time")
            return False
        if request.method == b"OPTIONS":
            await self._respond(204, b"")
        elif request.method != b"POST":
            hint = b'{"error":"send JSON-RPC requests with POST"}'
            await self._respond(405, b"" if request.method == b"HEAD" else hint)
        else:
            answer = await self._answer(body)
            await self._respond(200, answer)
            self._note_sent(answer)
        self._guest.release(len(body))
        is_over = self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.MUST_CLOSE
        return not is_over and self._http.our_state is h11.DONE

    async def _read_body(self) -> bytes:
        """Return a request's body; its bytes are reserved, and the caller must release them."""
        body = bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise Refusal(413, _TOO_LARGE)
                if not self._guest.hold(len(event.data)):
                    raise Refusal(503, "no room for this request now: send it in smaller parts")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                raise h11.RemoteProtocolError("connection closed within a request")

    async def _respond(self, status: int, body: bytes) -> None:
        headers: list[Any] = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            *self._cors,
        ]
        response = h11.Response(status_code=status, headers=headers)
        await self._send(response, h11.Data(data=body), h11.EndOfMessage())

    async def _refuse(self, status: int, reason: str) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = json.dumps({"error": reason}).encode()
        headers: list[Any] = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        try:
            response = h11.Response(status_code=status, headers=headers)
            await self._send(response, h11.Data(data=body), h11.EndOfMessage())
        except h11.LocalProtocolError:
            log.debug("connection cannot take an answer")
            return
        await self._linger()

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread data would make the client lose our answer."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()
            with trio.move_on_after(LINGER_S):
                while await self._stream.receive_some(RECEIVE_BYTES):
                    pass


def _is_upgrade(request: h11.Request) -> bool:
    return any(
        name == b"upgrade" and value.lower() == b"websocket" for name, value in request.headers
    )
