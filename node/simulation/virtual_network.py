"""A whole network of a plan in one process and in virtual time, for tests.

The same node code as in processes, with memory for disks, links without TLS, and a clock that
jumps ahead whenever all tasks wait. Clients call a node's JSON-RPC without a socket. The seed
decides the order of all events.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import trio
import trio.lowlevel
import trio.testing

from lowu.contracts.registry import Jurisdiction
from lowu.node.app import Environment, Node, assemble_node, open_ledger, run_services
from lowu.node.client import ClientError, RpcClient
from lowu.node.core.events import BlockCommittedEvent
from lowu.node.core.scheduler import Run
from lowu.node.errors import BadInput, StorageError
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger.storage import MemoryStorage, Storage
from lowu.node.ledger.vote_trace import MemoryTrace, VoteTrace
from lowu.node.simulation.agenda import Agenda
from lowu.node.simulation.costs import Work
from lowu.node.simulation.failpoints import (
    FailingStorage,
    FailingTrace,
    Failpoints,
    SimulatedDeath,
    die_simulated,
)
from lowu.node.simulation.frame_links import Carriers, FrameEnd, FrameLink, Reception
from lowu.node.simulation.simulated_machine import Machine, SimulatedCpu
from lowu.node.simulation.virtual_time import EPOCH_MS, VirtualClock, run_inline
from lowu.node.topology.faults.fail_order import FailOrder, Failpoint
from lowu.node.topology.faults.link_shape import Direction, LinkShape, list_directions
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.traffic_tap import Tap

RELINK_S = 0.05
DELAY_S = 0.005
"""Greatest delay of a chunk of bytes on a link, before it is put off to a multiple of the grain."""
GRAIN_S = 0.001
LINKED_S = 30.0


Shapes: TypeAlias = Mapping[Direction, Sequence[LinkShape]]
"""By direction: how bytes travel there; several shapes add up."""


class LocalClient(RpcClient):
    """Client of one node of a virtual network."""

    def __init__(self, network: VirtualNodes, planned: PlannedNode) -> None:
        super().__init__(planned.url)
        self._network = network
        self._name = planned.name

    async def _exchange(self, body: bytes) -> Any:
        await self._network.wait_while_paused(self._name)
        node = self._network.nodes.get(self._name)
        if node is None:
            raise ClientError(f"{self._name} is down")
        return json.loads(await node.rpc.dispatcher.answer(body))


class VirtualNodes:
    """The nodes of a plan; `open_virtual` runs them."""

    def __init__(
        self,
        plan: Plan,
        seed: int = 0,
        skews_ms: Mapping[str, int] | None = None,
        machine: Machine | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self.plan = plan
        self.machine = machine
        self.agenda = Agenda() if machine is None else machine.agenda
        self._receptions: dict[str, Reception] = {}
        """Of running nodes, by name."""
        self._shapes = {way: list(items) for way, items in (shapes or {}).items()}
        self._is_relayed = bool(shapes)
        self._origin_s = 0.0
        """When the traces of links begin."""
        self._clocks: dict[str, VirtualClock] = {}
        self._skews_ms = dict(skews_ms or {})
        """Clock errors of nodes, by name."""
        self.nodes: dict[str, Node] = {}
        """Running nodes, by name."""
        self._random = Random(f"virtual/{seed}")  # noqa: S311  (repeatable)
        self._storages = {item.name: MemoryStorage() for item in plan.nodes}
        self._traces = {item.name: MemoryTrace() for item in plan.nodes}
        self.failpoints: dict[str, Failpoints] = {}
        """By name; only where nodes may be told to fail."""
        if plan.spec.settings.allow_lies:
            self.failpoints = {item.name: Failpoints(die=die_simulated) for item in plan.nodes}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._links: dict[tuple[str, str], FrameLink] = {}
        self._cuts: list[frozenset[Jurisdiction]] = []
        self._silences: Counter[Direction] = Counter()
        """How many faults hold back what one node sends to another."""
        self._paused: Counter[str] = Counter()
        """How many faults keep a node paused."""
        self._down: Counter[str] = Counter()
        """How many faults keep a node down."""
        self._delays_s: list[tuple[frozenset[str], float]] = []
        """By how much faults delay all bytes from and to some nodes; the most counts."""
        self._side_of = {item.name: item.side for item in plan.nodes}
        self._is_new = {item.name: True for item in plan.nodes}
        self.on_node: Callable[[str, Node], None] = lambda name, node: None
        """Told of each node that is about to run, by name."""
        self._changed = trio.Event()

    @staticmethod
    def now_s() -> int:
        """Return the nodes' wall-clock time, seconds since 1970."""
        return EPOCH_MS // 1000 + int(trio.current_time())

    def client(self, planned: PlannedNode) -> LocalClient:
        """Return a client of a node."""
        return LocalClient(self, planned)

    # --- faults -----------------------------------------------------------------------------

    @asynccontextmanager
    async def down(self, *names: str) -> AsyncIterator[None]:
        """Keep nodes down; afterwards they restart from their disks."""
        chosen = {self._find(name) for name in names}
        self._down.update(chosen)
        for name in chosen:
            if name in self._scopes:
                self._scopes[name].cancel()
        try:
            while chosen & self.nodes.keys():
                await trio.lowlevel.checkpoint()
            yield
        finally:
            self._down.subtract(chosen)
            self._note()

    async def stop(self, name: str) -> None:
        """Keep a node down until it is started."""
        self._down[name] += 1
        if name in self._scopes:
            self._scopes[name].cancel()
        while name in self.nodes:
            await trio.lowlevel.checkpoint()

    async def start(self, name: str) -> None:
        """Start a node that has been stopped, or has failed; return once it runs, or has failed."""
        self._down[name] -= 1
        self._note()
        while name not in self.nodes and not self._down[name]:
            await self._changed.wait()

    def wipe(self, name: str) -> None:
        """Lose all records of a stopped node."""
        self._storages[name].records.clear()

    def lose_trace(self, name: str) -> None:
        """Lose the trace of a stopped node's last vote."""
        self._traces[name].slots = None

    @asynccontextmanager
    async def cut(self, first: Jurisdiction, second: Jurisdiction) -> AsyncIterator[None]:
        """Cut all links between two sides."""
        sides = frozenset((first, second))
        self._cuts.append(sides)
        for (one, other), link in self._links.items():
            if self._sides(one, other) == sides:
                link.break_off()
        try:
            yield
        finally:
            self._cuts.remove(sides)
            self._note()

    @asynccontextmanager
    async def silence(self, ways: frozenset[Direction]) -> AsyncIterator[None]:
        """Hold back what nodes send to others, as in a cut cable, and let it go afterwards."""
        self._silences.update(ways)
        self._set_silences()
        try:
            yield
        finally:
            self._silences.subtract(ways)
            self._set_silences()

    @asynccontextmanager
    async def shaped(self, ways: frozenset[Direction], shape: LinkShape) -> AsyncIterator[None]:
        """Let bytes travel so in some directions; shapes of one direction add up."""
        for way in ways:
            self._shapes.setdefault(way, []).append(shape)
        self._set_shapes()
        try:
            yield
        finally:
            for way in ways:
                self._shapes[way].remove(shape)
            self._set_shapes()

    def begin_traces(self, at_s: float) -> None:
        """Begin the traces of links at a time of the virtual clock."""
        self._origin_s = at_s
        self._set_shapes()

    def _set_shapes(self) -> None:
        for pair, link in self._links.items():
            self._set_shape(pair, link)

    def _set_shape(self, pair: tuple[str, str], link: FrameLink) -> None:
        link.origin_s = self._origin_s
        for side, way in enumerate((pair, pair[::-1])):
            link.shapes[side] = tuple(self._shapes.get(way, ()))

    @asynccontextmanager
    async def shifted(self, ahead_ms: int, *names: str) -> AsyncIterator[None]:
        """Have nodes' clocks be so far ahead, or behind, of what they were."""
        chosen = [self._find(name) for name in names]
        self._shift(chosen, ahead_ms)
        try:
            yield
        finally:
            self._shift(chosen, -ahead_ms)

    def _shift(self, names: Iterable[str], by_ms: int) -> None:
        for name in names:
            self._skews_ms[name] = self._skews_ms.get(name, 0) + by_ms
            if name in self._clocks:
                self._clocks[name].skew_ms = self._skews_ms[name]

    @asynccontextmanager
    async def paused(self, *names: str) -> AsyncIterator[None]:
        """Let nothing from or to nodes pass, and no client have an answer; then all goes on.

        That is what others see of a process that is stopped (SIGSTOP). A machine stops it really.
        """
        chosen = [self._find(name) for name in names]
        everybody = [node.name for node in self.plan.nodes]
        self._paused.update(chosen)
        try:
            async with self.silence(list_directions((chosen, everybody))):
                yield
        finally:
            self._paused.subtract(chosen)
            self._note()

    async def wait_while_paused(self, name: str) -> None:
        """Return once no fault keeps a node paused."""
        while self._paused[name]:
            await self._changed.wait()

    def _set_silences(self) -> None:
        for (one, other), link in self._links.items():
            for side, way in enumerate(((one, other), (other, one))):
                is_silent = self._silences[way] > 0
                if is_silent != link.is_silent[side]:
                    link.silence(side, is_silent=is_silent)

    @asynccontextmanager
    async def slow(self, delay_s: float, *names: str) -> AsyncIterator[None]:
        """Delay all bytes from and to nodes by at least `delay_s`, so that these nodes lag."""
        item = (frozenset(self._find(name) for name in names), delay_s)
        self._delays_s.append(item)
        self._set_delays()
        try:
            yield
        finally:
            self._delays_s.remove(item)
            self._set_delays()

    def _set_delays(self) -> None:
        for pair, link in self._links.items():
            self._set_delay(pair, link)

    def _set_delay(self, pair: tuple[str, str], link: FrameLink) -> None:
        slowed = (delay_s for names, delay_s in self._delays_s if names & set(pair))
        least_s = max(slowed, default=0.0)
        hop_s = 0.0 if self.machine is None else self.machine.model.hop_s
        hops = 2 if self._is_relayed else 1  # by way of a relay
        link.delay_s_min = least_s + hops * hop_s

    def _find(self, name: str) -> str:
        planned = self.plan.find_node(name)
        if planned is None:
            raise KeyError(f"no node {name!r}; there are {self.plan.node_names}")
        return planned.name

    def _sides(self, one: str, other: str) -> frozenset[Jurisdiction]:
        return frozenset((self._side_of[one], self._side_of[other]))

    # --- running ----------------------------------------------------------------------------

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _assemble(self, planned: PlannedNode) -> Node:
        name = planned.name
        genesis = self.plan.genesis
        storage: Storage = self._storages[name]
        trace: VoteTrace = self._traces[name]
        failpoints = self.failpoints.get(name)
        if failpoints is not None:
            storage = FailingStorage(storage, failpoints, None)
            trace = FailingTrace(trace, failpoints, None)
        ledger = open_ledger(
            genesis,
            build_genesis(genesis),
            storage,
            trace,
            self.plan.node_config(planned, Path()).kept,
            is_first_start=self._is_new[name],
            cpu=None if self.machine is None else SimulatedCpu(self.machine, name),
        )
        clock = self._clocks[name] = VirtualClock(self._skews_ms.get(name, 0))
        run: Run = run_inline
        if self.machine is not None:
            run = partial(self.machine.run_in_thread, name)
        environment = Environment(
            planned.key, ledger, clock, Tap(None), None, run, failpoints=failpoints
        )
        node = assemble_node(genesis, self.plan.node_config(planned, Path()), environment)
        node.events.subscribe(partial(self._on_block, name))
        end_first_start = partial(self._is_new.__setitem__, name, False)
        if failpoints is None:
            end_first_start()
        else:
            failpoints.step(Failpoint.FIRST_START, end_first_start)
        self.on_node(name, node)
        return node

    def _on_block(self, name: str, event: BlockCommittedEvent) -> None:
        if self.machine is not None:
            self.machine.charge(name, Work.BLOCK, len(event.block.transactions))

    def _make_link(self, one: str, other: str) -> FrameLink:
        first, second = (
            (self.nodes[name].gateway.node_id, self._receptions[name]) for name in (one, other)
        )
        delay_s, grain_s, carriers = DELAY_S, GRAIN_S, None
        if self.machine is not None:  # only shapes delay what travels between its nodes
            delay_s, grain_s = 0.0, 0.0
            carriers = Carriers(self.machine, (one, other), is_relayed=self._is_relayed)
        link = FrameLink(
            self._random,
            self.agenda,
            (first, second),
            delay_s_max=delay_s,
            grain_s=grain_s,
            carriers=carriers,
        )
        self._set_shape((one, other), link)
        for side, way in enumerate(((one, other), (other, one))):
            link.is_silent[side] = self._silences[way] > 0
        return link

    async def live(self, planned: PlannedNode) -> None:
        """Run a node, except while it must be down."""
        name = planned.name
        while True:
            while self._down[name]:
                await self._changed.wait()
            try:
                await self._run_node(planned)
            except* (SimulatedDeath, StorageError):
                if name not in self.failpoints or self.failpoints[name].last_failure is None:
                    raise
                self._down[name] += 1
                self._note()

    async def _run_node(self, planned: PlannedNode) -> None:
        """Run a node until it is stopped, or fails."""
        name = planned.name
        self.nodes[name] = self._assemble(planned)
        reception = self._receptions[name] = Reception()
        self._note()
        try:
            with trio.CancelScope() as self._scopes[name]:
                async with trio.open_nursery() as nursery:
                    if self.machine is not None:
                        nursery.start_soon(self.machine.idle, name)
                    nursery.start_soon(reception.run)
                    await run_services(self.nodes[name])
        finally:
            del self.nodes[name], self._scopes[name]
            for pair, link in self._links.items():
                if name in pair:
                    link.break_off()
            if self.machine is not None:
                self.machine.forget(name)

    async def keep_link(self, first: PlannedNode, second: PlannedNode) -> None:
        """Link two nodes whenever both run and no cut separates them."""
        pair = (first.name, second.name)
        while True:
            one, other = (self.nodes.get(name) for name in pair)
            if one is None or other is None or self._sides(*pair) in self._cuts:
                await self._changed.wait()
                continue
            link = self._links[pair] = self._make_link(*pair)
            self._set_delay(pair, link)
            async with trio.open_nursery() as nursery:
                for node, end in zip((one, other), link.ends, strict=True):
                    nursery.start_soon(_serve, node, link, end)
            await trio.sleep(RELINK_S)

    async def wait_until_linked(self) -> None:
        """Return once every running node is linked to all others."""
        with trio.fail_after(LINKED_S):
            while self._least_links() < len(self.nodes) - 1:  # noqa: ASYNC110  (virtual time: no cost)
                await trio.sleep(0.01)

    def _least_links(self) -> int:
        return min((len(node.gateway.connected) for node in self.nodes.values()), default=0)


