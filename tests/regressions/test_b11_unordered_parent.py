"""B11: nothing is ordered before the height below it (R-ORD-1)."""

from lowu.consensus.effects import ExecuteProposal
from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


def test_a_quorum_above_a_gap_orders_nothing():
    replica = kit.replica()
    first, second = kit.chain(2)
    effects = list(kit.deliver(replica, kit.offer(first)))
    effects += kit.deliver(replica, kit.offer(second))
    effects += kit.make_valid(replica, first)
    effects += kit.make_valid(replica, second)
    for kind in (Prepare, Commit):
        for sender in (0, 1, 2):
            effects += kit.deliver(replica, kit.vote(kind, second, sender))
    assert kit.only(ExecuteProposal, effects) == []
    assert [vote.height for vote in kit.sent(Commit, effects)] == []


def test_another_parent_is_not_voted_for():
    replica = kit.replica(0)
    first = kit.proposal()
    kit.commit(replica, first, senders=(1, 2, 3))
    stray = kit.proposal(2, b"z" * 32, b"b", 2, 6)
    effects = list(kit.deliver(replica, kit.offer(stray)))
    effects += kit.make_valid(replica, stray)
    assert kit.sent(Prepare, effects) == []
