"""L04: a CHECKPOINT of a block executed ahead does not claim that it is stable (R-LAG-1)."""

from lowu.consensus.messages import Checkpoint, Status
from tests.unit import consensus_kit as kit

DIGEST = kit.digest_of(kit.proposal())


def test_executing_ahead_does_not_look_like_blocks_to_fetch():
    replica = kit.replica()
    kit.pending(replica)
    kit.deliver(replica, kit.signed(Status(0, 2**40, 1)))
    kit.deliver(replica, kit.signed(Checkpoint(3, DIGEST, DIGEST, 0)))
    assert replica.phase == "normal"
    kit.deliver(replica, kit.signed(Status(0, 2, 0)))
    assert replica.phase == "lagging"