async def _serve(node: Node, link: FrameLink, end: FrameEnd) -> None:
    try:
        await node.gateway.serve_peer(end)
    except BadInput:
        pass  # refused for now
    finally:
        link.break_off()


def _pairs(nodes: tuple[PlannedNode, ...]) -> Iterable[tuple[PlannedNode, PlannedNode]]:
    for position, first in enumerate(nodes):
        for second in nodes[position + 1 :]:
            yield first, second


@asynccontextmanager
async def open_virtual(
    plan: Plan,
    seed: int = 0,
    skews_ms: Mapping[str, int] | None = None,
    machine: Machine | None = None,
    shapes: Shapes | None = None,
    orders: Mapping[str, FailOrder] | None = None,
    on_node: Callable[[str, Node], None] | None = None,
) -> AsyncIterator[VirtualNodes]:
    """Run a plan's nodes for the duration of the block; use it inside `run_virtual`.

    With a machine, work takes time, and links have the delays of their `shapes` only. `orders` are
    for nodes that fail at their first start, by name; `on_node` is told of each that will run.
    """
    network = VirtualNodes(plan, seed, skews_ms, machine, shapes)
    network.on_node = on_node or network.on_node
    for name, order in (orders or {}).items():
        network.failpoints[name].arm(order)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.agenda.run)
        for planned in plan.nodes:
            nursery.start_soon(network.live, planned)
        await trio.testing.wait_all_tasks_blocked()
        for first, second in _pairs(plan.nodes):
            nursery.start_soon(network.keep_link, first, second)
        await network.wait_until_linked()
        yield network
        nursery.cancel_scope.cancel()
