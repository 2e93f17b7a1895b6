"""Relays between all nodes of a network of processes, so that links can be cut and slowed.

Each node's ``nodes.json`` names one of these relays for every other node, so that all bytes between
nodes pass through here; TLS bytes are forwarded unchanged. A cut is silence: as with a cut cable,
nothing is refused or closed, and bytes sent meanwhile arrive once it heals. The relays run in a
thread of their own and may be told from any other.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import trio

from lowu.contracts.registry import Jurisdiction
from lowu.node.topology.control import Control
from lowu.node.topology.faults.link_shape import Direction, LinkShape
from lowu.node.topology.plan import HOST, Plan, PlannedNode
from lowu.node.topology.tree import node_folder

RECEIVE_BYTES = 64 * 1024
BACKLOG = 256
"""Chunks of one direction of a link that are held, before its sender has to wait."""
POLL_S = 0.01
START_S = 60.0

Link = frozenset[str]
"""The names of the two nodes of a link."""


class Relays:
    """Relays on all links of a running network."""

    def __init__(self, plan: Plan, directory: Path, seed: int = 0) -> None:
        """Prepare relays; `seed` draws the jitter of links."""
        self._plan = plan
        self._directory = directory
        self._cuts: list[frozenset[Direction]] = []
        self._delays_s: list[tuple[frozenset[str], float]] = []
        self._shapes: list[tuple[frozenset[Direction], LinkShape]] = []
        """Directions of links, with how bytes travel in them."""
        self._free_s: dict[Direction, float] = {}
        """When all that was sent in a direction has left, where not all bytes fit through."""
        self._random = Random(seed)  # noqa: S311  (simulation)
        self.origin_s = time.monotonic()
        """When traces of links begin, a time of `monotonic`."""
        self._passed: Counter[Link] = Counter()
        self._ports: dict[tuple[str, str], int] = {}
        """By dialling node and dialled node: the relay's port."""
        self._before: dict[Path, str] = {}
        self._is_open = threading.Event()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    # --- faults -----------------------------------------------------------------------------

    @contextmanager
    def cut(self, directions: frozenset[Direction]) -> Iterator[None]:
        """Let nothing pass in some directions while in the context."""
        self._cuts.append(directions)
        try:
            yield
        finally:
            self._cuts.remove(directions)

    @contextmanager
    def slow(self, delay_s: float, names: Iterable[str]) -> Iterator[None]:
        """Delay all bytes from and to nodes by `delay_s` while in the context."""
        item = (frozenset(names), delay_s)
        self._delays_s.append(item)
        try:
            yield
        finally:
            self._delays_s.remove(item)

    @contextmanager
    def shaped(self, directions: frozenset[Direction], shape: LinkShape) -> Iterator[None]:
        """Let bytes travel so in some directions while in the context.

        Shapes of one direction add up. No chunk of bytes overtakes another of its connection.
        """
        item = (directions, shape)
        self._shapes.append(item)
        try:
            yield
        finally:
            self._shapes.remove(item)

    def count_passed(self, first: Jurisdiction, second: Jurisdiction) -> int:
        """Return how many bytes have passed between two sides."""
        return sum(self._passed[link] for link in self._links_between(first, second))

    def _links_between(self, first: Jurisdiction, second: Jurisdiction) -> Iterator[Link]:
        for one in self._plan.nodes:
            for other in self._plan.nodes:
                if (one.side, other.side) == (first, second) and one is not other:
                    yield frozenset((one.name, other.name))

    # --- running ----------------------------------------------------------------------------

    def start(self) -> None:
        """Route all links through the relays; the nodes are restarted, as they read their peers."""
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        self._thread.start()
        if not self._is_open.wait(START_S):
            raise TimeoutError(f"the relays did not open within {START_S:.0f} s")
        for node in self._plan.nodes:
            path = node_folder(self._directory, node) / "nodes.json"
            self._before[path] = path.read_text(encoding="utf-8")
            ports = [
                self._ports.get((node.name, other.name), other.ports.p2p)
                for other in self._plan.nodes
            ]
            peers = {"nodes": [f"{HOST}:{port}" for port in ports]}
            path.write_text(json.dumps(peers), encoding="utf-8")
        self._restart()

    def stop(self, *, is_restarting: bool = True) -> None:
        """Link the nodes directly again, restarting them, and end the relays."""
        for path, text in self._before.items():
            with suppress(OSError):  # the network's folder may be gone
                path.write_text(text, encoding="utf-8")
        self._cuts.clear()
        if is_restarting:
            self._restart()
        if self._token is not None and self._thread is not None:
            self._token.run_sync_soon(self._scope.cancel)
            self._thread.join()

    def _restart(self) -> None:
        control = Control(self._directory)
        control.order("restart")
        control.wait_until_settled()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                for one in self._plan.nodes:
                    for other in self._plan.nodes:
                        if one is not other:
                            await self._listen(nursery, one, other)
                self._is_open.set()

    async def _listen(self, nursery: trio.Nursery, one: PlannedNode, other: PlannedNode) -> None:
        serve = partial(self._relay, (one.name, other.name), other.ports.p2p)
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
        self._ports[one.name, other.name] = listener.socket.getsockname()[1]

    async def _relay(self, there: Direction, port: int, stream: trio.SocketStream) -> None:
        """Relay one connection to a port, in both directions, until either end closes it."""
        async with stream:
            back = there[::-1]
            await self._wait_while_cut(there)  # a connection needs both directions
            await self._wait_while_cut(back)
            try:
                onward = await trio.open_tcp_stream(HOST, port)
            except OSError:
                return  # that node is down; the caller tries again
            async with onward, trio.open_nursery() as nursery:
                for way, source, sink in ((there, stream, onward), (back, onward, stream)):
                    send, receive = trio.open_memory_channel[tuple[float, bytes]](BACKLOG)
                    scope = nursery.cancel_scope
                    nursery.start_soon(self._take, way, source, send, scope)
                    nursery.start_soon(self._give, way, sink, receive, scope)

    async def _take(
        self,
        way: Direction,
        source: trio.SocketStream,
        send: trio.MemorySendChannel[tuple[float, bytes]],
        connection: trio.CancelScope,
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(RECEIVE_BYTES):
                await send.send((self._find_arrival(way, len(data)), data))
        connection.cancel()

    async def _give(
        self,
        way: Direction,
        sink: trio.SocketStream,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        connection: trio.CancelScope,
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for due, data in receive:
                await trio.sleep_until(due)
                await self._wait_while_cut(way)
                await sink.send_all(data)
                self._passed[frozenset(way)] += len(data)
        connection.cancel()

    async def _wait_while_cut(self, way: Direction) -> None:
        while any(way in cut for cut in list(self._cuts)):  # noqa: ASYNC110  (another thread's)
            await trio.sleep(POLL_S)

    def _find_arrival(self, way: Direction, size: int) -> float:
        """Return when bytes that are sent now arrive."""
        leaves_s = trio.current_time()
        slowed_s = max(
            (delay for names, delay in list(self._delays_s) if names & set(way)), default=0.0
        )
        shapes = [shape for directions, shape in list(self._shapes) if way in directions]
        taken_s = sum(shape.transmission_s(size) for shape in shapes)
        if taken_s:
            leaves_s = max(leaves_s, self._free_s.get(way, 0.0)) + taken_s
            self._free_s[way] = leaves_s
        at_s = time.monotonic() - self.origin_s
        delay_s = sum(shape.draw_delay_s(self._random, at_s) for shape in shapes)
        return leaves_s + slowed_s + delay_s
