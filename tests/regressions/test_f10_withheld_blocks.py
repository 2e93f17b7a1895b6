"""Blocks that only a liar has are settled by the view that starts above them (R-NV-3)."""

from lowu.consensus.effects import ExecuteProposal, VerifyProposal
from lowu.consensus.inputs import ProposalVerdict, ProposalVerified
from lowu.consensus.messages import Prepare
from tests.unit import consensus_kit as kit

FIRST, SECOND = kit.chain(2)
FIRST_AGAIN = kit.proposal(text=b"again", proposer=2)
WITHHELD = [
    kit.view_change(0, 1, kit.committed(SECOND)),
    kit.view_change(1, 1, certificates=[kit.prepared(FIRST), kit.prepared(SECOND)]),
    kit.view_change(2, 1),
]


def test_proposals_below_a_proven_head_are_executed():
    """Found by simulation: honest replicas had every proposal, but waited for blocks for ever."""
    replica = kit.replica(3)
    effects = kit.deliver(replica, kit.new_view(1, WITHHELD, sender=0))
    assert replica.is_settled(1) and replica.is_settled(2) and not replica.is_settled(3)
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


def test_a_verdict_on_the_leader_s_list_does_not_stand_against_a_certificate():
    replica = kit.replica(3)
    kit.deliver(replica, kit.offer(FIRST))
    kit.deliver(replica, kit.new_view(1, [kit.view_change(i, 1) for i in (0, 1, 2)]))
    kit.deliver(replica, kit.offer(FIRST_AGAIN, view=1))
    invalid = ProposalVerified(1, kit.digest_of(FIRST_AGAIN), ProposalVerdict.INVALID)
    replica.step(invalid)
    stable = kit.committed(FIRST_AGAIN)
    changes = [kit.view_change(0, 2, stable), kit.view_change(1, 2), kit.view_change(2, 2)]
    effects = kit.deliver(replica, kit.new_view(2, changes, sender=0))
    (check,) = kit.only(VerifyProposal, effects)
    assert check.is_vouched and check.tx_hashes is None


def test_another_proposal_below_the_head_is_not_taken():
    replica = kit.replica(3)
    other = kit.proposal(text=b"other")
    kit.deliver(replica, kit.offer(other))
    kit.make_valid(replica, other)
    changes = [WITHHELD[0], kit.view_change(1, 1), kit.view_change(2, 1)]
    effects = kit.deliver(replica, kit.new_view(1, changes, sender=0))
    assert kit.only(ExecuteProposal, effects) == []
