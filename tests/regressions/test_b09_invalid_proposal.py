"""B09: an invalid proposal gets no vote and costs its leader the view."""

from lowu.consensus.inputs import ProposalVerdict, ProposalVerified
from lowu.consensus.messages import Prepare, ViewChange
from tests.unit import consensus_kit as kit


def test_it_starts_a_view_change_instead_of_a_loop():
    replica, item = kit.replica(), kit.proposal()
    kit.deliver(replica, kit.offer(item))
    effects = replica.step(ProposalVerified(1, kit.digest_of(item), ProposalVerdict.INVALID))
    assert kit.sent(Prepare, effects) == []
    assert [message.view for message in kit.sent(ViewChange, effects)] == [1]
