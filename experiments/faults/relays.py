"""Relays between all nodes of a network of processes, so that links can be cut and slowed.

Each node's ``nodes.json`` names one of these relays for every other node, so that all bytes between
nodes pass through here; TLS bytes are forwarded unchanged. A cut is silence: as with a cut cable,
nothing is refused or closed, and bytes sent meanwhile arrive once it heals. The relays run in a
thread of their own and may be told from any other.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import trio

from lowu.contracts.registry import Jurisdiction
from lowu.node.topology.control import Control
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
        self._cuts: list[frozenset[Link]] = []
        self._delays_s: list[tuple[frozenset[str], float]] = []
        self._shapes: list[tuple[frozenset[Link], float, float]] = []
        """Links with the delay and the jitter of all their bytes, in seconds."""
        self._random = Random(seed)  # noqa: S311  (simulation)
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
    def cut(self, first: Jurisdiction, second: Jurisdiction) -> Iterator[None]:
        """Let nothing pass between two sides while in the context."""
        links = frozenset(self._links_between(first, second))
        self._cuts.append(links)
        try:
            yield
        finally:
            self._cuts.remove(links)

    @contextmanager
    def slow(self, delay_s: float, names: Iterable[str]) -> Iterator[None]:
        """Delay all bytes from and to nodes by `delay_s` while in the context."""
        item = (frozenset(names), delay_s)
        self._delays_s.append(item)
        try:
            yield
        finally:
            self._delays_s.remove(item)

    def shape(
        self, first: Jurisdiction, second: Jurisdiction, delay_s: float, jitter_s: float
    ) -> None:
        """Delay all bytes between two sides, or within one, from now on.

        Each chunk of bytes waits for `delay_s` and up to `jitter_s` more; none overtakes another.
        """
        self._shapes.append((frozenset(self._links_between(first, second)), delay_s, jitter_s))

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
        serve = partial(self._relay, frozenset((one.name, other.name)), other.ports.p2p)
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
        self._ports[one.name, other.name] = listener.socket.getsockname()[1]

    async def _relay(self, link: Link, port: int, stream: trio.SocketStream) -> None:
        """Relay one connection to a port, in both directions, until either end closes it."""
        async with stream:
            await self._wait_while_cut(link)
            try:
                onward = await trio.open_tcp_stream(HOST, port)
            except OSError:
                return  # that node is down; the caller tries again
            async with onward, trio.open_nursery() as nursery:
                for source, sink in ((stream, onward), (onward, stream)):
                    send, receive = trio.open_memory_channel[tuple[float, bytes]](BACKLOG)
                    scope = nursery.cancel_scope
                    nursery.start_soon(self._take, link, source, send, scope)
                    nursery.start_soon(self._give, link, sink, receive, scope)

    async def _take(
        self,
        link: Link,
        source: trio.SocketStream,
        send: trio.MemorySendChannel[tuple[float, bytes]],
        connection: trio.CancelScope,
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(RECEIVE_BYTES):
                await send.send((trio.current_time() + self._find_delay(link), data))
        connection.cancel()

    async def _give(
        self,
        link: Link,
        sink: trio.SocketStream,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        connection: trio.CancelScope,
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for due, data in receive:
                await trio.sleep_until(due)
                await self._wait_while_cut(link)
                await sink.send_all(data)
                self._passed[link] += len(data)
        connection.cancel()

    async def _wait_while_cut(self, link: Link) -> None:
        while any(link in cut for cut in list(self._cuts)):  # noqa: ASYNC110  (another thread's)
            await trio.sleep(POLL_S)

    def _find_delay(self, link: Link) -> float:
        slowed = max((delay for names, delay in list(self._delays_s) if names & link), default=0.0)
        shaped = (
            delay_s + self._random.uniform(0, jitter_s)
            for links, delay_s, jitter_s in self._shapes
            if link in links
        )
        return slowed + sum(shaped)
