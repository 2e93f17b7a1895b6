"""B27: a replica that no longer leads does not propose what it built before (R-LATE-1)."""

from lowu.consensus.effects import BuildProposal
from lowu.consensus.inputs import ProposalBuilt
from lowu.consensus.messages import PrePrepare
from tests.unit import consensus_kit as kit


def test_a_block_built_for_an_older_view_is_dropped():
    replica = kit.replica(1)
    (wanted,) = kit.only(BuildProposal, kit.pending(replica))
    for sender in (0, 2, 3):
        kit.deliver(replica, kit.view_change(sender, 1))
    kit.deliver(replica, kit.new_view(1, [kit.view_change(i, 1) for i in (0, 2, 3)]))
    late = replica.step(ProposalBuilt(wanted.view, kit.proposal(), (b"h" * 32,)))
    assert replica.view == 1 and kit.sent(PrePrepare, late) == []


def test_a_block_built_on_something_else_is_dropped():
    replica = kit.replica(1)
    kit.pending(replica)
    stray = kit.proposal(previous=b"z" * 32)
    assert kit.sent(PrePrepare, replica.step(ProposalBuilt(0, stray, ()))) == []
