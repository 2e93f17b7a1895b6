"""Runs of experiments in virtual time: the nodes' own code, on a machine with a stated cost model.

A run follows from the experiment, its seed and the model alone, so that it gives the same files
again, on any machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import trio

from lowu.experiments.load.fault_driver import (
    FaultDriver,
    Orders,
    find_directions,
    plan_faults,
    tell_drawn,
    throttled,
)
from lowu.experiments.load.observed import (
    SAMPLE_S,
    WHOLE,
    BlockTimes,
    Observed,
    Sample,
    place_phases,
)
from lowu.experiments.load.offered.generator import (
    Generated,
    Generator,
    GeneratorPlan,
    GeneratorStatus,
    add_statuses,
    merge_generated,
    split_plan,
)
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.planned.fault_tables import PlannedFault
from lowu.experiments.load.run import (
    GENERATOR,
    HEADWAY_S,
    LEVEL_S,
    RELAYS,
    LoadRun,
    check,
    conclude,
    plan_generator,
    set_up,
)
from lowu.node.client import ClientError
from lowu.node.metrics import PHASES_KEPT
from lowu.node.simulation.byzantine import ByzantineGateway
from lowu.node.simulation.costs import Work
from lowu.node.simulation.simulated_machine import Machine
from lowu.node.simulation.virtual_network import Shapes, VirtualNodes, open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.faults.link_shape import Direction, LinkShape
from lowu.node.topology.plan import Plan

POLL_S = 0.01


def simulate_once(
    experiment: Experiment,
    text: str,
    origin: Path,
    machine: Machine,
    number: int = 0,
    *,
    tell: Callable[[str], None] = lambda text: None,
    watch: Callable[[GeneratorStatus], None] = lambda status: None,
) -> LoadRun:
    """Play one run in virtual time, on a machine that has done nothing yet."""
    seed = experiment.seed + number
    plan = check(experiment, text, origin)
    shapes: dict[Direction, list[LinkShape]] = {}
    for link in experiment.links:
        for way in find_directions(plan, link.between, is_one_way=link.is_one_way):
            shapes.setdefault(way, []).append(link.shape)

    async def main() -> LoadRun:
        return await _simulate(experiment, plan, machine, shapes, seed, number, tell, watch)

    return run_virtual(seed, main)


async def _simulate(
    experiment: Experiment,
    plan: Plan,
    machine: Machine,
    shapes: Shapes,
    seed: int,
    number: int,
    tell: Callable[[str], None],
    watch: Callable[[GeneratorStatus], None],
) -> LoadRun:
    async with open_virtual(plan, seed, machine=machine, shapes=shapes) as network:
        addresses = await set_up(experiment, plan, seed, network.client(plan.nodes[0]))
        tell("signing what is due")
        offered = plan_generator(experiment, plan, seed, addresses)
        generators = SimulatedGenerators(
            network, machine, split_plan(offered, experiment.load.generators), number
        )
        processes = [
            *(node.name for node in plan.nodes),
            *generators.names,
            *([RELAYS] if shapes else []),
        ]
        before = {name: machine.spent_s(name) for name in processes}
        parts_before = _parts_s(network, {})
        views_before = _highest_view(network)
        begin_s = trio.current_time() + HEADWAY_S
        network.begin_traces(begin_s)
        faults = plan_faults(experiment, plan, seed)
        if told := tell_drawn(experiment, faults):
            tell(told)
        driver = FaultDriver(
            plan, VirtualFaultMaker(network, machine), seed, tell, trio.current_time
        )
        is_complete, samples = True, list[Sample]()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_take_samples, machine, processes, begin_s, samples)
                end_s = begin_s + experiment.load.offered_s
                async with trio.open_nursery() as work:
                    work.start_soon(generators.run, begin_s, watch)
                    work.start_soon(driver.run, faults, begin_s, end_s)
                nursery.cancel_scope.cancel()
        except* KeyboardInterrupt:
            is_complete = False
        spent = {name: machine.spent_s(name) - spent_s for name, spent_s in before.items()}
        return conclude(
            experiment, seed, generators.found, driver.events,
            observed=Observed(
                spent, _parts_s(network, parts_before), samples, _read_phases(network, begin_s)
            ),
            view_changes=max(0, _highest_view(network) - views_before),
            is_healed=is_complete and await _wait_for_level(network),
            is_complete=is_complete,
        )  # fmt: skip


class SimulatedGenerators:
    """The generators of a run, each a process of the machine."""

    def __init__(
        self,
        network: VirtualNodes,
        machine: Machine,
        plans: Sequence[GeneratorPlan],
        drawn_from: int,
    ) -> None:
        self.names = [GENERATOR, *(f"{GENERATOR}-{place}" for place in range(2, len(plans) + 1))]
        self._parts = [
            Generator(
                plan,
                drawn_from=drawn_from,
                clock=trio.current_time,
                connect=partial(SimulatedClient, network, machine, name),
            )
            for name, plan in zip(self.names, plans, strict=True)
        ]

    async def run(self, begin_s: float, tell: Callable[[GeneratorStatus], None]) -> None:
        """Offer everything from `begin_s` on, a time of the virtual clock."""

        def tell_all(first: GeneratorStatus) -> None:
            tell(add_statuses([first, *(part.take_status() for part in self._parts[1:])]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._parts[0].run, begin_s, tell_all)
            for part in self._parts[1:]:
                nursery.start_soon(part.run, begin_s)

    @property
    def found(self) -> Generated:
        """What there is so far."""
        return merge_generated([part.found for part in self._parts])


class SimulatedClient:
    """A connection of a generator, the process `own`, to a node."""

    def __init__(self, network: VirtualNodes, machine: Machine, own: str, url: str) -> None:
        self._network = network
        self._machine = machine
        self._own = own
        self._name = next(node.name for node in network.plan.nodes if node.url == url)

    async def __aenter__(self) -> Self:
        if self._name not in self._network.nodes:
            raise ClientError(f"{self._name} is down")
        return self

    async def __aexit__(self, *details: object) -> None:
        """Nothing is open."""

    async def post(self, body: bytes) -> bytes:
        """Have a node answer a body; `ClientError` if it is down."""
        name, calls = self._name, body.count(b'"method"')
        await self._machine.spend(self._own, Work.OFFER, calls)
        await trio.sleep(self._machine.model.hop_s)
        node = self._network.nodes.get(name)
        if node is None:
            raise ClientError(f"{name} is down")
        await self._machine.spend(name, Work.REQUEST, calls)
        answer = await node.rpc.dispatcher.answer(body)
        await self._machine.settle(name)
        await trio.sleep(self._machine.model.hop_s)
        if self._network.nodes.get(name) is not node:
            raise ClientError(f"{name} went down")
        return answer


class VirtualFaultMaker:
    """Makes faults of a network in virtual time."""

    def __init__(self, network: VirtualNodes, machine: Machine) -> None:
        self._network = network
        self._machine = machine
        self._orders = Orders()

    async def find_leader(self) -> str:
        """Return who leads according to the first node that runs."""
        plan, nodes = self._network.plan, self._network.nodes
        while True:
            running = [nodes[node.name] for node in plan.nodes if node.name in nodes]
            driver = next((node.driver for node in running if node.driver is not None), None)
            if driver is not None:
                replica = driver.replica
                node_id = replica.validators.validators[replica.next_leader].node_id
                return next(node.name for node in plan.nodes if node.key.node_id == node_id)
            await trio.sleep(POLL_S)

    def make(
        self, fault: PlannedFault, names: tuple[str, ...]
    ) -> AbstractAsyncContextManager[None]:
        """Make a fault of any kind."""
        match fault.kind:
            case "kill":
                return self._network.down(*names)
            case "cut":
                plan, is_one_way = self._network.plan, fault.is_one_way
                return self._network.silence(
                    find_directions(plan, fault.ends, is_one_way=is_one_way)
                )
            case "slow":
                return self._network.slow(fault.delay_ms / 1_000, *names)
            case "throttle":
                return throttled(partial(self._pause, names), fault.share)
            case "lie":
                return self._lie(names, fault.how)
            case "disk":
                return self._slow_disks(names, fault.delay_ms / 1_000)
            case "clock":
                return self._network.shifted(fault.ahead_ms, *names)
        return self._pause(names)

    async def wait_for_height(self, height: int) -> None:
        """Return once a node has so many blocks."""
        while True:
            heads = [item.ledger.head.number for item in self._network.nodes.values()]
            if max(heads, default=0) >= height:
                return
            await trio.sleep(POLL_S)

    @asynccontextmanager
    async def _lie(self, names: tuple[str, ...], how: str) -> AsyncIterator[None]:
        with self._orders.given("lie", names, how, self._order_lies):
            yield

    def _order_lies(self, name: str, lies: list[Any]) -> None:
        node = self._network.nodes.get(name)
        if node is not None and isinstance(node.gateway, ByzantineGateway):
            node.gateway.set_lies(lies)

    @asynccontextmanager
    async def _slow_disks(self, names: tuple[str, ...], delay_s: float) -> AsyncIterator[None]:
        with self._orders.given("disk", names, delay_s, self._order_delay):
            yield

    def _order_delay(self, name: str, delays_s: list[Any]) -> None:
        self._machine.disk_delays_s[name] = max(delays_s, default=0.0)

    @asynccontextmanager
    async def _pause(self, names: tuple[str, ...]) -> AsyncIterator[None]:
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self._machine.paused(name))
            yield


def _parts_s(
    network: VirtualNodes, before: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Return CPU seconds by node and part, less those before; a restart begins anew."""
    found = {}
    for name, node in network.nodes.items():
        read = node.ledger.cpu.read()
        earlier = before.get(name, {})
        found[name] = {
            part: max(0.0, read[part] - earlier.get(part, 0.0)) for part in read if part != WHOLE
        }
    return found


