"""B38: waiting transactions run the view timer, even if the leader proposes nothing."""

from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import ViewChange
from tests.unit import consensus_kit as kit


def test_a_leader_that_does_not_propose_is_left():
    replica = kit.replica()
    start = kit.timer(kit.pending(replica), TimerId.VIEW)
    assert start.delay_ms == 3_000
    assert len(kit.sent(ViewChange, kit.fire(replica, start))) == 1


def test_leaders_rotate_with_the_height():
    leaders = {kit.VALIDATORS.leader(height, 0) for height in range(1, 5)}
    assert leaders == {0, 1, 2, 3}, "a leader that leaves a client out has one height in four"
