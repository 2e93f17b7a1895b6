"""A replica's notes of leaders that failed it, and the views that it skips (R-LEAD-4)."""

from lowu.consensus.epochs import Epoch
from lowu.consensus.inputs import LinksChanged, TimerId
from lowu.consensus.messages import ViewChange
from lowu.consensus.replica import Replica
from lowu.consensus.state import Failure, ReplicaConfig
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit

SEVEN = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(7)))


def of_seven(index=0):
    config = ReplicaConfig(kit.DOMAIN, kit.node_id(index), kit.GENESIS)
    return Replica(config, lambda digest: kit.sign(index, digest), Epoch(1, SEVEN))


def linked(*indices):
    return LinksChanged(frozenset(kit.node_id(index) for index in indices))


def test_a_stable_block_takes_one_failure_back():
    replica = kit.replica(0)
    failures = replica._state.failures
    failures.update({1: Failure(2, 16), 2: Failure(1, 16), 3: Failure(1, 2)})
    for item in kit.chain(3):
        kit.commit(replica, item)
    assert failures == {1: Failure(1, 16), 2: Failure(1, 16)}


def test_views_of_leaders_without_a_link_are_skipped_and_these_are_named():
    replica = of_seven()
    kit.pending(replica)
    (change,) = kit.sent(ViewChange, replica.step(linked(3, 4, 5, 6)))
    assert change.view == 2
    assert change.passed_over == ((1, 28), (2, 28))


def test_views_of_suspects_are_not_skipped():
    """Replicas may have noted different failures, and would ask for different views."""
    replica = of_seven()
    replica._state.failures[2] = Failure(1, 20)
    kit.pending(replica)
    (change,) = kit.sent(ViewChange, replica.step(linked(2, 3, 4, 5, 6)))
    assert change.view == 1
    assert change.passed_over == ((1, 28), (2, 20))


def test_a_time_out_skips_openers_without_a_link_only_out_of_a_working_view():
    """All running replicas see that such an opener is gone, so none of them may wait for it.

    After a failed attempt a replica asks for the very next view, or replicas might never meet.
    """
    replica = kit.replica(0)
    replica.step(linked(1, 3))
    effects = kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW))
    assert replica._state.validators.leader(1, 1) == 2
    assert kit.sent(ViewChange, effects)[0].view == 2
    for sender in (1, 3):
        effects = [*effects, *kit.deliver(replica, kit.view_change(sender, 2))]
    (change,) = kit.sent(ViewChange, kit.fire(replica, kit.timer(effects, TimerId.VIEW)))
    assert change.view == 3


def test_who_could_have_opened_a_view_and_did_not_is_named():
    replica = kit.replica(0)
    effects = list(kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW)))
    for sender in (1, 3):
        effects += kit.deliver(replica, kit.view_change(sender, 1))
    (change,) = kit.sent(ViewChange, kit.fire(replica, kit.timer(effects, TimerId.VIEW)))
    assert change.passed_over == ((1, 16), (2, 16))


def test_nobody_is_named_for_a_view_that_too_few_asked_for():
    """Two asked for view 1 and one for view 2, so the opener of view 1 could not open it."""
    replica = kit.replica(0)
    effects = list(kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW)))
    effects += kit.deliver(replica, kit.view_change(1, 1))
    effects += kit.deliver(replica, kit.view_change(3, 2))
    (change,) = kit.sent(ViewChange, kit.fire(replica, kit.timer(effects, TimerId.VIEW)))
    assert change.passed_over == ((1, 16),)


def test_a_replica_that_lags_blames_nobody():
    replica = kit.replica(0)
    for sender in (1, 2):
        kit.deliver(replica, kit.signed(kit.Status(0, 9, sender)))
    effects = []
    for sender in (1, 2):
        effects += kit.deliver(replica, kit.view_change(sender, 1))
    assert kit.sent(ViewChange, effects)[0].passed_over == ()
