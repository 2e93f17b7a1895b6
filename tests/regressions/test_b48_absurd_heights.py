"""B48 (cometbft#5803): a peer that claims an absurd height holds up no replica's block sync.

tests/unit/node/core/test_sync.py tests this on the node's own sync; these tests cover consensus.
"""

from lowu.consensus.effects import RequestSync
from lowu.consensus.messages import Status
from lowu.consensus.types import HEIGHT_MAX
from tests.unit import consensus_kit as kit


def test_one_absurd_claim_is_no_reason_to_think_oneself_behind():
    """Proposing and view changes go on; more than f weight must claim it (R-LAG-1)."""
    replica = kit.replica()
    kit.deliver(replica, kit.signed(Status(0, HEIGHT_MAX, 0)))
    kit.pending(replica)
    assert replica.phase == "normal"
    for _ in range(100):
        kit.deliver(replica, kit.signed(Status(0, HEIGHT_MAX, 0)))
    assert replica.phase == "normal"
    assert replica.size() <= replica.size_max()


def test_each_height_is_asked_for_once():
    replica = kit.replica()
    effects = []
    for height in (7, 7, HEIGHT_MAX, HEIGHT_MAX, 9):
        effects += kit.deliver(replica, kit.signed(Status(0, height, 0)))
    assert kit.only(RequestSync, effects) == [RequestSync(7), RequestSync(HEIGHT_MAX)]
