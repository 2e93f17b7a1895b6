"""L27: a restarted replica follows the leaders of its view, like all others (R-LEAD-3)."""

from lowu.consensus.effects import Persist
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit

FIRST, SECOND, THIRD = kit.chain(3)


def opened():
    """View 5, in which node 1 is passed over; it would otherwise lead heights 4 and 8."""
    changes = tuple(kit.view_change(i, 5, passed_over=[(1, 16)]) for i in (0, 2, 3))
    return kit.new_view(5, changes)


def test_it_knows_its_leaders_again():
    replica = kit.replica(3)
    effects = kit.deliver(replica, opened())
    records = [record for effect in kit.only(Persist, effects) for record in effect.records]
    back, _ = kit.recovered(3, records)
    assert dict(back.passed_over) == dict(replica.passed_over) == {1: 16}
    # Node 1 would lead height 4 of view 5; the replica accepts the node that leads instead.
    leader = kit.VALIDATORS.leader(4, 5, {1: 16})
    assert leader != 1
    item = kit.proposal(4, proposer=leader)
    assert kit.deliver(back, kit.offer(item, 5, sender=leader)) == kit.deliver(
        replica, kit.offer(item, 5, sender=leader)
    )


def test_an_epoch_passes_nobody_over():
    replica = kit.replica(0)
    kit.deliver(replica, opened())
    assert dict(replica.passed_over) == {1: 16}
    item = kit.proposal(proposer=2)
    barrier = kit.replace(item, is_barrier=True)
    five = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(5)))
    kit.commit(replica, barrier, view=5, senders=(1, 2, 3), validators=five)
    assert replica.epoch.first_height == 2
    assert dict(replica.passed_over) == {}
