"""B05: a prepared proposal survives every view change."""

from lowu.consensus.messages import Prepare, ViewChange
from tests.unit import consensus_kit as kit


def test_a_view_change_carries_the_certificate():
    replica, item = kit.replica(3), kit.proposal()
    kit.pending(replica)
    kit.deliver(replica, kit.offer(item))
    effects = list(kit.make_valid(replica, item))
    for sender in (0, 1, 2):
        effects += kit.deliver(replica, kit.vote(Prepare, item, sender))
    for sender in (0, 1):
        effects = kit.deliver(replica, kit.view_change(sender, 1))
    (change,) = kit.sent(ViewChange, effects)
    assert [certificate.proposal for certificate in change.prepared] == [item]
