"""Ways in which one faulty validator, or a late answer, once stopped an honest validator."""

from dataclasses import replace

import pytest

from lowu.consensus import effects as fx
from lowu.consensus import inputs as ev
from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import compute_digest
from lowu.consensus.epochs import Epoch, Epochs
from lowu.consensus.errors import InvalidMessage, UnknownEpoch
from lowu.consensus.messages import Commit, NewView, Prepare, PrePrepare, Status, ViewChange
from lowu.consensus.records import NewViewRecord, ViewRecord, VoteKind, VoteRecord
from lowu.consensus.replica import Replica
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.validators import Validator, ValidatorSet
from lowu.consensus.window import compute_window_max
from tests.unit import consensus_kit as kit

THREE = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(3)))

ITEM = kit.proposal()
DIGEST = compute_digest(kit.DOMAIN, ITEM)
CERTIFIED = [
    kit.view_change(i, 1, certificates=[kit.prepared(ITEM)] if i == 0 else []) for i in (0, 1, 2)
]


make = kit.replica


deliver = kit.deliver


only = kit.only


def test_bodies_are_checked_only_on_top_of_known_proposals():
    """Otherwise a PRE-PREPARE that overtakes the one below would be judged without it."""
    replica = make()
    above = kit.proposal(2, DIGEST, b"b", 2, 6)
    assert only(fx.VerifyProposal, deliver(replica, kit.signed(PrePrepare(0, above, (), 2)))) == []
    effects = deliver(replica, kit.signed(PrePrepare(0, ITEM, (b"h" * 32,), 1)))
    wanted = only(fx.VerifyProposal, effects)
    assert [effect.proposal.height for effect in wanted] == [1, 2]
    assert wanted[1].ancestors == (DIGEST,)


def test_reproposals_survive_a_restart():
    new_view = kit.new_view(1, CERTIFIED)
    replica, effects = kit.recovered(3, [ViewRecord(1, 1, 1), NewViewRecord(1, new_view)])
    (wanted,) = only(fx.VerifyProposal, effects)
    assert wanted.proposal == ITEM and wanted.is_vouched
    effects = replica.step(ev.ProposalVerified(1, DIGEST, ev.ProposalVerdict.VALID))
    sent = [effect.message for effect in only(fx.Broadcast, effects)]
    assert [message.digest for message in sent if isinstance(message, Prepare)] == [DIGEST]


def test_a_late_time_out_leaves_no_view():
    replica = make()
    (old,) = [e for e in replica.step(ev.PendingChanged(True)) if e.timer is ev.TimerId.VIEW]
    replica.step(ev.PendingChanged(False))
    assert replica.step(ev.TimerFired(old.timer, old.number)) == ()
    (new,) = [
        effect
        for effect in only(fx.StartTimer, replica.step(ev.PendingChanged(True)))
        if effect.timer is ev.TimerId.VIEW
    ]
    assert replica.step(ev.TimerFired(old.timer, old.number)) == ()
    assert replica.to_view == 0
    replica.step(ev.TimerFired(new.timer, new.number))
    assert replica.to_view == 1


def test_an_invalid_verdict_on_what_is_ordered_leaves_no_view():
    replica = make()
    deliver(replica, kit.signed(PrePrepare(0, ITEM, (b"h" * 32,), 1)))
    for sender in (0, 1, 2):
        deliver(replica, kit.signed(Commit(0, 1, DIGEST, sender)))
    replica.step(ev.ProposalVerified(1, DIGEST, ev.ProposalVerdict.INVALID))
    assert replica.to_view == 0


def test_one_false_claim_does_not_keep_an_idle_replica_busy():
    replica = make()
    effects = deliver(replica, kit.signed(Status(0, 2**40, 1)))
    assert only(fx.RequestSync, effects)
    timers = {effect.timer: effect.number for effect in only(fx.StartTimer, effects)}
    for _ in range(3):
        effects = replica.step(ev.TimerFired(ev.TimerId.RESEND, timers[ev.TimerId.RESEND]))
        assert only(fx.Broadcast, effects) == [] and only(fx.RequestSync, effects) == []
        timers = {effect.timer: effect.number for effect in only(fx.StartTimer, effects)}
        if not timers:
            return
    raise AssertionError("still polling")


def test_a_refused_message_makes_no_slot():
    replica = make()
    deliver(replica, kit.new_view(1, CERTIFIED))
    before = replica.size()
    other = kit.proposal(1, text=b"other", proposer=2)
    with pytest.raises(InvalidMessage, match="NEW-VIEW has fixed"):
        deliver(replica, kit.signed(PrePrepare(1, other, (), 2)))
    assert replica.size() == before


