"""What bad leaders cost, and what liars win by gaming the rule (N-F7, N-C1, R-LEAD-2 to 4)."""

from collections import Counter

import pytest

from consensus.inputs import TimerFired, TimerId
from consensus.simulation.faults import Crash, Rates
from consensus.simulation.plan import Plan
from consensus.simulation.world import World
from consensus.suspects import ROUNDS_MIN

GAP_MS = 200


class Counted(World):
    """A world that counts time-outs of the view timer by the height that waited."""

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
    """A block a fifth of a second, one transaction each; what happened."""
    plan = Plan(
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
    """How often one mute leader is tried within so many heights: after 4, 8, 16 … rounds."""
    tried, height, rounds = 0, 1, ROUNDS_MIN
    while height <= heights:
        tried, height, rounds = tried + 1, height + rounds * nodes, min(64, rounds * 2)
    return tried


@pytest.mark.parametrize(
    ("nodes", "mute"), [(4, (1,)), (4, (3,)), (7, (1, 2)), (7, (2, 5)), (10, (1, 4, 7))]
)
def test_a_mute_leader_costs_a_bounded_number_of_time_outs(nodes, mute):
    """Linked, voting, and never leading: 1 time-out in 3 blocks of four validators before."""
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
    """Nobody honest has a reason to leave a view: nobody is passed over."""
    world, result = play(nodes, {1: ("accuse",)}, blocks=60)
    assert (result.view_max, world.heights_waited_for) == (0, 0)
    proposers = Counter(block.proposal.proposer for block in world.nodes[0].chain)
    assert set(proposers) == set(range(nodes))


def test_a_dead_leader_costs_no_view_change_a_turn():
    """A link that is gone is seen at once; the next turns cost nothing at all."""
    world, result = play(4, {}, dead=(2,), crashes=(Crash(1_000, 2, 1),))
    assert result.heights == 120
    assert world.heights_waited_for == 0
    assert result.view_max <= bound_failures(4, 120)


def test_an_abstaining_leader_costs_no_time_out():
    """N-C1: it says that it abstains. It votes again when the chain has outgrown its votes."""
    world, result = play(4, {}, crashes=(Crash(1_000, 2, 300, is_wiped=True),), window=50)
    assert result.heights == 120
    assert world.heights_waited_for == 0
    assert result.view_max <= bound_failures(4, 120)
    assert world.nodes[2].replica.phase == "normal"


def test_no_validator_has_more_than_its_share():
    """Chain quality: with f passed over, a liar has at most one block in n − f, in the long run."""
    world, _ = play(7, {1: ("mute",), 2: ("mute",)}, blocks=240)
    late = world.nodes[0].chain[60:]
    proposers = Counter(block.proposal.proposer for block in late)
    assert max(proposers.values()) <= len(late) / 5 * 1.25
