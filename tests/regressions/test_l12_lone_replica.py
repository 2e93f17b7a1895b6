"""L12: a replica that asks for a view alone waits there for the others (R-VC-4)."""

from lowu.consensus.inputs import TimerId
from tests.unit import consensus_kit as kit


def test_no_timer_runs_until_a_quorum_asks():
    replica = kit.replica(0)
    effects = kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW))
    started = [start.timer for start in kit.only(kit.StartTimer, effects)]
    assert TimerId.VIEW not in started and replica.to_view == 1
    effects = [
        *kit.deliver(replica, kit.view_change(1, 1)),
        *kit.deliver(replica, kit.view_change(3, 1)),
    ]
    assert kit.timer(effects, TimerId.VIEW).delay_ms == 4_500
