"""The cost of bad leaders, and what liars gain by gaming the rules (N-F7, N-C1, R-LEAD-2 to 4)."""

from collections import Counter

import pytest

from lowu.consensus.inputs import TimerFired, TimerId
from lowu.consensus.simulation.faults import Crash, Rates
from lowu.consensus.simulation.run_plan import RunPlan
from lowu.consensus.simulation.world import World
from lowu.consensus.suspects import ROUNDS_MIN

GAP_MS = 200


class Counted(World):
    """A world that counts view time-outs of honest nodes, by the height they waited for."""

    def __init__(self, plan):
        super().__init__(plan)
        self.waited = Counter()

    def step(self, node, event, *, is_lie=False):
        if isinstance(event, TimerFired) and event.timer is TimerId.VIEW and node.liar is None:
            running = node.replica._state.timers.get(event.timer) if node.replica else None
            self.waited[len(node.chain) + 1] += running == event.number
        super().step(node, event, is_lie=is_lie)

    @property
    def heights_waited_for(self):
        return sum(count > 0 for count in self.waited.values())


def play(nodes, liars, blocks=120, **options):
    """Run a block of one transaction every 200 ms; return the world and its result."""
    plan = RunPlan(
        seed=1,
        weights=(1,) * nodes,
        members=tuple(range(nodes)),
        submissions=tuple(number * GAP_MS for number in range(blocks)),
        heal_ms=blocks * GAP_MS,
        rates=Rates(),
        block_txs_max=1,
        byzantine=tuple(liars.items()),
        **options,
    )
    world = Counted(plan)
    return world, world.run()


def bound_failures(nodes, heights):
    """Return how often a mute leader is tried within `heights`: after 4, 8, 16 … rounds."""
    tried, height, rounds = 0, 1, ROUNDS_MIN
    while height <= heights:
        tried, height, rounds = tried + 1, height + rounds * nodes, min(64, rounds * 2)
    return tried


@pytest.mark.parametrize(
    ("nodes", "mute"), [(4, (1,)), (4, (3,)), (7, (1, 2)), (7, (2, 5)), (10, (1, 4, 7))]
)
def test_a_mute_leader_costs_a_bounded_number_of_time_outs(nodes, mute):
    """It is linked and votes, but never leads. Of 4 validators it used to cost every 3rd block."""
    world, result = play(nodes, dict.fromkeys(mute, ("mute",)))
    assert result.heights == 120
    assert 0 < world.heights_waited_for <= len(mute) * bound_failures(nodes, 120)


@pytest.mark.parametrize("liars", [{1: ("mute", "accuse")}, {1: ("mute",), 2: ("accuse",)}])
def test_slander_helps_no_mute_leader(liars):
    world, result = play(7 if len(liars) > 1 else 4, liars)
    assert result.heights == 120
    nodes = len(world.nodes)
    assert world.heights_waited_for <= bound_failures(nodes, 120)
    proposers = Counter(block.proposal.proposer for block in world.nodes[0].chain)
    honest = [index for index in range(nodes) if index not in liars]
    assert min(proposers[index] for index in honest) >= 120 // nodes // 2


@pytest.mark.parametrize("nodes", [4, 7])
def test_slander_alone_changes_nothing(nodes):
    """No honest validator has a reason to leave a view, so none is passed over."""
    world, result = play(nodes, {1: ("accuse",)}, blocks=60)
    assert (result.view_max, world.heights_waited_for) == (0, 0)
    proposers = Counter(block.proposal.proposer for block in world.nodes[0].chain)
    assert set(proposers) == set(range(nodes))


def test_a_dead_leader_costs_no_view_change_a_turn():
    """A lost link is noticed at once; the leader's next turns cost no view change."""
    world, result = play(4, {}, dead=(2,), crashes=(Crash(1_000, 2, 1),))
    assert result.heights == 120
    assert world.heights_waited_for == 0
    assert result.view_max <= bound_failures(4, 120)


def test_an_abstaining_leader_costs_no_time_out():
    """N-C1: it says that it abstains, and votes again once the chain is past its lost votes."""
    world, result = play(4, {}, crashes=(Crash(1_000, 2, 300, is_wiped=True),), window=50)
    assert result.heights == 120
    assert world.heights_waited_for == 0
    assert result.view_max <= bound_failures(4, 120)
    assert world.nodes[2].replica.phase == "normal"


def test_no_validator_has_more_than_its_share():
    """Chain quality: with f passed over, no validator proposes more than 1 in n − f blocks."""
    world, _ = play(7, {1: ("mute",), 2: ("mute",)}, blocks=240)
    late = world.nodes[0].chain[60:]
    proposers = Counter(block.proposal.proposer for block in late)
    assert max(proposers.values()) <= len(late) / 5 * 1.25
