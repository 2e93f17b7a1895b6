"""B16: the search for a leader that can lead takes at most n steps, even if none can."""

from lowu.consensus.inputs import LinksChanged
from lowu.consensus.messages import ViewChange
from tests.unit import consensus_kit as kit


def test_no_link_at_all_leaves_no_view():
    replica = kit.replica(0)
    kit.pending(replica)
    assert kit.sent(ViewChange, replica.step(LinksChanged(frozenset()))) == []


def test_leaders_without_links_are_skipped():
    replica = kit.replica(0)
    kit.pending(replica)
    others = frozenset(kit.node_id(i) for i in (2, 3))
    effects = replica.step(LinksChanged(others))
    assert [message.view for message in kit.sent(ViewChange, effects)] == [1]


def test_leaders_that_ask_for_far_views_are_skipped():
    replica = kit.replica(0)
    kit.deliver(replica, kit.view_change(1, 10**9))
    effects = kit.pending(replica)
    assert [message.view for message in kit.sent(ViewChange, effects)] == [1]
