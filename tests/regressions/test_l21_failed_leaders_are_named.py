"""L21: a replica that leaves a view names its failed leader, longer each time (R-LEAD-4)."""

from lowu.consensus.inputs import TimerId
from lowu.consensus.leaders import ROUNDS_MAX
from lowu.consensus.messages import ViewChange
from lowu.consensus.suspects import ROUNDS_MIN
from tests.unit import consensus_kit as kit


def leave(replica, effects):
    """Let the view timer fire; return the named leaders and up to which height."""
    return kit.sent(ViewChange, kit.fire(replica, kit.timer(effects, TimerId.VIEW)))[-1].passed_over


def test_a_time_out_names_the_leader_of_the_lowest_height():
    replica = kit.replica(3)
    assert leave(replica, kit.pending(replica)) == ((1, ROUNDS_MIN * 4),)


def test_whoever_joins_names_it_too():
    """Most replicas join the first two: if only these named it, a quorum might not."""
    replica = kit.replica(3)
    kit.pending(replica)
    effects = [*kit.deliver(replica, kit.view_change(0)), *kit.deliver(replica, kit.view_change(2))]
    assert kit.sent(ViewChange, effects)[-1].passed_over == ((1, ROUNDS_MIN * 4),)


def test_nobody_names_itself():
    replica = kit.replica(1)
    assert leave(replica, kit.pending(replica)) == ()


def test_nobody_is_named_for_a_height_that_is_prepared():
    replica, item = kit.replica(3), kit.proposal()
    effects = [*kit.deliver(replica, kit.offer(item)), *kit.make_valid(replica, item)]
    for sender in (0, 1, 2):
        kit.deliver(replica, kit.vote(kit.Prepare, item, sender))
    assert leave(replica, effects) == ()


def test_each_failure_costs_twice_as_many_turns_up_to_a_cap():
    replica, rounds = kit.replica(3), []
    effects = kit.pending(replica)
    for view in range(4, 44, 4):  # node 1 leads height 1 in each of these views
        ((leader, until),) = leave(replica, effects)
        assert leader == 1
        rounds.append(until // 4)
        effects = kit.deliver(replica, kit.new_view(view))
    assert rounds == [4, 8, 16, 32, 64, 64, 64, 64, 64, 64]
    assert rounds[0] == ROUNDS_MIN and rounds[-1] == ROUNDS_MAX
