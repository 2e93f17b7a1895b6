"""B19: finished slow work frees its place, and lost work is requested again."""

from lowu.consensus.effects import ExecuteProposal, VerifyProposal
from lowu.consensus.inputs import ProposalExecuted, ProposalVerdict, ProposalVerified, TimerId
from tests.unit import consensus_kit as kit


def test_the_next_execution_follows():
    replica = kit.replica()
    first, second = kit.chain(2)
    effects = kit.order(replica, first) + kit.order(replica, second)
    assert [e.proposal.height for e in kit.only(ExecuteProposal, effects)] == [1]
    done = replica.step(ProposalExecuted(1, kit.digest_of(first), b"b" * 32))
    assert [e.proposal.height for e in kit.only(ExecuteProposal, done)] == [2]


def test_a_verification_that_found_nothing_is_tried_again():
    replica, item = kit.replica(), kit.proposal()
    effects = list(kit.pending(replica)) + list(kit.deliver(replica, kit.offer(item)))
    replica.step(ProposalVerified(1, kit.digest_of(item), ProposalVerdict.UNKNOWN))
    again = kit.fire(replica, kit.timer(effects, TimerId.RESEND))
    assert len(kit.only(VerifyProposal, again)) == 1
