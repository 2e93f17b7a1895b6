"""B29: after sending a VIEW-CHANGE, a replica does not vote in the old view (R-VC-4)."""

from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


def test_no_prepare_and_no_commit_below_the_view_asked_for():
    replica, item = kit.replica(), kit.proposal()
    start = kit.timer(kit.pending(replica), TimerId.VIEW)
    kit.deliver(replica, kit.offer(item))
    kit.fire(replica, start)
    effects = list(kit.make_valid(replica, item))
    for kind in (Prepare, Commit):
        for sender in (0, 1, 2):
            effects += kit.deliver(replica, kit.vote(kind, item, sender))
    assert kit.sent(Prepare, effects) == kit.sent(Commit, effects) == []
