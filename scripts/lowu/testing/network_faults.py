"""Faults of networks under test: in virtual time, and of processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import psutil
import trio

from lowu.contracts.named import UnknownName, tell_unknown
from lowu.experiments.faults.relays import Relays
from lowu.experiments.load.fault_driver import ProcessFaultMaker, throttled
from lowu.experiments.load.planned.fault_tables import PlannedFault
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.simulation.virtual_network import VirtualNodes
from lowu.node.topology.control import Control
from lowu.node.topology.faults.link_shape import Direction, LinkShape, list_directions
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.spec import LIES
from lowu.testing.fault_arguments import (
    End,
    find_nodes,
    find_sides,
    read_ahead_ms,
    read_delay,
    read_ends,
    read_shape,
    read_share,
)

LINKED_S = 60.0
POLL_S = 0.05


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
        self._cut: set[Direction] = set()

    @asynccontextmanager
    async def _once(
        self, ways: frozenset[Direction], effect: AbstractAsyncContextManager[None]
    ) -> AsyncIterator[None]:
        """Cut nodes off from each other, unless some of them are already."""
        again = sorted(ways & self._cut)
        if again:
            raise ValueError(f"{' and '.join(again[0])} are cut off from each other already")
        self._cut |= ways
        try:
            async with effect:
                yield
        finally:
            self._cut -= ways

    def _read_nodes(self, told: str, nodes: tuple[str, ...], *, is_ordered: bool) -> list[str]:
        if is_ordered and not self._plan.spec.settings.allow_lies:
            raise ValueError(f"{told} only in a network file with allow_lies = true in [network]")
        return find_nodes(self._plan, nodes)

    def lie(self, how: str, *nodes: str) -> Fault:
        """Have nodes be Byzantine; the network's file has to say ``allow_lies = true``.

        `how` is one of equivocate, withhold, delay, wrong-result and censor (docs/EXPERIMENTS.md).
        """
        if how not in LIES:
            raise UnknownName(tell_unknown("lie", how, tuple(LIES)))
        chosen = self._read_nodes("nodes lie", nodes, is_ordered=True)
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

    def cut(self, *ends: End, one_way: bool = False) -> Fault:
        """Cut all links between two ends, such as the sides; then they heal.

        An end is a side, a node or a list of them. With `one_way`, only what the first sends to
        the second is held back until then.
        """
        network = self._network
        there = read_ends(network.plan, ends)
        ways = list_directions(there, is_one_way=one_way)
        sides = find_sides(network.plan, there)
        effect = network.silence(ways) if one_way or sides is None else network.cut(*sides)
        return self._make(_tell("cut", *ends), self._once(ways, effect))

    def pause(self, *nodes: str) -> Fault:
        """Stop nodes; then they go on. Meanwhile nothing passes, and no client has an answer."""
        chosen = find_nodes(self._network.plan, nodes)
        return self._make(_tell("pause", *nodes), self._network.paused(*chosen))

    def throttle(self, share: float, *nodes: str) -> Fault:
        """Let nodes run for a share of the time only, as on a busy machine."""
        part, chosen = read_share(share), find_nodes(self._network.plan, nodes)
        effect = throttled(partial(self._network.paused, *chosen), part)
        return self._make(_tell("throttle", share, *nodes), effect)

    def clock(self, ahead_s: float, *nodes: str) -> Fault:
        """Have nodes' clocks be so far ahead, or behind (below 0); needs `allow_lies`."""
        ahead_ms = read_ahead_ms(ahead_s)
        chosen = self._read_nodes("clocks are shifted", nodes, is_ordered=True)
        return self._make(_tell("clock", ahead_s, *nodes), self._network.shifted(ahead_ms, *chosen))

    def disk(self, delay_s: float, *nodes: str) -> NoReturn:
        """Raise `ValueError`: disks of virtual networks take no time."""
        raise ValueError(
            "a virtual network's disks take no time: test a slow disk on processes, or with "
            "`lowu experiment run --provider sim`"
        )

    def link(
        self,
        *ends: End,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        bandwidth_mbit: float = 0.0,
        one_way: bool = False,
    ) -> Fault:
        """Let bytes travel so between two ends, or from the first; then as before."""
        shape = read_shape(delay_s, jitter_s, loss, bandwidth_mbit)
        ways = list_directions(read_ends(self._network.plan, ends), is_one_way=one_way)
        return self._make(_tell("link", *ends), self._network.shaped(ways, shape))


