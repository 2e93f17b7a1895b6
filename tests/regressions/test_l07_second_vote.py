"""L07: a validator's first vote counts; a contradicting one is evidence (R-SAFE-1, R-EVI-1)."""

from lowu.consensus.effects import ReportEvidence
from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


def test_a_second_vote_does_not_replace_the_first():
    replica, item = kit.replica(), kit.proposal()
    other = kit.proposal(text=b"other")
    kit.deliver(replica, kit.offer(item))
    kit.make_valid(replica, item)
    kit.deliver(replica, kit.vote(Prepare, item, 0))
    effects = kit.deliver(replica, kit.vote(Prepare, other, 0))
    assert len(kit.only(ReportEvidence, effects)) == 1
    effects = kit.deliver(replica, kit.vote(Prepare, item, 1))
    assert len(kit.sent(Commit, effects)) == 1, "node 0 still counts for what it said first"
