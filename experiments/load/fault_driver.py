"""Carries out the faults of an experiment on a network of processes, each at its time."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

import trio

from lowu.contracts.named import UnknownName, tell_unknown
from lowu.experiments.faults.killed_nodes import find_leader
from lowu.experiments.faults.relays import Relays
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.planned.fault_tables import Ends, PlannedFault, tell_end
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.topology.control import Control
from lowu.node.topology.faults.link_shape import Direction, list_directions
from lowu.node.topology.plan import Plan

LEADER, RANDOM = "leader", "random"
POLL_S = 0.05
ASKED_S = 1.0
"""How long a node is waited for that is asked who leads."""
ORDERED = {
    "lie": "a lie needs", "disk": "a slow disk needs", "clock": "a shifted clock needs"
}  # fmt: skip
"""Faults that nodes make themselves, when they are told to."""
THROTTLE_S = 0.1
"""How often a throttled node is stopped."""


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """A fault that happened. Times are seconds from the begin of the load."""

    kind: str
    nodes: tuple[str, ...]
    """The nodes that it met; the two ends of a cut."""
    begins_s: float
    ends_s: float
    """NaN if the run ended before it did."""


def plan_faults(experiment: Experiment, plan: Plan, seed: int) -> tuple[PlannedFault, ...]:
    """Return all faults of a run: those of the file, and those that are drawn."""
    if experiment.random_faults is None:
        return experiment.faults
    nodes = [node.name for node in plan.nodes if node.spec.is_validator]
    sides = sorted({node.side.name for node in plan.nodes})
    drawn = experiment.random_faults.draw(experiment.load.offered_s, seed, nodes, sides)
    return (*experiment.faults, *drawn)


def tell_drawn(experiment: Experiment, faults: Sequence[PlannedFault]) -> str:
    """Return which faults were drawn, for people; empty if none were to be."""
    if experiment.random_faults is None:
        return ""
    drawn = faults[len(experiment.faults) :]
    told = ", ".join(
        f"{item.kind} {' '.join(item.targets)} at {item.at_s:.1f} s for {item.for_s:.1f} s"
        for item in drawn
    )
    return f"drawn from the seed: {told or 'no fault'}"


def needs_relays(experiment: Experiment, faults: Iterable[PlannedFault]) -> bool:
    """Whether the network's links have to lead through relays."""
    return bool(experiment.links) or any(item.kind in ("cut", "slow") for item in faults)


def find_directions(plan: Plan, ends: Ends, *, is_one_way: bool) -> frozenset[Direction]:
    """Return the directions of the links between two ends."""
    one, other = (_list_end(plan, end) for end in ends)
    return list_directions((one, other), is_one_way=is_one_way)


def _list_end(plan: Plan, end: Iterable[str]) -> list[str]:
    return [node for name in end for node in plan.find_end(name)]


def check_faults(experiment: Experiment, plan: Plan) -> None:
    """Raise `ValueError` if a fault or a link names what the network does not have."""
    known = [node.name for node in plan.nodes] + [item.spec.id for item in plan.institutions]
    drawn = () if experiment.random_faults is None else experiment.random_faults.kinds
    for fault in experiment.faults:
        if fault.kind == "cut":
            _check_ends(plan, fault.ends, known)
            one, other = ({*_list_end(plan, end)} for end in fault.ends)
            if one & other:
                raise ValueError(f"{min(one & other)} stands at both ends of a cut")
            continue
        for name in fault.targets:
            if name not in (LEADER, RANDOM) and plan.find_node(name) is None:
                raise UnknownName(tell_unknown("node", name, [*known, LEADER, RANDOM]))
    for kind in (*(fault.kind for fault in experiment.faults), *drawn):
        if kind in ORDERED and not plan.spec.settings.allow_lies:
            raise ValueError(
                f"{ORDERED[kind]} a network whose nodes can: [network] allow_lies = true"
            )
    for link in experiment.links:
        _check_ends(plan, link.between, known)
        if not find_directions(plan, link.between, is_one_way=link.is_one_way):
            raise ValueError(f"there is no link within {tell_end(link.between[0])}")


def _check_ends(plan: Plan, ends: Ends, known: Sequence[str]) -> None:
    sides = sorted({node.side.name for node in plan.nodes})
    for name in (*ends[0], *ends[1]):
        if not plan.find_end(name):
            raise UnknownName(tell_unknown("side or node", name, [*sides, *known]))


