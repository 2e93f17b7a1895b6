"""B10: a proposal's time must be later than that of the one below it (R-PP-3)."""

import pytest

from lowu.consensus.messages import Prepare, ViewChange
from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("time_ms", [5, 4, 0])
def test_a_time_that_does_not_grow_is_refused(time_ms):
    replica = kit.replica(0)
    first = kit.proposal()
    kit.commit(replica, first, senders=(1, 2, 3))
    second = kit.proposal(2, kit.digest_of(first), b"b", 2, time_ms)
    effects = list(kit.deliver(replica, kit.offer(second)))
    effects += kit.make_valid(replica, second)
    assert kit.sent(Prepare, effects) == [] and len(kit.sent(ViewChange, effects)) == 1
