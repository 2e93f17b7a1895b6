"""B32: votes and proofs are sent again to replicas that lack them (R-CU-1, R-CU-2, R-CU-4)."""

from lowu.consensus.effects import Send
from lowu.consensus.inputs import LinksChanged, TimerId
from lowu.consensus.messages import Commit, NewView, Prepare, Status, ViewChange
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


def links(*indices, **options):
    return LinksChanged(frozenset(map(kit.node_id, indices)), **options)


def asked(effects):
    return [item.to for item in kit.only(Send, effects) if isinstance(item.message, Status)]


def test_who_was_not_linked_before_is_asked_at_once():
    """A returning replica waited up to two resend periods for the view, others for its turn."""
    replica = kit.replica()
    effects = replica.step(links(0, is_linking_up=True))
    assert asked(effects) == [0]
    resend = kit.timer(effects, TimerId.RESEND)
    assert asked(replica.step(links(0, 1, 2))) == [1, 2]
    assert asked(replica.step(links(0, 1, 2))) == []
    assert asked(replica.step(links(0, 2))) == []
    kit.fire(replica, resend)
    assert asked(replica.step(links(0, 1, 2, 3))) == [1]


def test_who_is_not_reached_yet_after_the_start_is_not_gone():
    replica = kit.replica()
    kit.pending(replica)  # the leader of height 1 is validator 1
    assert kit.sent(ViewChange, replica.step(links(0, 2, is_linking_up=True))) == []
    assert len(kit.sent(ViewChange, replica.step(links(0, 2)))) == 1


def test_one_that_comes_back_is_answered_whatever_it_was_told_before():
    replica = kit.replica(0)
    resend = kit.timer(replica.step(links(1, 2, 3)), TimerId.RESEND)
    kit.deliver(replica, kit.new_view(1))
    kit.fire(replica, resend)
    ask = kit.signed(Status(0, 0, 3))
    assert len(kit.sent(NewView, kit.deliver(replica, ask))) == 1
    assert kit.sent(NewView, kit.deliver(replica, ask)) == []
    replica.step(links(1, 2))
    replica.step(links(1, 2, 3))
    assert len(kit.sent(NewView, kit.deliver(replica, ask))) == 1


def test_a_link_that_comes_and_goes_is_asked_once_a_period():
    replica = kit.replica(0)
    effects = replica.step(links(1))
    resend = kit.timer(effects, TimerId.RESEND)
    for _ in range(5):
        replica.step(links())
        assert asked(replica.step(links(1))) == []
    kit.fire(replica, resend)
    replica.step(links())
    assert asked(replica.step(links(1))) == [1]
