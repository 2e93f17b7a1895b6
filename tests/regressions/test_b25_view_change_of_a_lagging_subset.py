"""B25: a view opens although replicas have different heads, even if this one is behind."""

from lowu.consensus.effects import RequestSync
from lowu.consensus.messages import NewView
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()
AHEAD = [kit.view_change(i, 1, kit.committed(ITEM)) for i in (0, 1)]


def test_different_heads_make_one_new_view():
    """Node 3 leads height 2 in view 1, so it opens the view."""
    replica = kit.replica(3)
    effects = []
    for change in AHEAD:
        effects += kit.deliver(replica, change)
    (opened,) = kit.sent(NewView, effects)
    assert {change.stable.height for change in opened.view_changes} == {0, 1}


def test_a_view_that_starts_above_our_head_is_entered():
    replica = kit.replica(2)
    effects = kit.deliver(replica, kit.new_view(1, (*AHEAD, kit.view_change(3, 1))))
    assert replica.view == 1
    assert [effect.height for effect in kit.only(RequestSync, effects)] == [1]
