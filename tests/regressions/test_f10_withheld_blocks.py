"""Blocks that only a liar has: the view that starts above them settles them (R-NV-3)."""

from consensus.effects import ExecuteProposal
from consensus.messages import Prepare
from tests.unit import consensus_kit as kit

FIRST, SECOND = kit.chain(2)
WITHHELD = [
    kit.view_change(0, 1, kit.committed(SECOND)),
    kit.view_change(1, 1, certificates=[kit.prepared(FIRST), kit.prepared(SECOND)]),
    kit.view_change(2, 1),
]


def test_proposals_below_a_proven_head_are_executed():
    """Found by simulation: the honest had every proposal, and waited for blocks for ever."""
    replica = kit.replica(3)
    effects = kit.deliver(replica, kit.new_view(1, WITHHELD, sender=0))
    for item in (FIRST, SECOND):
        effects += kit.make_valid(replica, item)
    assert [effect.proposal for effect in kit.only(ExecuteProposal, effects)] == [FIRST]
    assert kit.sent(Prepare, effects) == [], "what is final needs no votes"


def test_what_the_replica_holds_itself_serves_as_well():
    replica = kit.replica(3)
    for item in (FIRST, SECOND):
        kit.deliver(replica, kit.offer(item))
        kit.make_valid(replica, item)
    changes = [WITHHELD[0], kit.view_change(1, 1), kit.view_change(2, 1)]
    effects = kit.deliver(replica, kit.new_view(1, changes, sender=0))
    assert [effect.proposal for effect in kit.only(ExecuteProposal, effects)] == [FIRST]


def test_another_proposal_below_the_head_is_not_taken():
    replica = kit.replica(3)
    other = kit.proposal(text=b"other")
    kit.deliver(replica, kit.offer(other))
    kit.make_valid(replica, other)
    changes = [WITHHELD[0], kit.view_change(1, 1), kit.view_change(2, 1)]
    effects = kit.deliver(replica, kit.new_view(1, changes, sender=0))
    assert kit.only(ExecuteProposal, effects) == []
