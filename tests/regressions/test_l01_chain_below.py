"""L01: COMMIT needs the whole chain above the ordered head (R-COM-1, docs/adr/0003)."""

from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


def test_a_certificate_above_a_gap_waits():
    replica = kit.replica()
    first, second = kit.chain(2)
    for item in (first, second):
        kit.deliver(replica, kit.offer(item))
        kit.make_valid(replica, item)
    effects = []
    for sender in (0, 1, 2):
        effects += kit.deliver(replica, kit.vote(Prepare, second, sender))
    assert kit.sent(Commit, effects) == []
    for sender in (0, 1, 2):
        effects += kit.deliver(replica, kit.vote(Prepare, first, sender))
    assert [vote.height for vote in kit.sent(Commit, effects)] == [1, 2]
