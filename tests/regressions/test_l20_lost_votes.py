"""L20, F22: a validator that lost its disk abstains until its old votes are settled (R-WIPE-1)."""

from dataclasses import replace

import pytest

from lowu.consensus.catch_up import is_witnessed
from lowu.consensus.effects import Persist
from lowu.consensus.epochs import Epoch
from lowu.consensus.errors import InvariantViolation
from lowu.consensus.inputs import CaughtUp, Synced
from lowu.consensus.messages import PrePrepare, Status
from lowu.consensus.records import ViewRecord, VoteKind
from lowu.consensus.replica import Replica
from lowu.consensus.safety import Safety
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.types import hash_bytes
from tests.unit import consensus_kit as kit

WINDOW = 4


def forgetful(index=3, epoch=kit.EPOCH):
    config = ReplicaConfig(kit.DOMAIN, kit.node_id(index), kit.GENESIS, window=WINDOW)
    replica, effects = Replica.recover(
        config, lambda d: kit.sign(index, d), epoch, [], kit.GENESIS, 0, is_memory_lost=True
    )
    assert effects == ()
    return replica


def synced(height, epoch=kit.EPOCH):
    return Synced(kit.committed(kit.proposal(height)), height, epoch)


def propose(replica, height, previous, view=0):
    leader = kit.VALIDATORS.leader(height, view)
    item = kit.proposal(height, previous, proposer=leader, time_ms=10**6)
    digest = kit.digest_of(item)
    message = kit.signed(PrePrepare(view, item, (hash_bytes(b"a"),), leader))
    return kit.deliver(replica, message), digest


def test_it_takes_part_in_nothing():
    replica = forgetful()
    assert replica.phase == "abstaining" and replica.index is None
    effects, _ = propose(replica, 1, kit.GENESIS.digest)
    assert effects == () and kit.pending(replica) == ()
    for index in (0, 1, 2):
        assert kit.deliver(replica, kit.view_change(index)) == ()


def test_it_votes_again_two_windows_above_what_the_others_had():
    replica = forgetful()
    replica.step(synced(5))
    assert replica.step(CaughtUp(5)) == ()
    assert replica.step(synced(5 + 2 * WINDOW - 1)) == ()
    assert replica.phase == "abstaining"
    effects = replica.step(synced(5 + 2 * WINDOW))
    assert replica.phase == "normal" and replica.index == 3
    # First the record for a later restart, then the question where the others are.
    assert effects[0] == Persist((ViewRecord(1, 0, 0),))
    assert kit.sent(Status, effects) and kit.sent(Status, effects)[0].stable_height == 13


def test_only_the_first_answer_counts():
    """Later answers would move the goal for ever."""
    replica = forgetful()
    replica.step(CaughtUp(0))
    replica.step(CaughtUp(100))
    replica.step(synced(2 * WINDOW))
    assert replica.phase == "normal"


def test_an_answer_of_a_former_group_does_not_count():
    """Members of it that lag had signed nothing of what was committed after the change."""
    replica = forgetful()
    replica.step(synced(5))
    replica.step(CaughtUp(5))
    epoch = Epoch(9, kit.VALIDATORS)
    replica.step(synced(8, epoch))  # the barrier
    replica.step(CaughtUp(7))  # was on its way
    replica.step(synced(100, epoch))
    assert replica.phase == "abstaining"
    replica.step(CaughtUp(100))
    replica.step(synced(100 + 2 * WINDOW - 1, epoch))
    assert replica.phase == "abstaining"
    replica.step(synced(100 + 2 * WINDOW, epoch))
    assert replica.phase == "normal"


@pytest.mark.parametrize(("count", "told"), [(0, False), (1, False), (2, True)])
def test_a_quorum_with_itself_and_somebody_honest_without_are_asked(count, told):
    others = [item.node_id for item in kit.VALIDATORS.validators[:count]]
    own = kit.node_id(3)
    assert is_witnessed(kit.VALIDATORS, [*others, own, b"a stranger"], own) is told


def test_who_is_a_quorum_by_itself_is_not_its_own_witness():
    """A group of one that had grown: wiped, it took itself for caught up at block 0, of 1,000."""
    alone = replace(kit.VALIDATORS, validators=kit.VALIDATORS.validators[3:])
    assert not is_witnessed(alone, [kit.node_id(3), kit.node_id(0)], kit.node_id(3))


def test_who_is_no_validator_needs_a_quorum_of_others():
    others = [item.node_id for item in kit.VALIDATORS.validators]
    assert not is_witnessed(kit.VALIDATORS, others[:2], b"an observer")
    assert is_witnessed(kit.VALIDATORS, others[:3], b"an observer")


def test_blocks_alone_do_not_end_it():
    replica = forgetful()
    replica.step(synced(1_000))
    assert replica.phase == "abstaining"


def test_a_change_of_the_validators_does_not_end_it():
    """It also leaves no record that would tell the next start that nothing was lost."""
    replica = forgetful()
    effects = replica.step(synced(3, Epoch(4, replace(kit.VALIDATORS, leader_period=2))))
    assert kit.only(Persist, effects) == [] and replica.index is None
    assert replica.phase == "abstaining"


def test_a_node_that_was_removed_meanwhile_only_observes():
    others = replace(kit.VALIDATORS, validators=kit.VALIDATORS.validators[:3])
    replica = forgetful()
    replica.step(CaughtUp(0))
    epoch = Epoch(2 * WINDOW + 1, others)
    assert replica.step(synced(2 * WINDOW, epoch)) == ()
    replica.step(CaughtUp(2 * WINDOW))
    assert replica.step(synced(4 * WINDOW, epoch)) == ()
    assert replica.phase == "observing"


def test_who_abstains_not_is_not_concerned():
    replica = kit.replica(3)
    assert replica.step(CaughtUp(7)) == () and replica.phase == "normal"


def test_votes_that_are_known_are_not_lost():
    safety = Safety(kit.DOMAIN, 3, lambda digest: b"")
    safety.sign_prepare(1, hash_bytes(b"d"))
    assert safety.has_voted(VoteKind.PREPARE, 1, 0)
    with pytest.raises(InvariantViolation, match="P05"):
        safety.begin(3)