def test_the_window_of_an_epoch_is_one_whose_new_view_fits_a_message():
    assert compute_window_max(4) > 1_000
    assert compute_window_max(31) >= 50
    assert make(window=10**6)._state.log.window == compute_window_max(4)


def test_a_validator_that_was_removed_and_came_back_asks_again():
    """A timer from before its removal counted as running for ever."""
    replica = make()
    barrier = replace(ITEM, is_barrier=True)
    effects = kit.commit(replica, barrier, validators=THREE)
    assert replica.index is None
    for start in only(fx.StartTimer, effects):
        replica.step(ev.TimerFired(start.timer, start.number))
    above = kit.proposal(2, kit.digest_of(barrier), b"b", 2, 6)
    replica.step(ev.Synced(kit.committed(above), 6, Epoch(3, kit.VALIDATORS)))
    started = only(fx.StartTimer, kit.pending(replica))
    assert {start.timer for start in started} == {ev.TimerId.VIEW, ev.TimerId.RESEND}


def test_a_larger_set_gets_a_smaller_window():
    sixty = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(60)))
    replica = make(window=50)
    kit.commit(replica, replace(ITEM, is_barrier=True), validators=sixty)
    assert replica._state.log.window == compute_window_max(60) < 50


def test_a_window_that_would_forget_votes_is_refused():
    """A smaller window than before once dropped certificates that VIEW-CHANGEs must carry."""
    high = kit.proposal(6, b"p" * 32)
    record = VoteRecord(1, VoteKind.COMMIT, 6, 0, kit.digest_of(high), b"\0" * 32)
    with pytest.raises(ValueError, match="start with at least 6"):
        kit.recovered(3, [record], window=5)
    assert kit.recovered(3, [record], window=6)[0].held_heights() == [6]


def test_blocks_fetched_in_two_pieces_carry_the_epoch_whichever_comes_first():
    replica = make()
    barrier = replace(ITEM, is_barrier=True)
    above = kit.proposal(2, kit.digest_of(barrier), b"b", 2, 6)
    replica.step(ev.Synced(kit.committed(above), 6, Epoch(2, THREE)))
    replica.step(ev.Synced(kit.committed(barrier), 5, Epoch(2, THREE)))
    assert replica.epoch.first_height == 2 and replica.stable.height == 2


def test_messages_of_before_a_change_cost_nobody_the_link():
    epochs = Epochs(kit.VALIDATORS)
    verifier = MessageVerifier(kit.DOMAIN, epochs, kit.GENESIS, kit.is_signed)
    old = kit.vote(Prepare, kit.proposal(2, DIGEST), 1)
    epochs.on_commit(1, ValidatorSet(tuple(Validator(kit.node_id(i)) for i in (0, 2, 3, 4))))
    for message in (old, kit.vote(Prepare, kit.proposal(2, DIGEST), 3)):
        with pytest.raises(UnknownEpoch):
            verifier.verify_link(kit.node_id(message.sender), message)
        with pytest.raises(UnknownEpoch, match="before the validators changed"):
            verifier.verify_message(message)
    with pytest.raises(InvalidMessage, match="bad signature"):
        verifier.verify_message(replace(old, signature=b"forged"))


def judged_before_and_after(message, *sets):
    """Check that a message is valid, but of unknown epoch after validator changes at 1, 2, …"""
    epochs = Epochs(kit.VALIDATORS)
    verifier = MessageVerifier(kit.DOMAIN, epochs, kit.GENESIS, kit.is_signed)
    assert verifier.verify_message(message).message == message
    for height, validators in enumerate(sets, start=1):
        epochs.on_commit(height, validators)
    with pytest.raises(UnknownEpoch, match="before the validators changed"):
        verifier.verify_message(message)
    with pytest.raises(InvalidMessage):
        verifier.verify_message(replace(message, signature=b"forged"))
    return verifier


def test_a_new_view_of_before_a_change_costs_nobody_the_link():
    """The sender had block 1 certified, but did not know yet that it names other validators."""
    changes = [kit.view_change(0, 1, kit.committed(ITEM)), *map(kit.view_change, (1, 2), (1, 1))]
    message = kit.new_view(1, changes, sender=3)
    judged_before_and_after(message, THREE).verify_link(kit.node_id(0), message)


def test_certificates_above_a_change_were_true_all_the_same():
    """Seed 18030 of 4 nodes: heights prepared above a proposal that gave way to a barrier."""
    above = kit.proposal(2, DIGEST, b"b", 2, 6)
    changes = [kit.view_change(i, 1, certificates=[kit.prepared(above)]) for i in (0, 1, 3)]
    message = kit.new_view(1, changes)
    epochs = Epochs(kit.VALIDATORS)
    epochs.on_commit(1, THREE)
    verifier = MessageVerifier(kit.DOMAIN, epochs, kit.GENESIS, kit.is_signed)
    assert verifier.verify_message(message).message == message


