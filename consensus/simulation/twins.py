"""Twins: two replicas with one key, and every way of dividing the nodes that hear them.

After Bano et al., "Twins: BFT Systems Made Robust" (OPODIS 2021): two unmodified replicas with
one key equivocate, vote twice and forget, all by correct code, when the network lets different
nodes hear different copies. A *scenario* says which nodes are twinned and, for each of the first
views, into which groups the instances are divided; messages of a view pass only within the
groups of that view. After these views all instances hear each other, and the chain must grow
(F19).

`enumerate_scenarios` lists every scenario of a size once, up to exchanging the two copies of a
twin (they start equal). With f twins no fork may appear; with f + 1 one must (F20).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TypeAlias

from lowu.consensus.messages import Checkpoint, NewView, Status, ViewChange
from lowu.consensus.quorum import compute_fault_threshold
from lowu.consensus.simulation.explore import PlanFinding, guard
from lowu.consensus.simulation.faults import Rates
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.simulation.result import RunResult
from lowu.consensus.simulation.run_plan import RunPlan
from lowu.consensus.simulation.simulated_links import Parcel
from lowu.consensus.simulation.world import LIVENESS_MS, World

Groups: TypeAlias = tuple[int, ...]
"""The group number of each instance; groups are numbered in order of appearance."""
TRANSACTIONS = 3
VIEW_MS = 5_000
"""Virtual time for each view of a scenario, longer than the first time-outs."""


@dataclass(frozen=True, slots=True)
class TwinsScenario:
    """Which nodes are twinned, and which instances hear each other in each view."""

    nodes: int
    twins: tuple[int, ...]
    views: tuple[Groups, ...]

    def describe(self) -> str:
        """Return a scenario as text that `parse_scenario` reads."""
        views = "/".join("".join(map(str, groups)) for groups in self.views)
        return f"{self.nodes}:{','.join(map(str, self.twins))}:{views}"


def parse_scenario(text: str) -> TwinsScenario:
    """Return the scenario in `text`; raise `ValueError` if it holds none."""
    nodes, twins, views = text.split(":")
    scenario = TwinsScenario(
        int(nodes),
        tuple(int(item) for item in twins.split(",")),
        tuple(tuple(int(group) for group in view) for view in views.split("/")),
    )
    size = scenario.nodes + len(scenario.twins)
    if any(len(view) != size for view in scenario.views):
        raise ValueError(f"each view must name {size} instances")
    return scenario


def partitions(size: int) -> Iterator[Groups]:
    """Yield every division of `size` instances into groups, as restricted growth strings."""

    def grow(prefix: tuple[int, ...], highest: int) -> Iterator[Groups]:
        if len(prefix) == size:
            yield prefix
            return
        for group in range(highest + 2):
            yield from grow((*prefix, group), max(highest, group))

    return grow((), -1)


def enumerate_scenarios(nodes: int, views: int) -> Iterator[TwinsScenario]:
    """Yield all scenarios with one twin, each once up to exchanging the twin's copies."""
    every = list(partitions(nodes + 1))
    for twin in range(nodes):
        exchanged = {groups: _exchange(groups, twin) for groups in every}
        for chosen in product(every, repeat=views):
            if chosen <= tuple(exchanged[groups] for groups in chosen):
                yield TwinsScenario(nodes, (twin,), chosen)


def _exchange(groups: Groups, twin: int) -> Groups:
    """Return the groups with the two copies of a twin exchanged, numbered canonically."""
    swapped = list(groups)
    swapped[twin], swapped[-1] = swapped[-1], swapped[twin]
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(group, len(numbers)) for group in swapped)


