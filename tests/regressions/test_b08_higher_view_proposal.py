"""B08: a PRE-PREPARE of a later view waits for that view (R-PP-2)."""

from lowu.consensus.messages import Prepare
from tests.unit import consensus_kit as kit


def test_it_is_parked_and_taken_up_when_the_view_opens():
    replica = kit.replica()
    item = kit.proposal(proposer=2)
    effects = list(kit.deliver(replica, kit.offer(item, view=1)))
    effects += kit.make_valid(replica, item)
    assert kit.sent(Prepare, effects) == []
    kit.deliver(replica, kit.new_view(1))
    (vote,) = kit.sent(Prepare, kit.make_valid(replica, item))
    assert (vote.view, vote.digest) == (1, kit.digest_of(item))
