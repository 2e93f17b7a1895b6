"""Faults of networks under test: what they accept, and the two kinds of them.

A fault that does nothing is worse than none: names, sides and delays that would have no effect are
errors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import trio

from lowu.contracts.named import UnknownName, tell_unknown
from lowu.contracts.registry import Jurisdiction
from lowu.experiments.faults.relays import Relays
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.simulation.virtual_network import VirtualNodes
from lowu.node.topology.control import Control
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.spec import LIES

Side = Jurisdiction | str
"""A side of the boundary, such as ``Jurisdiction.SZ`` or ``"SZ"``."""
DELAY_MAX_S = 3_600.0
LINKED_S = 60.0
SIDES_OF_A_CUT = 2
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


def read_sides(plan: Plan, sides: tuple[Side, ...]) -> tuple[Jurisdiction, Jurisdiction]:
    """Return the two sides of a cut; `ValueError` if nothing would be cut."""
    if len(sides) != SIDES_OF_A_CUT:
        told = ", ".join(map(repr, sides))
        raise ValueError(f'a cut is between two sides: faults.cut("SZ", "HK"), not ({told})')
    one, other = (_read_side(plan, side) for side in sides)
    if one is other:
        raise ValueError(f"a cut is between two sides, not within {one.name}")
    return one, other


def _read_side(plan: Plan, side: Side) -> Jurisdiction:
    there = {node.side for node in plan.nodes}
    names = ", ".join(sorted(item.name for item in there))
    name = side.name if isinstance(side, Jurisdiction) else side
    found = Jurisdiction.__members__.get(name) if isinstance(name, str) else None
    if found is None:
        upper = str(name).upper()
        close = get_close_matches(upper, Jurisdiction.__members__, 1)
        mend = f"did you mean {close[0]!r}?" if close else f"this network has {names}"
        raise ValueError(f"{side!r} is no side of the boundary; {mend}")
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


class Fault:
    """A fault, to be entered with ``async with``."""

    def __init__(self, told: str, effect: AbstractAsyncContextManager[None]) -> None:
        self.told = told
        self._effect = effect
        self.is_entered = False

    async def __aenter__(self) -> None:
        self.is_entered = True
        await self._effect.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._effect.__aexit__(kind, error, traceback)

    def __enter__(self) -> NoReturn:
        raise TypeError(f"a fault is entered with `async with faults.{self.told}:`")

    def __exit__(self, *reason: object) -> None:
        """Never reached."""

    def __await__(self) -> NoReturn:
        raise TypeError(f"a fault is not awaited, but entered: `async with faults.{self.told}:`")


class _Made:
    """The faults that were made, and those that are made in one way on all networks."""

    def __init__(self, plan: Plan, connect: Callable[[PlannedNode], RpcClient]) -> None:
        self._plan = plan
        self._connect = connect
        self._made: list[Fault] = []
        self._cuts: set[frozenset[Jurisdiction]] = set()

    @asynccontextmanager
    async def _once(
        self,
        first: Jurisdiction,
        second: Jurisdiction,
        effect: AbstractAsyncContextManager[None],
    ) -> AsyncIterator[None]:
        """Cut two sides off from each other, unless they are already."""
        sides = frozenset((first, second))
        if sides in self._cuts:
            raise ValueError(f"{first.name} and {second.name} are cut off from each other already")
        self._cuts.add(sides)
        try:
            async with effect:
                yield
        finally:
            self._cuts.remove(sides)

    def lie(self, how: str, *nodes: str) -> Fault:
        """Have nodes be Byzantine; the network's file has to say ``allow_lies = true``.

        `how` is one of equivocate, withhold, delay, wrong-result and censor (docs/EXPERIMENTS.md).
        """
        if how not in LIES:
            raise UnknownName(tell_unknown("lie", how, tuple(LIES)))
        if not self._plan.spec.settings.allow_lies:
            raise ValueError("nodes lie only in a network file with allow_lies = true in [network]")
        chosen = find_nodes(self._plan, nodes)
        return self._make(_tell("lie", how, *nodes), self._lie(how, chosen))

    @asynccontextmanager
    async def _lie(self, how: str, chosen: list[str]) -> AsyncIterator[None]:
        await self._order_lies(chosen, [how])
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await self._order_lies(chosen, [])

    async def _order_lies(self, chosen: list[str], lies: list[str]) -> None:
        for planned in self._plan.nodes:
            if planned.name in chosen:
                async with self._connect(planned) as client:
                    await client.call("setLies", lies)

    def _make(self, told: str, effect: AbstractAsyncContextManager[None]) -> Fault:
        fault = Fault(told, effect)
        self._made.append(fault)
        return fault

    def list_unused(self) -> list[str]:
        """Return the calls that made faults that were never entered."""
        return [f"faults.{item.told}" for item in self._made if not item.is_entered]


def _tell(what: str, *arguments: object) -> str:
    return f"{what}({', '.join(map(repr, arguments))})"


class VirtualFaults(_Made):
    """Faults of a virtual network, while a function runs on it. Enter them with `async with`."""

    def __init__(self, network: VirtualNodes) -> None:
        super().__init__(network.plan, network.client)
        self._network = network

    def down(self, *nodes: str) -> Fault:
        """Keep nodes down, by ``nodeN`` or by institution; then they start again."""
        chosen = find_nodes(self._network.plan, nodes)
        return self._make(_tell("down", *nodes), self._network.down(*chosen))

    def slow(self, delay_s: float, *nodes: str) -> Fault:
        """Delay all bytes from and to nodes by at least `delay_s`, so that they lag behind."""
        seconds, chosen = read_delay(delay_s), find_nodes(self._network.plan, nodes)
        return self._make(_tell("slow", delay_s, *nodes), self._network.slow(seconds, *chosen))

    def cut(self, *sides: Side, one_way: bool = False) -> Fault:
        """Cut all links between two sides; then they heal.

        With `one_way`, only what the first sends to the second is held back until then.
        """
        first, second = read_sides(self._network.plan, sides)
        network = self._network
        effect = network.silence((first, second)) if one_way else network.cut(first, second)
        return self._make(_tell("cut", *sides), self._once(first, second, effect))


class ProcessFaults(_Made):
    """Faults of a network of processes. Enter them with `async with`."""

    def __init__(self, plan: Plan, folder: Path, route: Callable[[], Relays]) -> None:
        super().__init__(plan, lambda planned: RpcClient(planned.url))
        self._folder = folder
        self._route = route
        """Returns the relays of the network, routing its links through them at first."""
        self._down: Counter[str] = Counter()
        """How many faults keep a node down."""

    def down(self, *nodes: str) -> Fault:
        """Kill nodes (SIGKILL), by ``nodeN`` or by institution; then start them again.

        Afterwards they answer, but may still fetch blocks that they missed.
        """
        chosen = find_nodes(self._plan, nodes)
        return self._make(_tell("down", *nodes), self._keep_down(set(chosen)))

    def slow(self, delay_s: float, *nodes: str) -> Fault:
        """Delay all bytes from and to nodes by `delay_s`, so that they lag behind.

        The first time, all nodes are restarted, as with `cut`.
        """
        seconds, chosen = read_delay(delay_s), find_nodes(self._plan, nodes)
        return self._make(_tell("slow", delay_s, *nodes), self._slow_down(seconds, chosen))

    def cut(self, *sides: Side, one_way: bool = False) -> Fault:
        """Let nothing pass between two sides; then they heal, and all nodes are linked again.

        With `one_way`, only what the first sends to the second does not pass.
        The first time, all nodes are restarted, so that their links lead through relays. If they
        are not all linked again in time afterwards, that is a `TimeoutError`.
        """
        first, second = read_sides(self._plan, sides)
        effect = self._once(first, second, self._cut(first, second, is_one_way=one_way))
        return self._make(_tell("cut", *sides), effect)

    @asynccontextmanager
    async def _keep_down(self, chosen: set[str]) -> AsyncIterator[None]:
        control = Control(self._folder)
        self._down.update(chosen)
        try:
            await trio.to_thread.run_sync(control.order, "kill", sorted(chosen))
            yield
        finally:
            self._down.subtract(chosen)
            ended = sorted(name for name in chosen if not self._down[name])
            with trio.CancelScope(shield=True):
                if ended:
                    await trio.to_thread.run_sync(control.start, ended)

    @asynccontextmanager
    async def _slow_down(self, seconds: float, chosen: list[str]) -> AsyncIterator[None]:
        relays = await self._get_relays()
        with relays.slow(seconds, chosen):
            yield

    @asynccontextmanager
    async def _cut(
        self, first: Jurisdiction, second: Jurisdiction, *, is_one_way: bool
    ) -> AsyncIterator[None]:
        relays = await self._get_relays()
        with relays.cut(first, second, is_one_way=is_one_way):
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
