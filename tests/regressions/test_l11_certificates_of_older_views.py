"""L11: a VIEW-CHANGE carries a height's certificate, whatever its view (R-VC-4)."""

from lowu.consensus.messages import Prepare, ViewChange
from tests.unit import consensus_kit as kit


def test_a_certificate_outlives_views_in_which_nothing_happened():
    replica, item = kit.replica(0), kit.proposal()
    kit.deliver(replica, kit.offer(item))
    kit.make_valid(replica, item)
    for sender in (1, 2, 3):
        kit.deliver(replica, kit.vote(Prepare, item, sender))
    for view in (1, 2):
        effects = []
        for sender in (1, 3):
            effects += kit.deliver(replica, kit.view_change(sender, view))
        (change,) = kit.sent(ViewChange, effects)
        assert [(c.view, c.proposal) for c in change.prepared] == [(0, item)]
        kit.deliver(replica, kit.new_view(view))
