"""L10: COMMITs of different views are no quorum (R-ORD-1)."""

from lowu.consensus.effects import ExecuteProposal
from lowu.consensus.messages import Commit
from tests.unit import consensus_kit as kit


def test_they_order_nothing_until_one_view_has_a_quorum():
    replica, item = kit.replica(0), kit.proposal()
    kit.deliver(replica, kit.offer(item))
    effects = list(kit.make_valid(replica, item))
    for sender, view in ((1, 0), (2, 0), (3, 1)):
        effects += kit.deliver(replica, kit.vote(Commit, item, sender, view))
    assert kit.only(ExecuteProposal, effects) == []
    for sender in (1, 2):
        effects += kit.deliver(replica, kit.vote(Commit, item, sender, 1))
    assert len(kit.only(ExecuteProposal, effects)) == 1
