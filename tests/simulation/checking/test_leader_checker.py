"""Histories that break P25: leaders passed over wrongly, or not named when they failed."""

from dataclasses import replace

import pytest

from lowu.consensus.effects import Broadcast
from lowu.consensus.epochs import Epochs
from lowu.consensus.inputs import TimerId
from lowu.consensus.leaders import select_passed_over
from lowu.consensus.messages import ViewChange
from lowu.consensus.records import NewViewRecord
from lowu.consensus.simulation.checking.leadership import (
    LeaderChecker,
    check_names,
    work_out_leader,
    work_out_passed_over,
)
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.node import SimNode
from tests.unit import consensus_kit as kit

NAMES = [(1, 16)]


def leaving():
    """Node 3 after a time-out in view 0, where node 1 offered nothing for height 1."""
    node = SimNode(3, kit.node_id(3), Epochs(kit.VALIDATORS), replica=kit.replica(3))
    return node, kit.fire(node.replica, kit.timer(kit.pending(node.replica), TimerId.VIEW))


def entered():
    """Node 3 in view 1, in which node 1 is passed over up to height 16."""
    node = SimNode(3, kit.node_id(3), Epochs(kit.VALIDATORS), replica=kit.replica(3))
    message = kit.new_view(1, [kit.view_change(i, 1, passed_over=NAMES) for i in (0, 1, 2)])
    kit.deliver(node.replica, message)
    node.records[b"new-view"] = NewViewRecord(1, message)
    return node


def altered(effects, **changes):
    return tuple(
        Broadcast(replace(effect.message, **changes))
        if isinstance(effect, Broadcast) and isinstance(effect.message, ViewChange)
        else effect
        for effect in effects
    )


def test_whoever_leaves_names_the_leader():
    node, effects = leaving()
    LeaderChecker().on_step(node, effects)
    with pytest.raises(Violation, match=r"P25 node 3 leaves view 0, .* names \[2\] instead of 1"):
        LeaderChecker().on_step(node, altered(effects, passed_over=((2, 16),)))


def test_nobody_is_named_for_what_was_offered():
    node, effects = leaving()
    checker = LeaderChecker()
    checker.on_offer(1, 0, 1)
    checker.on_step(node, altered(effects, passed_over=()))


def test_a_replica_goes_by_its_new_view():
    node, checker = entered(), LeaderChecker()
    checker._named[1, 1] = 16
    checker.on_step(node, ())
    node.replica._state.passed_over = {}
    with pytest.raises(Violation, match=r"P25 node 3 passes over \{\} in view 1, not \{1: 16\}"):
        checker.on_step(node, ())


def test_who_leads_instead_is_not_refused():
    node = entered()
    leader = work_out_leader(kit.VALIDATORS, 4, 1, {1: 16})
    reason = "PRE-PREPARE for height 4 not from its leader"
    for sender in range(4):
        offer = kit.offer(kit.proposal(4, proposer=sender), 1, sender=sender)
        if sender != leader:
            LeaderChecker().on_refused(node, node.replica, kit.verified(offer), reason)
            continue
        with pytest.raises(Violation, match="P25 node 3 refuses the leader of 4"):
            LeaderChecker().on_refused(node, node.replica, kit.verified(offer), reason)
        LeaderChecker().on_refused(node, node.replica, kit.verified(offer), "too high")


def test_somebody_honest_has_asked_for_it():
    with pytest.raises(Violation, match="P25 validator 1 is passed over up to 16, as no honest"):
        LeaderChecker().on_step(entered(), ())


@pytest.mark.parametrize("names", [[(1, 4), (1, 4)], [(9, 4)], [(1, 0)], [(1, 257)]])
def test_names_that_are_believed_are_sound(names):
    check_names(kit.view_change(0, passed_over=[(1, 256)]), kit.VALIDATORS)
    with pytest.raises(Violation, match="P25 believed of validator 0"):
        check_names(kit.view_change(0, passed_over=names), kit.VALIDATORS)


def test_it_works_out_what_the_product_does():
    changes = [
        kit.view_change(0, passed_over=[(1, 4), (2, 9)]),
        kit.view_change(1, passed_over=[(2, 7), (3, 8)]),
        kit.view_change(3, passed_over=[(1, 5), (3, 8)]),
    ]
    for opener in range(4):
        passed = select_passed_over(kit.VALIDATORS, changes, opener)
        assert work_out_passed_over(kit.VALIDATORS, changes, opener) == passed
        for height in range(1, 30):
            for view in range(9):
                leader = kit.VALIDATORS.leader(height, view, passed)
                assert work_out_leader(kit.VALIDATORS, height, view, passed) == leader
