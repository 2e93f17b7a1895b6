"""L02: barriers, and the validators that they name (R-BAR-1, R-EPO-1, R-EPO-2)."""

from dataclasses import replace

import pytest

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.effects import BuildProposal, VerifyProposal
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvariantViolation, UnknownEpoch
from lowu.consensus.inputs import BlockCommitted, ProposalExecuted, Synced
from lowu.consensus.messages import Prepare
from lowu.consensus.types import hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit

BARRIER = replace(kit.proposal(), is_barrier=True)
ABOVE = kit.proposal(2, kit.digest_of(BARRIER), b"b", 2, 6)
FIVE = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(5)))
THREE = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in (0, 1, 2)))


def test_nothing_is_voted_for_or_checked_above_it():
    replica = kit.replica()
    effects = kit.order(replica, BARRIER)
    effects += kit.deliver(replica, kit.offer(ABOVE))
    assert [e.proposal.height for e in kit.only(VerifyProposal, effects)] == [1]
    effects += kit.make_valid(replica, ABOVE)
    assert [vote.height for vote in kit.sent(Prepare, effects)] == [1]


def test_nothing_is_built_above_it():
    leader = kit.replica(2)
    assert kit.only(BuildProposal, kit.order(leader, BARRIER, senders=(0, 1, 3))) == []
    effects = kit.commit(kit.replica(2), BARRIER, senders=(0, 1, 3))
    assert [effect.height for effect in kit.only(BuildProposal, effects)] == [2]


def test_the_set_changes_above_the_barrier_and_views_start_anew():
    replica = kit.replica()
    kit.deliver(replica, kit.new_view(1))
    kit.commit(replica, replace(BARRIER, proposer=2), view=1, validators=FIVE)
    assert (replica.epoch.first_height, replica.view) == (2, 0)
    assert len(replica.validators) == 5 and replica.held_heights() == []
    with pytest.raises(Exception, match="another epoch"):
        kit.deliver(replica, kit.vote(Prepare, ABOVE, 1))


def test_a_removed_validator_observes():
    replica = kit.replica()
    kit.commit(replica, BARRIER, validators=THREE)
    assert replica.index is None and replica.phase == "observing"
    assert kit.pending(replica) == () and replica.step(kit.TimerFired(1, 1)) == ()
    assert kit.make_valid(replica, ABOVE) == ()
    replica.step(Synced(kit.committed(ABOVE), 6, kit.Epoch(3, FIVE)))
    assert replica.index == 3 and replica.phase == "normal"


def test_a_change_without_a_barrier_stops_the_node():
    replica, item = kit.replica(), kit.proposal()
    kit.order(replica, item)
    block_hash = hash_bytes(kit.digest_of(item))
    replica.step(ProposalExecuted(1, kit.digest_of(item), block_hash))
    for sender in (0, 1, 2):
        kit.deliver(replica, kit.checkpoint(item, sender))
    with pytest.raises(InvariantViolation, match="unannounced"):
        replica.step(BlockCommitted(1, block_hash, FIVE))


def test_what_may_be_of_a_later_epoch_costs_nobody_the_link():
    verifier = MessageVerifier(kit.DOMAIN, Epochs(kit.VALIDATORS), kit.GENESIS, kit.is_signed)
    later = replace(kit.vote(Prepare, ABOVE, 1), signature=b"of another epoch")
    with pytest.raises(UnknownEpoch):
        verifier.verify_message(later)
    verifier.epochs.on_commit(1, FIVE)
    assert verifier.epochs.at(1).validators == kit.VALIDATORS
    assert verifier.epochs.at(2).validators == FIVE
    with pytest.raises(InvariantViolation, match="must change"):
        verifier.epochs.on_commit(2, FIVE)


def test_votes_of_the_former_epoch_bind_nobody():
    """Such votes may be above a barrier, from views in which the barrier was not known."""
    replica = kit.replica(0)
    first, second = kit.chain(2)
    for item in (first, second):
        kit.deliver(replica, kit.offer(item))
        kit.make_valid(replica, item)
    changes = [kit.view_change(i, 1) for i in (1, 2, 3)]
    kit.deliver(replica, kit.new_view(1, changes))
    barrier = replace(BARRIER, proposer=2)
    kit.commit(replica, barrier, view=1, senders=(1, 2, 3), validators=FIVE)
    assert replica.epoch.first_height == 2 and replica._state.safety.votes == {}
