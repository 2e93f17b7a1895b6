"""Random kills and pauses of processes under load, and what must hold whatever they hit.

No acknowledged registration is lost; nobody votes twice, across restarts too; all nodes come back
by being started, and nothing else; and while at most f of them are down, registrations go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from lowu.experiments.crashes.consortium import ProcessConsortium
from lowu.experiments.crashes.matrix import (
    find_leader,
    list_broken_promises,
    why_not_voting,
)
from lowu.experiments.faults.killed_nodes import SteadyLoad
from lowu.node.client import ClientError, RemoteError
from lowu.node.topology.plan import PlannedNode

SETTLED_EVERY = 20
"""After how many kills all nodes are let come level, and what they have is checked."""
REST_S = 1.5
"""The longest time between two blows, and for which a killed node is down."""
PAUSE_S = 2.0
STALL_S = 10.0
WATCH_S = 0.1
BLOWS = {"one": 8, "leader": 4, "several": 2, "all": 1, "pause": 3}
"""Kinds of blows, with how often each is dealt among the others."""


@dataclass(slots=True)
class KillReport:
    """What random kills have shown."""

    kills: int = 0
    pauses: int = 0
    acknowledged: int = 0
    checked: int = 0
    """Acknowledged registrations that have been looked for at all nodes."""
    longest_stall_s: float = 0.0
    """The longest time without an acknowledgement while at most f nodes were down."""
    stalled_after: str = ""
    """What was being dealt then: a kind of blow and its nodes."""
    blows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Everything that must not have happened; empty if all is well."""
    lost: int = 0
    equivocations: int = 0
    repairs: int = 0
    """Nodes that did not come back by being started."""


class KillTest:
    """One run of random kills on a network of processes."""

    def __init__(
        self,
        consortium: ProcessConsortium,
        seed: int,
        report: KillReport,
        tell: Callable[[str], None],
    ) -> None:
        """Take where the kills strike, and where what they show is written down."""
        self._consortium = consortium
        self._random = Random(f"kills {seed}")  # noqa: S311  (repeatable)
        self._tell = tell
        self._nodes = consortium.plan.nodes
        self._f = (len(self._nodes) - 1) // 3
        self._down: set[str] = set()
        self._fine_since_s = 0.0
        """Since when at most f nodes are down."""
        self._loads: list[SteadyLoad] = []
        self._blow = ""
        self.report = report

    async def run(self, kills: int) -> None:
        """Deal blows until so many processes have been killed, and check what must hold."""
        self._fine_since_s = trio.current_time()
        while self.report.kills < kills and not self.report.problems:
            wanted = min(kills, self.report.kills + SETTLED_EVERY)
            async with self._loaded():
                while self.report.kills < wanted:
                    await self._deal(wanted - self.report.kills)
                    await trio.sleep(self._random.uniform(0, REST_S))
                await self._come_back()
            await self._check()
            self._tell(
                f"{self.report.kills} of {kills} kills, {self.report.acknowledged} registrations "
                f"acknowledged, longest stall {self.report.longest_stall_s:.1f} s"
            )

    # --- blows ------------------------------------------------------------------------------

    async def _deal(self, most: int) -> None:
        """Kill or pause some nodes, and let them go on."""
        (kind,) = self._random.choices(list(BLOWS), list(BLOWS.values()))
        self.report.blows[kind] = self.report.blows.get(kind, 0) + 1
        chosen = (await self._choose(kind))[:most]
        self._blow = f"{kind}: {', '.join(node.name for node in chosen)}"
        if kind == "pause":
            self.report.pauses += len(chosen)
            async with AsyncExitStack() as stack, self._counted_as_down(chosen):
                for node in chosen:
                    await stack.enter_async_context(self._consortium.paused(node.name))
                await trio.sleep(self._random.uniform(0, PAUSE_S))
            return
        self.report.kills += len(chosen)
        async with self._counted_as_down(chosen):
            async with trio.open_nursery() as nursery:
                for node in chosen:
                    nursery.start_soon(self._consortium.kill, node.name)
            await trio.sleep(self._random.uniform(0, REST_S))
            async with trio.open_nursery() as nursery:
                for node in chosen:
                    nursery.start_soon(self._consortium.start, node.name)

    async def _choose(self, kind: str) -> list[PlannedNode]:
        nodes = self._random.sample(self._nodes, len(self._nodes))
        if kind == "all":
            return nodes
        if kind == "several":
            return nodes[: self._f + 1]
        if kind == "leader":
            try:
                return [await find_leader(self._consortium, nodes[0])]
            except (ClientError, RemoteError):
                pass  # it has just come back: kill it again
        return nodes[:1]

    @asynccontextmanager
    async def _counted_as_down(self, nodes: list[PlannedNode]) -> AsyncIterator[None]:
        self._down |= {node.name for node in nodes}
        try:
            yield
        finally:
            self._down -= {node.name for node in nodes}
            if len(nodes) > self._f:
                self._fine_since_s = trio.current_time()

    # --- load, and what must hold -----------------------------------------------------------

    @asynccontextmanager
    async def _loaded(self) -> AsyncIterator[None]:
        """Have issuers register, each through its own node, while in the context."""
        issuers = [item for item in self._consortium.plan.institutions if item.spec.schemas]
        self._loads = [SteadyLoad(issuer) for issuer in issuers]
        self._fine_since_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for load in self._loads:
                nursery.start_soon(self._register, load)
            nursery.start_soon(self._watch)
            yield
            nursery.cancel_scope.cancel()

    async def _register(self, load: SteadyLoad) -> None:
        async with self._consortium.client(load.issuer.node) as client:
            await load.run(client)

    async def _watch(self) -> None:
        """Measure how long nothing is acknowledged while at most f nodes are down."""
        while True:
            await trio.sleep(WATCH_S)
            if len(self._down) > self._f:
                continue
            last_s = max((load.times_s[-1] for load in self._loads if load.times_s), default=0.0)
            stall_s = trio.current_time() - max(last_s, self._fine_since_s)
            if stall_s > self.report.longest_stall_s:
                self.report.longest_stall_s = stall_s
                self.report.stalled_after = self._blow

    async def _come_back(self) -> None:
        for node in self._nodes:
            if problem := await why_not_voting(self._consortium, node):
                self.report.repairs += 1
                self.report.problems.append(f"{node.name}: {problem}")

    async def _check(self) -> None:
        report = self.report
        count = sum(len(load.acknowledged) for load in self._loads)
        report.acknowledged += count
        report.checked += count
        lost, proofs = await list_broken_promises(self._consortium, self._nodes, self._loads)
        report.lost += len(lost)
        report.equivocations += len(proofs)
        report.problems += [*lost, *proofs]
        if report.longest_stall_s > STALL_S:
            report.problems.append(
                f"nothing was acknowledged for {report.longest_stall_s:.1f} s while at most "
                f"{self._f} nodes were down"
            )
        if count == 0:
            report.problems.append("nothing was acknowledged at all")