def test_an_honest_message_may_be_some_changes_behind():
    two, five = (
        ValidatorSet(tuple(Validator(kit.node_id(i)) for i in members))
        for members in ((0, 1), (0, 1, 2, 4, 5))
    )
    message = kit.vote(Prepare, kit.proposal(4, DIGEST), 3)
    sets = (THREE, two, five, kit.VALIDATORS)
    verifier = judged_before_and_after(message, *sets[:3])
    with pytest.raises(UnknownEpoch, match="than the link's"):
        verifier.verify_link(kit.node_id(3), message)
    with pytest.raises(InvalidMessage, match="than the link's"):
        verifier.verify_link(kit.node_id(3), replace(message, sender=2))
    behind = Epochs(kit.VALIDATORS)
    for height, validators in enumerate((*sets, THREE), start=1):
        behind.on_commit(height, validators)
    assert [epoch.first_height for epoch in behind.before(behind.latest)] == [5, 4, 3, 2]
    assert behind.before(behind.at(1)) == []


def test_a_height_fixed_by_the_view_does_not_need_its_leader():
    """Node 3 opens view 1 above block 1, which it lacks, and must not leave it again."""
    replica = make(3)
    others = frozenset(kit.node_id(i) for i in (0, 1))
    replica.step(ev.LinksChanged(others))
    changes = [kit.view_change(i, 1, kit.committed(ITEM)) for i in (0, 1)]
    effects = [*deliver(replica, changes[0]), *deliver(replica, changes[1])]
    effects += kit.pending(replica)
    assert replica.view == 1 and replica.to_view == 1
    assert len(kit.sent(NewView, effects)) == 1


def test_a_proposal_on_another_predecessor_is_bad_only_if_ours_is_final():
    replica = make(3)
    ours, theirs = kit.proposal(text=b"ours"), ITEM
    deliver(replica, kit.offer(ours))
    kit.make_valid(replica, ours)
    above = kit.proposal(2, kit.digest_of(theirs), b"b", 2, 6)
    deliver(replica, kit.offer(above))
    assert kit.sent(ViewChange, kit.make_valid(replica, above)) == []
    assert replica.to_view == 0


def test_a_second_new_view_tells_what_is_final():
    """One view may have two NEW-VIEWs; a replica that took one needs what the other proves."""
    replica = make(3)
    certified = [kit.view_change(i, 1, certificates=[kit.prepared(ITEM)]) for i in (0, 1, 2)]
    deliver(replica, kit.new_view(1, certified))
    kit.make_valid(replica, ITEM)
    higher = [kit.view_change(0, 1, kit.committed(ITEM)), *certified[1:]]
    new_view = kit.signed(NewView(1, tuple(higher), 3))
    other = make(0)
    deliver(other, kit.new_view(1, certified))
    kit.make_valid(other, ITEM)
    effects = deliver(other, new_view)
    assert [effect.proposal for effect in only(fx.ExecuteProposal, effects)] == [ITEM]
    assert deliver(other, kit.new_view(1, certified)) is not None and other.view == 1


def test_nothing_is_executed_above_a_barrier_in_flight():
    barrier = replace(ITEM, is_barrier=True)
    above = kit.proposal(2, kit.digest_of(barrier), b"b", 2, 6)
    changes = [kit.view_change(0, 1, kit.committed(above))]
    changes += [
        kit.view_change(i, 1, certificates=[kit.prepared(barrier), kit.prepared(above)])
        for i in (1, 2)
    ]
    replica = make(3)
    effects = deliver(replica, kit.new_view(1, changes))
    for item in (barrier, above):
        effects += kit.make_valid(replica, item)
    result = ev.ProposalExecuted(1, kit.digest_of(barrier), b"b" * 32)
    effects += replica.step(result)
    assert [effect.proposal.height for effect in only(fx.ExecuteProposal, effects)] == [1]


def test_a_list_longer_than_a_block_is_refused_before_it_is_kept():
    config = ReplicaConfig(kit.DOMAIN, kit.node_id(3), kit.GENESIS, tx_hashes_max=2)
    replica = Replica(config, lambda digest: kit.sign(3, digest), kit.EPOCH)
    with pytest.raises(InvalidMessage, match="3 transactions"):
        deliver(replica, kit.offer(ITEM, hashes=(b"h" * 32,) * 3))
    assert replica.held_heights() == []