class ProcessFaults(_Made):
    """Faults of a network of processes. Enter them with `async with`."""

    def __init__(self, plan: Plan, folder: Path, route: Callable[[], Relays]) -> None:
        super().__init__(plan, lambda planned: RpcClient(planned.url))
        self._folder = folder
        self._route = route
        """Returns the relays of the network, routing its links through them at first."""
        self._maker = ProcessFaultMaker(plan, folder, None)

    def down(self, *nodes: str) -> Fault:
        """Kill nodes (SIGKILL), by ``nodeN`` or by institution; then start them again.

        Afterwards they answer, but may still fetch blocks that they missed.
        """
        chosen = find_nodes(self._plan, nodes)
        return self._make(_tell("down", *nodes), self._made_by("kill", chosen))

    def slow(self, delay_s: float, *nodes: str) -> Fault:
        """Delay all bytes from and to nodes by `delay_s`, so that they lag behind.

        The first time, all nodes are restarted, as with `cut`.
        """
        seconds, chosen = read_delay(delay_s), find_nodes(self._plan, nodes)
        return self._make(_tell("slow", delay_s, *nodes), self._slow_down(seconds, chosen))

    def cut(self, *ends: End, one_way: bool = False) -> Fault:
        """Let nothing pass between two ends, such as the sides; then all are linked again.

        An end is a side, a node or a list of them. With `one_way`, only what the first sends to
        the second does not pass.
        The first time, all nodes are restarted, so that their links lead through relays. If they
        are not all linked again in time afterwards, that is a `TimeoutError`.
        """
        ways = list_directions(read_ends(self._plan, ends), is_one_way=one_way)
        return self._make(_tell("cut", *ends), self._once(ways, self._cut_off(ways)))

    def pause(self, *nodes: str) -> Fault:
        """Stop nodes (SIGSTOP); then they go on."""
        chosen = find_nodes(self._plan, nodes)
        return self._make(_tell("pause", *nodes), self._made_by("pause", chosen))

    def throttle(self, share: float, *nodes: str) -> Fault:
        """Let nodes run for a share of the time only, as on a busy machine."""
        part, chosen = read_share(share), find_nodes(self._plan, nodes)
        effect = self._made_by("throttle", chosen, share=part)
        return self._make(_tell("throttle", share, *nodes), effect)

    def clock(self, ahead_s: float, *nodes: str) -> Fault:
        """Have nodes' clocks be so far ahead, or behind (below 0); needs `allow_lies`."""
        ahead_ms = read_ahead_ms(ahead_s)
        chosen = self._read_nodes("clocks are shifted", nodes, is_ordered=True)
        effect = self._made_by("clock", chosen, ahead_ms=ahead_ms)
        return self._make(_tell("clock", ahead_s, *nodes), effect)

    def disk(self, delay_s: float, *nodes: str) -> Fault:
        """Have each durable write of nodes take so much longer; needs `allow_lies`."""
        delay_ms = read_delay(delay_s) * 1_000
        chosen = self._read_nodes("disks are slowed", nodes, is_ordered=True)
        effect = self._made_by("disk", chosen, delay_ms=delay_ms)
        return self._make(_tell("disk", delay_s, *nodes), effect)

    def link(
        self,
        *ends: End,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        loss: float = 0.0,
        bandwidth_mbit: float = 0.0,
        one_way: bool = False,
    ) -> Fault:
        """Let bytes travel so between two ends, or from the first; then as before.

        The first time, all nodes are restarted, as with `cut`.
        """
        shape = read_shape(delay_s, jitter_s, loss, bandwidth_mbit)
        ways = list_directions(read_ends(self._plan, ends), is_one_way=one_way)
        return self._make(_tell("link", *ends), self._shape(ways, shape))

    def _made_by(
        self, kind: str, chosen: list[str], **more: Any
    ) -> AbstractAsyncContextManager[None]:
        fault = PlannedFault(0.0, 0, kind, tuple(dict.fromkeys(chosen)), 0.0, **more)
        return self._maker.make(fault, fault.targets)

    @asynccontextmanager
    async def _shape(self, ways: frozenset[Direction], shape: LinkShape) -> AsyncIterator[None]:
        relays = await self._get_relays()
        with relays.shaped(ways, shape):
            yield

    @asynccontextmanager
    async def _slow_down(self, seconds: float, chosen: list[str]) -> AsyncIterator[None]:
        relays = await self._get_relays()
        with relays.slow(seconds, chosen):
            yield

    @asynccontextmanager
    async def _cut_off(self, ways: frozenset[Direction]) -> AsyncIterator[None]:
        relays = await self._get_relays()
        with relays.cut(ways):
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
                running = {item["name"] for item in states if _is_running(item["pid"])}
                there = [node for node in self._plan.nodes if node.name in running]
                if all([await _count_links(node) >= len(running) - 1 for node in there]):
                    return
                await trio.sleep(POLL_S)
        raise TimeoutError(f"the nodes were not all linked within {LINKED_S:.0f} s")


def _is_running(pid: int | None) -> bool:
    """Whether a process is there, and not stopped by a pause."""
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


async def _count_links(node: PlannedNode) -> int:
    try:
        return int((await read_status(node))["peers"])
    except (ClientError, RemoteError):
        return -1
