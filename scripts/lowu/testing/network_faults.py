"""Faults of networks under test: what they accept, and the two kinds of them.

A fault that does nothing is worse than none: names, sides and delays that would have no effect are
errors.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from lowu.contracts.registry import Jurisdiction
from lowu.experiments.actors.named import UnknownName, tell_unknown
from lowu.experiments.faults.relays import Relays
from lowu.node.client import ClientError, RemoteError
from lowu.node.simulation.virtual_network import VirtualNodes
from lowu.node.topology.control import Control
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import Plan, PlannedNode

Side = Jurisdiction | str
"""A side of the boundary, such as ``Jurisdiction.SZ`` or ``"SZ"``."""
DELAY_MAX_S = 3_600.0
LINKED_S = 60.0
POLL_S = 0.05


def find_nodes(plan: Plan, names: tuple[str, ...]) -> list[str]:
    """Return the nodes' own names; each is named so, or by an institution that uses it.

    Raises:
        UnknownName: there is no such node.
        ValueError: none is named.
    """
    if not names:
        raise ValueError('name at least one node, such as "node0" or "webank"')
    found = []
    for name in names:
        planned = plan.find_node(name) if isinstance(name, str) else None
        if planned is None:
            users = [item.spec.id for item in plan.institutions]
            known = [item.name for item in plan.nodes] + users
            raise UnknownName(tell_unknown("node", name, known))
        found.append(planned.name)
    return found


def read_sides(plan: Plan, first: Side, second: Side) -> tuple[Jurisdiction, Jurisdiction]:
    """Return the two sides of a cut; `ValueError` if nothing would be cut."""
    one, other = _read_side(plan, first), _read_side(plan, second)
    if one is other:
        raise ValueError(f"a cut is between two sides, not within {one.name}")
    return one, other


def _read_side(plan: Plan, side: Side) -> Jurisdiction:
    there = {node.side for node in plan.nodes}
    names = ", ".join(sorted(item.name for item in there))
    name = side.name if isinstance(side, Jurisdiction) else side
    found = Jurisdiction.__members__.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"{side!r} is no side of the boundary; this network has {names}")
    if found not in there:
        raise ValueError(f"no node of this network is in {found.name}; it has {names}")
    return found


def read_delay(delay_s: float) -> float:
    """Return a delay in seconds; `ValueError` if it is none."""
    is_number = isinstance(delay_s, (int, float)) and not isinstance(delay_s, bool)
    if not is_number or not math.isfinite(delay_s) or not 0 < delay_s <= DELAY_MAX_S:
        raise ValueError(
            f"a delay is a number of seconds up to {DELAY_MAX_S:.0f}, and comes first: "
            f'slow(0.5, "webank"), not {delay_s!r}'
        )
    return float(delay_s)


class VirtualFaults:
    """Faults of a virtual network, while a function runs on it."""

    def __init__(self, network: VirtualNodes) -> None:
        self._network = network

    @asynccontextmanager
    async def down(self, *nodes: str) -> AsyncIterator[None]:
        """Keep nodes down, by ``nodeN`` or by institution; then they start again."""
        async with self._network.down(*find_nodes(self._network.plan, nodes)):
            yield

    @asynccontextmanager
    async def slow(self, delay_s: float, *nodes: str) -> AsyncIterator[None]:
        """Delay all bytes from and to nodes by at least `delay_s`, so that they lag behind."""
        chosen = find_nodes(self._network.plan, nodes)
        async with self._network.slow(read_delay(delay_s), *chosen):
            yield

    @asynccontextmanager
    async def cut(self, first: Side, second: Side) -> AsyncIterator[None]:
        """Cut all links between two sides; then they heal."""
        async with self._network.cut(*read_sides(self._network.plan, first, second)):
            yield


class ProcessFaults:
    """Faults of a network of processes."""

    def __init__(self, plan: Plan, folder: Path, route: Callable[[], Relays]) -> None:
        self._plan = plan
        self._folder = folder
        self._route = route
        """Returns the relays of the network, routing its links through them at first."""

    @asynccontextmanager
    async def down(self, *nodes: str) -> AsyncIterator[None]:
        """Kill nodes (SIGKILL), by ``nodeN`` or by institution; then start them again.

        Afterwards they answer, but may still fetch blocks that they missed.
        """
        chosen = find_nodes(self._plan, nodes)
        control = Control(self._folder)
        await trio.to_thread.run_sync(control.order, "kill", chosen)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(control.start, chosen)

    @asynccontextmanager
    async def slow(self, delay_s: float, *nodes: str) -> AsyncIterator[None]:
        """Delay all bytes from and to nodes by `delay_s`, so that they lag behind.

        The first time, all nodes are restarted, as with `cut`.
        """
        chosen, seconds = find_nodes(self._plan, nodes), read_delay(delay_s)
        relays = await self._get_relays()
        with relays.slow(seconds, chosen):
            yield

    @asynccontextmanager
    async def cut(self, first: Side, second: Side) -> AsyncIterator[None]:
        """Let nothing pass between two sides; then they heal, and all nodes are linked again.

        The first time, all nodes are restarted, so that their links lead through relays.

        Raises:
            TimeoutError: the nodes were not all linked again in time.
        """
        sides = read_sides(self._plan, first, second)
        relays = await self._get_relays()
        with relays.cut(*sides):
            yield
        await self._wait_until_linked()

    async def _get_relays(self) -> Relays:
        relays = await trio.to_thread.run_sync(self._route)
        await self._wait_until_linked()
        return relays

    async def _wait_until_linked(self) -> None:
        """Return once every node that runs is linked to all others that run."""
        with trio.move_on_after(LINKED_S):
            while True:
                states = await trio.to_thread.run_sync(Control(self._folder).order, "status")
                running = {item["name"] for item in states if item["pid"] is not None}
                there = [node for node in self._plan.nodes if node.name in running]
                if all([await _count_links(node) >= len(running) - 1 for node in there]):
                    return
                await trio.sleep(POLL_S)
        raise TimeoutError(f"the nodes were not all linked within {LINKED_S:.0f} s")


async def _count_links(node: PlannedNode) -> int:
    try:
        return int((await read_status(node))["peers"])
    except (ClientError, RemoteError):
        return -1
