"""The gateway: who this node is linked to, and how frames reach the rest of the node.

Every node both listens and dials all addresses of ``nodes.json``. If two nodes end up with two
links, both keep the one dialled by the smaller node id. Frames of a link are routed to the
handler that the composition root registered for their kind; a handler that raises `BadInput`
costs the peer its link and a pause.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeAlias

import trio

from lowu.node.errors import BadInput, ConfigError, LinkLost, raise_if_fatal
from lowu.node.gateway.entrance import GREETING_S, Entrance
from lowu.node.gateway.framing import Frame, FrameKind, decode_payload, encode_frame
from lowu.node.gateway.peer import LinkedPeer, Peer
from lowu.node.gateway.requests import (
    PeerRequest,
    decode_request,
    encode_request,
    oldest_version,
)
from lowu.node.gateway.tls import read_node_id
from lowu.node.gateway.tls_stream import TlsStream
from lowu.node.traffic_tap import Tap

DIAL_S = 10.0
"""How long a connection that this node opens may take; its handshake may take `GREETING_S`."""
RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0
REQUEST_S = 10.0
REQUESTS_MAX = 256
BAN_S = 10.0
PROTOCOL_VERSION = 4
"""What this node speaks: 4 has requests for states and their chunks."""
PROTOCOL_OLDEST = 3
"""The oldest version that it speaks to others: a network is upgraded node by node."""

Route: TypeAlias = Callable[[bytes, Any], Awaitable[None]]
Responder: TypeAlias = Callable[[PeerRequest], Awaitable[object]]

log = logging.getLogger("GATEWAY")


class Gateway:
    """All links of one node."""

    def __init__(
        self,
        *,
        node_id: bytes,
        members: Callable[[], frozenset[bytes]],
        genesis_hash: bytes,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        tap: Tap,
        entrants_max: int,
    ) -> None:
        self.node_id = node_id
        self._members = members
        self._genesis_hash = genesis_hash
        self._contexts = contexts
        self._tap = tap
        self._peers: dict[bytes, LinkedPeer] = {}
        self._routes: dict[FrameKind, Route] = {}
        self._responder: Responder | None = None
        self._pending: dict[int, tuple[bytes, trio.MemorySendChannel[Any]]] = {}
        self._request_id = 0
        self._entrance = Entrance(entrants_max)
        self._banned_until: dict[bytes, float] = {}
        self._versions: dict[bytes, int] = {}
        """By linked node, what it speaks."""
        self._refusals_logged: set[str] = set()
        self.on_links_changed: Callable[[frozenset[bytes]], None] = lambda links: None
        self.on_linked: Callable[[bytes], None] = lambda node_id: None
        """Told of each node once it is linked, also of one whose earlier link is replaced."""

    # --- what the rest of the node uses -----------------------------------------------------

    def route(self, kind: FrameKind, handler: Route) -> None:
        """Register the handler of a kind: called with the peer's node id and the payload."""
        self._routes[kind] = handler

    def respond_with(self, responder: Responder) -> None:
        """Register the function that answers requests of peers."""
        self._responder = responder

    @property
    def connected(self) -> frozenset[bytes]:
        """Node ids linked now."""
        return frozenset(self._peers)

    def send(self, node_id: bytes, kind: FrameKind, value: object) -> None:
        """Queue a frame for a node; dropped if there is no link."""
        self.broadcast([node_id], kind, value)

    def broadcast(self, node_ids: Iterable[bytes], kind: FrameKind, value: object) -> None:
        """Queue a frame for several nodes."""
        peers = [self._peers[node_id] for node_id in sorted(node_ids) if node_id in self._peers]
        if not peers:
            return
        data = encode_frame(kind, value)
        self._tap.sent(data)
        for peer in peers:
            peer.send_encoded(kind, data)

    async def request(self, node_id: bytes, request: PeerRequest) -> Any:
        """Ask a node and return its answer.

        Raises:
            LinkLost: there is no link, or it went down before an answer.
            BadInput: there is no answer in time, or too many requests wait.
        """
        if node_id not in self._peers:
            raise LinkLost("no link to ask")
        if len(self._pending) >= REQUESTS_MAX:
            raise BadInput(f"{REQUESTS_MAX} requests wait for answers")
        if self._versions.get(node_id, PROTOCOL_OLDEST) < oldest_version(request):
            raise BadInput("the peer speaks an older protocol, without that request")
        self._request_id += 1
        request_id = self._request_id
        send, receive = trio.open_memory_channel[Any](1)
        self._pending[request_id] = (node_id, send)
        try:
            self.send(node_id, FrameKind.REQUEST, [request_id, encode_request(request)])
            with trio.move_on_after(REQUEST_S):
                return await receive.receive()
            raise BadInput(f"no answer within {REQUEST_S:.0f} s")
        except trio.EndOfChannel as error:
            raise LinkLost("link closed before an answer") from error
        finally:
            del self._pending[request_id]
            send.close()

    def ban(self, node_id: bytes, reason: str) -> None:
        """Close a node's link and refuse it for a while."""
        log.warning("banned,peer=%s,reason=%s", node_id.hex()[:16], reason)
        self._banned_until[node_id] = trio.current_time() + BAN_S
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.close()

    def close_strangers(self) -> None:
        """Close the links to nodes that are no longer of the group."""
        for node_id in self.connected - self._members():
            log.info("no longer a member,peer=%s", node_id.hex()[:16])
            self._peers[node_id].close()

    # --- listening and dialling ---------------------------------------------------------------

    async def run(
        self, listeners: list[trio.SocketListener], addresses: Iterable[tuple[str, int]]
    ) -> None:
        """Serve listeners and dial addresses for ever."""
        async with trio.open_nursery() as nursery:
            for host, port in addresses:
                nursery.start_soon(self._dial, host, port)
            guarded = [self._entrance.guard(listener) for listener in listeners]
            await trio.serve_listeners(self._accept, guarded)

    async def _accept(self, stream: trio.SocketStream) -> None:
        async def secure() -> TlsStream:
            return await self._entrance.receive(stream, self._context(is_server=True))

        await self._serve(stream, secure, is_dialer=False, what="inbound")

    async def _dial(self, host: str, port: int) -> None:
        """Keep a link to whoever listens at an address."""
        wait_s = RETRY_S_MIN
        known: bytes | None = None
        while True:
            peer = self._peers.get(known) if known is not None else None
            if peer is not None:
                await peer.closed.wait()
                wait_s = RETRY_S_MIN
                continue
            known = await self._dial_once(host, port) or known
            if known is None or known not in self._peers:
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 1.5, RETRY_S_MAX)

    async def _dial_once(self, host: str, port: int) -> bytes | None:
        """Open a connection and serve it to its end; return whose it was."""
        try:
            with trio.fail_after(DIAL_S):
                stream = await trio.open_tcp_stream(host, port)
        except (OSError, trio.TooSlowError):
            return None

        async def secure() -> TlsStream:
            with trio.fail_after(GREETING_S):
                return await TlsStream.negotiate(
                    stream, self._context(is_server=False), is_server=False
                )

        return await self._serve(stream, secure, is_dialer=True, what=f"{host}:{port}")

    async def _serve(
        self,
        stream: trio.SocketStream,
        secure: Callable[[], Awaitable[TlsStream]],
        *,
        is_dialer: bool,
        what: str,
    ) -> bytes | None:
        """Authenticate a connection and run it to its end; return whose it was."""
        node_id: bytes | None = None
        secured: trio.abc.Stream = stream
        try:
            secured = tls = await secure()
            node_id = read_node_id(tls.get_certificate())
            await self.serve_link(tls, node_id, is_dialer=is_dialer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._log_refusal(what, f"handshake failed: {error.__cause__ or error}")
        except trio.TooSlowError:
            self._log_refusal(what, "no handshake in time")
        except (BadInput, ssl.SSLError) as error:
            self._log_refusal(what, str(error))
        except Exception as error:
            raise_if_fatal(error)
            log.warning("link failed,peer=%s", what, exc_info=error)
        finally:
            await trio.aclose_forcefully(secured)
        return node_id

    async def serve_link(self, stream: trio.abc.Stream, node_id: bytes, *, is_dialer: bool) -> None:
        """Run an authenticated connection to its end, if this node takes it.

        Raises:
            BadInput: the peer may not link to this node, or broke a rule.
        """
        await self.serve_peer(Peer(stream, node_id, is_dialer=is_dialer))

    async def serve_peer(self, peer: LinkedPeer) -> None:
        """Run a link to its end, if this node takes it.

        Raises:
            BadInput: the peer may not link to this node, or broke a rule.
        """
        self._admit(peer.node_id)
        if self._adopt(peer):
            try:
                await self._run_peer(peer)
            finally:
                self._forget(peer)

    def _context(self, *, is_server: bool) -> ssl.SSLContext:
        if self._contexts is None:
            raise ConfigError("this gateway has no certificates: it takes no connections")
        return self._contexts[0 if is_server else 1]

    def _log_refusal(self, what: str, reason: str) -> None:
        key = f"{what} {reason}"
        if key not in self._refusals_logged and len(self._refusals_logged) < 1_000:
            self._refusals_logged.add(key)
            log.warning("refused,peer=%s,reason=%s", what, reason)

    def _admit(self, node_id: bytes) -> None:
        if node_id not in self._members():
            raise BadInput(f"node {node_id.hex()[:16]} is not a member of the group")
        if node_id == self.node_id:
            raise BadInput("link to this node itself, or another node with the same node id")
        if trio.current_time() < self._banned_until.get(node_id, 0):
            raise BadInput(f"node {node_id.hex()[:16]} is banned for now")

    def _adopt(self, peer: LinkedPeer) -> bool:
        """Take a new link, or keep the old one if that one was dialled by the smaller id."""
        old = self._peers.get(peer.node_id)
        if old is not None:
            dialer = self.node_id if peer.is_dialer else peer.node_id
            if old.is_dialer != peer.is_dialer and dialer != min(self.node_id, peer.node_id):
                return False
            old.close()
        self._peers[peer.node_id] = peer
        return True

    def _forget(self, peer: LinkedPeer) -> None:
        if self._peers.get(peer.node_id) is peer:
            del self._peers[peer.node_id]
            log.info("link down,peer=%s,count=%d", peer.node_id.hex()[:16], len(self._peers))
            self.on_links_changed(self.connected)
        for node_id, channel in list(self._pending.values()):
            if node_id == peer.node_id:
                channel.close()

    async def _run_peer(self, peer: LinkedPeer) -> None:
        peer.send(FrameKind.HELLO, [PROTOCOL_VERSION, self._genesis_hash])
        has_greeted = False

        async def handle(source: LinkedPeer, frame: Frame) -> None:
            nonlocal has_greeted
            self._tap.received(frame.payload)
            value = decode_payload(frame)
            if not has_greeted:
                self._versions[peer.node_id] = self._check_hello(frame.kind, value)
                has_greeted = True
                if self._peers.get(peer.node_id) is peer:
                    count = len(self._peers)
                    log.info("link up,peer=%s,count=%d", peer.node_id.hex()[:16], count)
                    self.on_links_changed(self.connected)
                    self.on_linked(peer.node_id)
                return
            await self._handle_frame(source.node_id, frame.kind, value)

        await peer.run(handle)

    def _check_hello(self, kind: FrameKind, value: object) -> int:
        """Return the version that a peer speaks; of two nodes, the newer one adapts itself."""
        if kind is not FrameKind.HELLO or not isinstance(value, list) or len(value) != 2:
            raise BadInput("first frame is not a HELLO")
        if type(value[0]) is not int or value[0] < PROTOCOL_OLDEST:
            raise BadInput(
                f"peer speaks protocol {value[0]!r:.20}, this node {PROTOCOL_OLDEST} to "
                f"{PROTOCOL_VERSION}"
            )
        if value[1] != self._genesis_hash:
            raise BadInput("peer has another genesis: its config.genesis differs from ours")
        return value[0]

    async def _handle_frame(self, node_id: bytes, kind: FrameKind, value: Any) -> None:
        if kind is FrameKind.RESPONSE:
            request_id, answer = _pair(value)
            waiting = self._pending.get(request_id)
            if waiting is not None and waiting[0] == node_id:
                with suppress(trio.WouldBlock, trio.ClosedResourceError):  # a second answer
                    waiting[1].send_nowait(answer)
            return
        if kind is FrameKind.REQUEST:
            request_id, what = _pair(value)
            if self._responder is not None:
                answer = await self._responder(decode_request(what))
                self.send(node_id, FrameKind.RESPONSE, [request_id, answer])
            return
        route = self._routes.get(kind)
        if route is not None:
            await route(node_id, value)


def _pair(value: object) -> tuple[int, Any]:
    if not isinstance(value, list) or len(value) != 2 or type(value[0]) is not int:
        raise BadInput("request or response is not [id, value]")
    return value[0], value[1]