async def _take_samples(
    machine: Machine, processes: Sequence[str], begin_s: float, found: list[Sample]
) -> None:
    """Add a sample of each process every second, until cancelled."""
    await trio.sleep(begin_s - trio.current_time())
    while True:
        at_s = trio.current_time() - begin_s
        found += [Sample(at_s, name, machine.spent_s(name), 0) for name in processes]
        await trio.sleep(SAMPLE_S)


def _read_phases(network: VirtualNodes, begin_s: float) -> list[BlockTimes]:
    return [
        item
        for name, node in network.nodes.items()
        if node.driver is not None
        for item in place_phases(name, node.driver.phases.read(0, PHASES_KEPT), begin_s)
        if (item.passed_s[0] or 0.0) >= 0
    ]


def _highest_view(network: VirtualNodes) -> int:
    views = [item.driver.replica.view for item in network.nodes.values() if item.driver]
    return max(views, default=0)


async def _wait_for_level(network: VirtualNodes) -> bool:
    """Return whether all nodes have the same head before long."""
    with trio.move_on_after(LEVEL_S):
        while True:
            heads = {item.ledger.head.number for item in network.nodes.values()}
            if len(heads) == 1 and len(network.nodes) == len(network.plan.nodes):
                return True
            await trio.sleep(POLL_S)
    return False