def sample_scenario(
    random: Random, nodes: int, views: int, twins: int | None = None
) -> TwinsScenario:
    """Draw a scenario; by default with as many twins as the protocol tolerates."""
    count = compute_fault_threshold(nodes) if twins is None else twins
    chosen = tuple(sorted(random.sample(range(nodes), count)))
    size = nodes + count
    drawn = []
    for _ in range(views):
        groups = random.choice((1, 2, 2, 2, 3))
        numbers: dict[int, int] = {}
        division = [random.randrange(groups) for _ in range(size)]
        drawn.append(tuple(numbers.setdefault(group, len(numbers)) for group in division))
    return TwinsScenario(nodes, chosen, tuple(drawn))


def plan_of(scenario: TwinsScenario) -> RunPlan:
    """Return the plan under a scenario: a quiet network with a few transactions."""
    return RunPlan(
        seed=0,
        weights=(1,) * scenario.nodes,
        members=tuple(range(scenario.nodes)),
        submissions=tuple(range(TRANSACTIONS)),
        heal_ms=VIEW_MS * (len(scenario.views) + 1),
        rates=Rates(delay_ms_min=1, delay_ms_max=1),
        window=2,
        block_txs_max=1,
        twins=scenario.twins,
    )


class TwinsWorld(World):
    """A world whose links follow a scenario."""

    def __init__(self, scenario: TwinsScenario, *, is_traced: bool = False) -> None:
        super().__init__(plan_of(scenario), is_traced=is_traced)
        self.scenario = scenario
        self.network.gate = self._passes
        self.network.may_fetch = self._may_fetch

    def _passes(self, sender: SimNode, receiver: SimNode, parcel: Parcel) -> bool:
        """Whether a message passes: votes stay in the groups of their view.

        Messages that move replicas from view to view always pass, or no scenario would reach
        its second view: without a quorum in one group, no replica would ask for another view.
        """
        if isinstance(parcel, ViewChange | NewView | Status):
            return True
        return self._hear(sender, receiver, self._view_of(sender, parcel))

    def _hear(self, sender: SimNode, receiver: SimNode, view: int) -> bool:
        if view >= len(self.scenario.views):
            return True
        groups = self.scenario.views[view]
        return groups[sender.instance] == groups[receiver.instance]

    def _may_fetch(self, node: SimNode, peer: SimNode) -> bool:
        """Whether a node may fetch bodies and blocks from a peer: if it hears the peer's votes."""
        view = node.replica.view if node.replica is not None else 0
        return self._hear(peer, node, view)

    @staticmethod
    def _view_of(sender: SimNode, parcel: Parcel) -> int:
        """Return a parcel's view; a parcel without one is of the view its sender asked for."""
        if isinstance(parcel, bytes | Checkpoint):
            return sender.replica.to_view if sender.replica is not None else 0
        return parcel.view

    def is_settled(self) -> bool:
        """Whether every node without a twin has committed every transaction."""
        honest = [node for node in self.nodes if not node.is_twin]
        return all(len(node.committed) == len(self.clients.submitted) for node in honest)

    def run(self) -> RunResult:
        """Run the scenario to the end; raise `Violation` if a property is broken."""
        for node in self.nodes:
            self.start(node)
        for at_ms in self.plan.submissions:
            self.at(at_ms, self.clients.submit)
        self.is_faulty_phase = False
        self.network.is_faulty = False
        self.run_until(TRANSACTIONS)
        self.run_until(self.plan.heal_ms, self._are_past_the_scenario)
        healed_ms = self.now_ms
        self.network.gate = None
        self.network.may_fetch = None
        self.edge.announce_for_ever()
        self.run_until(healed_ms + LIVENESS_MS, self.is_settled)
        if not self.is_settled():
            self.checkers.raise_unsettled(LIVENESS_MS)
        return self._result(self.now_ms - healed_ms)

    def _are_past_the_scenario(self) -> bool:
        views = len(self.scenario.views)
        return all(node.replica is None or node.replica.view >= views for node in self.nodes)


def run_scenario(scenario: TwinsScenario) -> RunResult | PlanFinding:
    """Run a scenario; return its result, or what it broke."""
    return guard(plan_of(scenario), TwinsWorld(scenario).run)
