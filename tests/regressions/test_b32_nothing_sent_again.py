"""B32: votes and proofs are sent again to whoever lacks them (R-CU-1, R-CU-2)."""

from consensus.messages import Commit, NewView, Prepare, Status, ViewChange
from tests.unit import consensus_kit as kit


def test_own_votes_of_every_phase():
    replica, item = kit.replica(), kit.proposal()
    kit.order(replica, item)
    answers = kit.deliver(replica, kit.signed(Status(0, 0, 1)))
    assert len(kit.sent(Prepare, answers)) == len(kit.sent(Commit, answers)) == 1


def test_the_proof_of_the_view_and_the_own_view_change():
    replica = kit.replica(0)
    kit.deliver(replica, kit.new_view(1))
    assert len(kit.sent(NewView, kit.deliver(replica, kit.signed(Status(0, 0, 1))))) == 1
    for sender in (1, 2):
        kit.deliver(replica, kit.view_change(sender, 2))
    assert replica.to_view == 2
    answers = kit.deliver(replica, kit.signed(Status(1, 0, 3)))
    assert [message.view for message in kit.sent(ViewChange, answers)] == [2]