class Orders:
    """What faults have ordered of nodes, as several may last at one time."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], list[Any]] = {}

    @contextmanager
    def given(
        self,
        kind: str,
        names: Iterable[str],
        value: object,
        order: Callable[[str, list[Any]], None],
    ) -> Iterator[None]:
        """Give an order to nodes while in the context.

        `order` is called with each node and all values of that kind that are in force there.
        """
        chosen = [(name, self._given.setdefault((kind, name), [])) for name in names]
        for name, values in chosen:
            values.append(value)
            order(name, values)
        try:
            yield
        finally:
            for name, values in chosen:
                values.remove(value)
                order(name, values)


class FaultMaker(Protocol):
    """Makes faults of a network: of processes, or in virtual time."""

    async def find_leader(self) -> str:
        """Return the name of the node that leads now; it may have to wait for an answer."""
        ...

    async def wait_for_height(self, height: int) -> None:
        """Return once a node has so many blocks."""
        ...

    def make(
        self, fault: PlannedFault, names: tuple[str, ...]
    ) -> AbstractAsyncContextManager[None]:
        """Return a fault of these nodes, or sides, which lasts while in the context."""
        ...


class FaultDriver:
    """The faults of one run."""

    def __init__(
        self,
        plan: Plan,
        maker: FaultMaker,
        seed: int,
        tell: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._maker = maker
        self._clock = clock
        self._random = Random(f"lowu faults {seed}")  # noqa: S311  (simulation)
        self._tell = tell
        self.events: list[FaultEvent] = []

    async def run(self, faults: tuple[PlannedFault, ...], begin_s: float, end_s: float) -> None:
        """Carry all out; each ends at `end_s` at the latest, times of the clock."""
        async with trio.open_nursery() as nursery:
            for fault in faults:
                nursery.start_soon(self._carry_out, fault, begin_s, end_s)

    async def _carry_out(self, fault: PlannedFault, begin_s: float, end_s: float) -> None:
        await self._sleep_until(begin_s + fault.at_s)
        names: tuple[str, ...] | None = None
        with trio.move_on_after(max(0.0, end_s - self._clock())):
            if fault.at_height:
                await self._maker.wait_for_height(fault.at_height)
            names = fault.targets
            if fault.kind != "cut":
                names = tuple([await self._find(name) for name in fault.targets])
        if names is None:
            why = f"height {fault.at_height}" if fault.at_height else "anybody who leads"
            self._tell(f"no {fault.kind}: the load ended before {why} was there")
            return
        begins_s = self._clock() - begin_s
        told = f"{fault.kind} {', '.join(names)}"
        self._tell(f"{begins_s:.1f} s: {told}")
        until_s = min(end_s, self._clock() + fault.for_s) if fault.for_s else end_s
        async with self._maker.make(fault, names):
            await self._sleep_until(until_s)
        ends_s = self._clock() - begin_s
        self._tell(f"{ends_s:.1f} s: end of {told}")
        self.events.append(FaultEvent(fault.kind, names, begins_s, ends_s))

    async def _find(self, name: str) -> str:
        if name == RANDOM:
            validators = [node.name for node in self._plan.nodes if node.spec.is_validator]
            return self._random.choice(validators)
        if name == LEADER:
            return await self._maker.find_leader()
        found = self._plan.find_node(name)
        if found is None:
            raise UnknownName(tell_unknown("node", name, [item.name for item in self._plan.nodes]))
        return found.name

    async def _sleep_until(self, time_s: float) -> None:
        await trio.sleep(max(0.0, time_s - self._clock()))


@asynccontextmanager
async def throttled(
    pause: Callable[[], AbstractAsyncContextManager[None]], share: float
) -> AsyncIterator[None]:
    """Pause nodes again and again, so that they run for a share of the time."""

    async def throttle() -> None:
        while True:
            async with pause():
                await trio.sleep(THROTTLE_S * (1 - share))
            await trio.sleep(THROTTLE_S * share)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(throttle)
        yield
        nursery.cancel_scope.cancel()


class ProcessFaultMaker:
    """Makes faults of a network of processes."""

    def __init__(self, plan: Plan, folder: Path, relays: Relays | None) -> None:
        self._plan = plan
        self._folder = folder
        self.relays = relays
        self._stops: Counter[int] = Counter()
        """By process: how many faults keep it stopped now."""
        self._downs: Counter[str] = Counter()
        """By node: how many faults keep it down."""
        self._orders = Orders()

    async def find_leader(self) -> str:
        """Return who leads according to the first node that answers."""
        while True:
            for place in range(len(self._plan.nodes)):
                with suppress(ClientError, RemoteError), trio.move_on_after(ASKED_S):
                    return (await find_leader(self._plan, place)).name
            await trio.sleep(POLL_S)

    async def wait_for_height(self, height: int) -> None:
        """Return once a node has so many blocks."""
        while True:
            for node in self._plan.nodes:
                with suppress(ClientError, RemoteError):
                    async with RpcClient(node.url) as client:
                        if int(str(await client.call("eth_blockNumber")), 16) >= height:
                            return
                        break
            await trio.sleep(POLL_S)

    @asynccontextmanager
    async def make(self, fault: PlannedFault, names: tuple[str, ...]) -> AsyncIterator[None]:
        """Make a fault of any kind."""
        nodes = list(names)
        if fault.kind == "kill":
            async with self._down(nodes):
                yield
        elif fault.kind == "pause":
            with self._stopped(await self._pids(nodes)):
                yield
        elif fault.kind == "throttle":
            async with self._throttled(nodes, fault.share):
                yield
        elif fault.kind in ORDERED:
            async with self._ordered(fault, nodes):
                yield
        elif self.relays is None:
            raise RuntimeError("the links of this network do not lead through relays")
        elif fault.kind == "cut":
            ways = find_directions(self._plan, fault.ends, is_one_way=fault.is_one_way)
            with self.relays.cut(ways):
                yield
        else:
            with self.relays.slow(fault.delay_ms / 1_000, names):
                yield

    async def _pids(self, nodes: list[str]) -> list[int]:
        order = Control(self._folder).order
        states = await trio.to_thread.run_sync(order, "status", nodes)
        return [item["pid"] for item in states if item["pid"] is not None]

    @asynccontextmanager
    async def _throttled(self, nodes: list[str], share: float) -> AsyncIterator[None]:
        """Stop and continue nodes in turn, so that they run for a share of the time."""
        pids = await self._pids(nodes)

        @asynccontextmanager
        async def pause() -> AsyncIterator[None]:
            with self._stopped(pids):
                yield

        async with throttled(pause, share):
            yield

    @contextmanager
    def _stopped(self, pids: list[int]) -> Iterator[None]:
        """Stop processes; each goes on once nothing keeps it stopped."""
        self._stops.update(pids)
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            self._stops.subtract(pids)
            _signal([pid for pid in pids if self._stops[pid] <= 0], signal.SIGCONT)

    @asynccontextmanager
    async def _down(self, nodes: list[str]) -> AsyncIterator[None]:
        """Kill nodes; each starts again once nothing keeps it down."""
        control = Control(self._folder)
        self._downs.update(nodes)
        try:
            await trio.to_thread.run_sync(control.order, "kill", nodes)
            yield
        finally:
            self._downs.subtract(nodes)
            ended = [name for name in nodes if self._downs[name] <= 0]
            with trio.CancelScope(shield=True):
                if ended:
                    await trio.to_thread.run_sync(control.start, ended)

    @asynccontextmanager
    async def _ordered(self, fault: PlannedFault, nodes: list[str]) -> AsyncIterator[None]:
        """Have nodes make a fault themselves."""
        due: list[tuple[str, object]] = []

        def note(name: str, values: list[Any]) -> None:
            due.append((name, _combine(fault.kind, values)))

        try:
            with self._orders.given(fault.kind, nodes, _value_of(fault), note):
                await self._tell_nodes(fault.kind, due)
                due.clear()
                yield
        finally:
            with trio.CancelScope(shield=True):
                await self._tell_nodes(fault.kind, due)

    async def _tell_nodes(self, kind: str, due: list[tuple[str, object]]) -> None:
        wanted = dict(due)
        for node in self._plan.nodes:
            if node.name in wanted:
                with suppress(ClientError):  # it is down, and forgets it then
                    async with RpcClient(node.url) as client:
                        await client.call(_METHODS[kind], wanted[node.name])


_METHODS = {"lie": "setLies", "disk": "slowDisk", "clock": "shiftClock"}
"""How a node is told to make a fault."""


def _value_of(fault: PlannedFault) -> object:
    match fault.kind:
        case "disk":
            return round(fault.delay_ms)
        case "clock":
            return fault.ahead_ms
    return fault.how


def _combine(kind: str, values: list[Any]) -> object:
    """Return what a node is told that several faults of a kind meet at one time."""
    match kind:
        case "disk":
            return max(values, default=0)
        case "clock":
            return sum(values)
    return sorted(set(values))


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it has ended
