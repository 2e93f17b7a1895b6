"""B46: a verdict belongs to one proposal, not to its height."""

from lowu.consensus.effects import VerifyProposal
from lowu.consensus.messages import Prepare
from tests.unit import consensus_kit as kit


def test_another_proposal_is_checked_anew():
    replica = kit.replica()
    one, other = kit.proposal(), kit.proposal(text=b"other")
    kit.deliver(replica, kit.offer(one))
    kit.make_valid(replica, one)
    changes = [kit.view_change(i, 1, certificates=[kit.prepared(other)]) for i in (0, 1, 2)]
    effects = kit.deliver(replica, kit.new_view(1, changes))
    assert [e.digest for e in kit.only(VerifyProposal, effects)] == [kit.digest_of(other)]
    assert kit.sent(Prepare, effects) == []
    assert len(kit.sent(Prepare, kit.make_valid(replica, other))) == 1
