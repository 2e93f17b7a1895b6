"""Cases of the replica that no story covers: late, repeated, refused and restored inputs."""

from dataclasses import replace

import pytest

from lowu.consensus import effects as fx
from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import (
    decode_prepared_certificate,
    encode_prepared_certificate,
    signing_digest,
)
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvalidMessage, InvariantViolation
from lowu.consensus.inputs import (
    BlockCommitted,
    LinksChanged,
    PendingChanged,
    ProposalExecuted,
    ProposalVerdict,
    ProposalVerified,
    Synced,
    TimerFired,
    TimerId,
)
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    Evidence,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from lowu.consensus.records import (
    EvidenceRecord,
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    ViewRecord,
    VoteKind,
    VoteRecord,
    decode_record,
    encode_record,
)
from lowu.consensus.types import ZERO_HASH, hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit

FIRST, SECOND, THIRD = kit.chain(3)
EVERY_EVENT = [
    PendingChanged(True),
    LinksChanged(frozenset()),
    TimerFired(TimerId.VIEW, 1),
    ProposalVerified(1, b"d", ProposalVerdict.VALID),
    ProposalExecuted(1, b"d", b"b"),
    BlockCommitted(1, b"b"),
]


# --- late and unasked answers ---------------------------------------------------------------


@pytest.mark.parametrize("event", EVERY_EVENT[2:], ids=lambda event: type(event).__name__)
def test_answers_that_nobody_waits_for_do_nothing(event):
    replica = kit.replica()
    assert replica.step(event) == () and replica.held_heights() == []


def test_a_second_verdict_on_a_valid_proposal_does_nothing():
    replica = kit.replica()
    kit.deliver(replica, kit.offer(FIRST))
    kit.make_valid(replica, FIRST)
    event = ProposalVerified(1, kit.digest_of(FIRST), ProposalVerdict.INVALID)
    assert kit.sent(ViewChange, replica.step(event)) == []


def test_an_execution_that_sync_has_overtaken_is_dropped():
    replica = kit.replica(0)
    kit.order(replica, FIRST, senders=(1, 2, 3))
    replica._state.log.slots.clear()
    late = ProposalExecuted(1, kit.digest_of(FIRST), b"b" * 32)
    assert kit.sent(Checkpoint, replica.step(late)) == []


def test_a_halted_replica_only_follows():
    replica = kit.replica()
    kit.order(replica, FIRST)
    replica.step(ProposalExecuted(1, kit.digest_of(FIRST), b"x" * 32))
    for sender in (0, 1, 2):
        kit.deliver(replica, kit.checkpoint(FIRST, sender))
    assert replica.phase == "halted" and not replica.is_normal
    for event in EVERY_EVENT:
        assert replica.step(event) == ()
    replica.step(Synced(kit.committed(FIRST), 5, kit.EPOCH))
    assert replica.stable.height == 1
    assert replica.step(PendingChanged(True)) == ()


# --- messages -------------------------------------------------------------------------------


def test_messages_at_and_below_the_head_do_nothing():
    replica = kit.replica(0)
    kit.commit(replica, FIRST, senders=(1, 2, 3))
    for message in (
        kit.offer(FIRST),
        kit.vote(Prepare, FIRST, 2),
        kit.vote(Commit, FIRST, 2),
        kit.checkpoint(FIRST, 2, b"x" * 32),
    ):
        assert kit.deliver(replica, message) == ()


def test_a_pre_prepare_above_the_watermark_is_refused():
    high = kit.proposal(9, b"p" * 32, b"x", 1)
    with pytest.raises(InvalidMessage, match="above the high watermark"):
        kit.deliver(kit.replica(), kit.offer(high))


def test_a_pre_prepare_parked_twice_is_one():
    replica = kit.replica(0)
    item = kit.proposal(proposer=2)
    for _ in range(2):
        effects = kit.deliver(replica, kit.offer(item, view=1))
        assert kit.only(fx.ReportEvidence, effects) == []
    later = kit.proposal(proposer=3)
    kit.deliver(replica, kit.offer(later, view=2))
    kit.deliver(replica, kit.offer(item, view=1))
    assert replica._state.log.slot(1).future_pre_prepare.view == 2


def test_a_parked_proposal_below_what_the_view_fixes_is_dropped():
    replica = kit.replica()
    kit.deliver(replica, kit.offer(kit.proposal(text=b"other", proposer=2), view=1))
    changes = [kit.view_change(i, 1, certificates=[kit.prepared(FIRST)]) for i in (0, 1, 2)]
    kit.deliver(replica, kit.new_view(1, changes))
    slot = replica._state.log.slot(1)
    assert slot.proposal == FIRST and slot.future_pre_prepare is None


def test_checkpoints_far_above_ask_for_blocks_once_enough_claim_them():
    replica = kit.replica()
    high = kit.proposal(20, b"p" * 32)
    effects = kit.deliver(replica, kit.checkpoint(high, 0))
    assert kit.only(fx.RequestSync, effects) == []
    effects = kit.deliver(replica, kit.checkpoint(high, 1))
    assert [effect.height for effect in kit.only(fx.RequestSync, effects)] == [12]


def test_commits_for_another_digest_order_nothing():
    replica = kit.replica(0)
    other = kit.proposal(text=b"other")
    kit.deliver(replica, kit.offer(FIRST))
    kit.make_valid(replica, FIRST)
    effects = []
    for sender in (1, 2, 3):
        effects += kit.deliver(replica, kit.vote(Commit, other, sender))
    assert kit.only(fx.ExecuteProposal, effects) == []


def bounded(window):
    return MessageVerifier(kit.DOMAIN, Epochs(kit.VALIDATORS), kit.GENESIS, kit.is_signed, window)


def test_a_view_change_with_certificates_above_its_own_window_is_refused():
    high = kit.proposal(9, b"p" * 32)
    with pytest.raises(InvalidMessage, match="above its sender's high watermark"):
        bounded(8).verify_message(kit.view_change(0, 1, certificates=[kit.prepared(high)]))


def test_certificates_name_proposers_that_exist():
    stranger = kit.proposal(proposer=9)
    with pytest.raises(InvalidMessage, match="proposer that does not exist"):
        kit.verified(kit.view_change(0, 1, certificates=[kit.prepared(stranger)]))


def test_a_new_view_of_two_epochs_is_refused():
    epochs = Epochs(kit.VALIDATORS)
    epochs.on_commit(1, ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(5))))
    changes = [kit.view_change(0, 1, kit.committed(FIRST))]
    changes += [kit.view_change(i, 1) for i in (1, 2, 3)]
    message = NewView(1, tuple(changes), 3, b"s")
    of_the_first = signing_digest(kit.DOMAIN, 1, message)
    verifier = MessageVerifier(
        kit.DOMAIN, epochs, kit.GENESIS, lambda node, digest, signature: digest != of_the_first
    )
    with pytest.raises(InvalidMessage, match="another epoch"):
        verifier.verify_message(message)
    assert epochs.at(0).first_height == 1
    epochs.on_commit(1, None)
    assert len(epochs.latest.validators) == 5


def test_a_new_view_given_up_is_refused_and_an_old_one_ignored():
    replica = kit.replica(0)
    for sender in (1, 3):
        kit.deliver(replica, kit.view_change(sender, 5))
    assert replica.to_view == 5
    with pytest.raises(InvalidMessage, match="already given up"):
        kit.deliver(replica, kit.new_view(2, sender=3))
    kit.deliver(replica, kit.new_view(5))
    assert kit.deliver(replica, kit.new_view(2, sender=3)) == ()


def test_an_older_view_change_does_not_replace_a_newer_one():
    replica = kit.replica()
    kit.deliver(replica, kit.view_change(0, 5))
    kit.deliver(replica, kit.view_change(0, 2))
    assert replica._state.log.view_changes[0].view == 5


def test_reproposals_beyond_the_own_window_wait():
    items = kit.chain(4)
    certificates = [kit.prepared(item) for item in items]
    changes = [kit.view_change(i, 1, certificates=certificates) for i in (0, 1, 2)]
    replica = kit.replica(window=4)
    replica.step(Synced(kit.committed(FIRST), 5, kit.EPOCH))
    kit.deliver(replica, kit.new_view(1, changes))
    assert replica.held_heights() == [2, 3, 4]


# --- catching up ----------------------------------------------------------------------------


def test_blocks_are_asked_for_again_while_enough_claim_them():
    replica = kit.replica()
    effects = []
    for sender in (0, 1):
        effects += kit.deliver(replica, kit.signed(Status(0, 3, sender)))
    again = kit.fire(replica, kit.timer(effects, TimerId.RESEND))
    assert [effect.height for effect in kit.only(fx.RequestSync, again)] == [3]


def test_who_makes_progress_does_not_ask():
    replica = kit.replica()
    effects = kit.pending(replica)
    kit.commit(replica, FIRST)
    effects = kit.fire(replica, kit.timer(effects, TimerId.RESEND))
    assert kit.sent(Status, effects) == []
    effects = kit.fire(replica, kit.timer(effects, TimerId.RESEND))
    assert [message.stable_height for message in kit.sent(Status, effects)] == [1]


def test_a_synced_block_below_ordered_ones_keeps_them():
    replica = kit.replica(0)
    for item in (FIRST, SECOND):
        kit.order(replica, item, senders=(1, 2, 3))
    effects = replica.step(Synced(kit.committed(FIRST), 5, kit.EPOCH))
    assert [effect.proposal for effect in kit.only(fx.ExecuteProposal, effects)] == [SECOND]


def test_a_synced_block_that_contradicts_what_was_ordered_stops_the_node():
    replica = kit.replica()
    kit.order(replica, FIRST)
    with pytest.raises(InvariantViolation, match="P01"):
        replica.step(Synced(kit.committed(kit.proposal(text=b"other")), 5, kit.EPOCH))


def test_a_timer_is_stopped_when_nothing_waits():
    replica = kit.replica()
    kit.pending(replica)
    effects = replica.step(PendingChanged(False))
    assert kit.only(fx.CancelTimer, effects) == [fx.CancelTimer(TimerId.VIEW)]
    kit.pending(replica)
    replica._state.timers.pop(TimerId.VIEW)
    assert kit.only(fx.CancelTimer, replica.step(PendingChanged(False))) == []


# --- recovery ---------------------------------------------------------------------------------


def test_an_observer_recovers_to_silence():
    from lowu.consensus.epochs import Epoch
    from lowu.consensus.replica import Replica
    from lowu.consensus.state import ReplicaConfig

    config = ReplicaConfig(kit.DOMAIN, b"observer", kit.GENESIS)
    epoch = Epoch(1, kit.VALIDATORS)
    replica, effects = Replica.recover(config, lambda d: b"", epoch, [], kit.GENESIS, 0)
    assert effects == () and replica.index is None and replica.next_leader == 1
    assert replica.failed_attempts == 0 and replica.size() <= replica.size_max()


def test_records_of_another_epoch_are_left_alone():
    digest = kit.digest_of(FIRST)
    records = [
        VoteRecord(7, VoteKind.PREPARE, 1, 3, digest, ZERO_HASH),
        ViewRecord(7, 3, 3),
        NewViewRecord(7, kit.new_view(3)),
        ProposalRecord(7, 3, FIRST),
        PreparedRecord(7, kit.prepared(FIRST)),
    ]
    replica, _ = kit.recovered(3, records)
    assert replica.view == 0 and replica.held_heights() == []


def test_a_restored_view_drops_what_it_did_not_carry_over():
    other = kit.proposal(text=b"other")
    items = kit.chain(2)
    changes = [kit.view_change(i, 1, certificates=[kit.prepared(items[0])]) for i in (0, 1, 2)]
    new_view = kit.new_view(1, changes)
    records = [
        ViewRecord(1, 1, 1),
        NewViewRecord(1, new_view),
        ProposalRecord(1, 0, other),
        ProposalRecord(1, 1, kit.proposal(2, kit.digest_of(items[0]), b"2", 3, 6)),
    ]
    replica, _ = kit.recovered(3, records)
    slot = replica._state.log.slot(1)
    assert slot.proposal == items[0] and slot.is_reproposal
    replica, _ = kit.recovered(3, records, stable=kit.committed(items[0]))
    assert replica.held_heights() == [2]


def test_a_proof_of_another_view_is_not_taken():
    replica, _ = kit.recovered(3, [ViewRecord(1, 4, 4), NewViewRecord(1, kit.new_view(1))])
    assert replica.view == 4
    answers = kit.deliver(replica, kit.signed(Status(0, 0, 1)))
    assert kit.sent(NewView, answers) == []


def test_a_leader_that_restarts_has_voted_for_its_own_proposal():
    leader = kit.replica(1)
    kit.pending(leader)
    from lowu.consensus.inputs import ProposalBuilt

    effects = leader.step(ProposalBuilt(0, FIRST, (b"h" * 32,)))
    records = [record for effect in kit.only(fx.Persist, effects) for record in effect.records]
    back, effects = kit.recovered(1, records)
    assert kit.only(fx.BuildProposal, [*effects, *kit.pending(back)]) == []
    answers = kit.deliver(back, kit.signed(Status(0, 0, 0)))
    assert len(kit.sent(Prepare, answers)) == 1 and kit.sent(PrePrepare, answers) == []


def test_a_leader_that_lost_its_proposal_does_not_make_another():
    record = VoteRecord(1, VoteKind.PRE_PREPARE, 1, 0, b"d" * 32, ZERO_HASH)
    replica, effects = kit.recovered(1, [record])
    assert kit.only(fx.BuildProposal, [*effects, *kit.pending(replica)]) == []


# --- stored and encoded forms -----------------------------------------------------------------


def test_evidence_survives_its_stored_form():
    pair = kit.vote(Prepare, FIRST, 1), kit.vote(Prepare, kit.proposal(text=b"other"), 1)
    record = EvidenceRecord(3, Evidence(1, *pair))
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\x91\x09", encode_record(ViewRecord(1, 2, 3))[:-1]]
)
def test_nonsense_is_no_record(data):
    with pytest.raises(InvalidMessage, match="malformed consensus record"):
        decode_record(data)


def test_a_proof_of_view_is_a_new_view():
    import msgpack

    from lowu.consensus.codec import encode_message

    data = msgpack.packb([4, 1, encode_message(kit.view_change(0, 1))])
    with pytest.raises(InvalidMessage, match="malformed consensus record"):
        decode_record(data)


def test_certificates_have_one_form():
    data = encode_prepared_certificate(kit.prepared(FIRST))
    assert decode_prepared_certificate(data) == kit.prepared(FIRST)
    wider = data.replace(b"\x93\x00", b"\x93\xcc\x00", 1)  # view 0, encoded longer than needed
    with pytest.raises(InvalidMessage, match="canonical"):
        decode_prepared_certificate(wider)


def test_validator_sets_refuse_nonsense():
    with pytest.raises(ValueError, match="leader_period"):
        replace(kit.VALIDATORS, leader_period=0)


# --- bounds under floods (P21, P23) -----------------------------------------------------------


@pytest.mark.parametrize("nodes", [4, 7, 31])
def test_what_a_replica_holds_is_bounded_whatever_arrives(nodes):
    """Every kind of message, from every validator, at every open height, in many views."""
    from lowu.consensus.epochs import Epoch
    from lowu.consensus.replica import Replica
    from lowu.consensus.state import ReplicaConfig

    validators = ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(nodes)))
    config = ReplicaConfig(kit.DOMAIN, kit.node_id(0), kit.GENESIS, window=4)
    replica = Replica(config, lambda digest: b"s", Epoch(1, validators))
    verifier = MessageVerifier(kit.DOMAIN, Epochs(validators), kit.GENESIS, lambda n, d, s: True)
    bound = replica.size_max()
    for turn in range(6):
        digest = hash_bytes(bytes([turn]))
        for sender in range(1, nodes):
            for height in (0, 1, 2, 3, 4, 5, 2**40):
                for message in (
                    Prepare(turn, height, digest, sender),
                    Commit(turn, height, digest, sender),
                    Checkpoint(height, digest, digest, sender),
                    Status(turn, height, sender),
                    ViewChange(turn + 1 + sender * 10**6, kit.GENESIS, (), sender),
                    PrePrepare(turn, kit.proposal(height, digest, digest, sender), (), sender),
                ):
                    try:
                        replica.step(kit.MessageReceived(verifier.verify_message(message)))
                    except InvalidMessage:
                        continue
                    assert replica.size() <= bound
    assert replica.size() > bound // 4, "the flood reached what is bounded"
    assert bound == 4 * (3 * nodes + 2) + nodes + 4 * 4 + 2 + 9 * nodes


def test_the_highest_block_that_it_has_signed_a_checkpoint_of():
    """Fresh reads rest on it: before the block is stable, and after a restart."""
    replica, (first, second) = kit.replica(), kit.chain(2)
    assert replica.checkpoint_height == 0
    kit.commit(replica, first)
    effects = kit.order(replica, second)
    assert (replica.checkpoint_height, replica.stable.height) == (1, 1)
    digest = kit.digest_of(second)
    effects += replica.step(ProposalExecuted(2, digest, hash_bytes(digest)))
    assert (replica.checkpoint_height, replica.stable.height) == (2, 1)
    records = [
        item for effect in effects if isinstance(effect, fx.Persist) for item in effect.records
    ]
    again, _ = kit.recovered(replica.index, [ViewRecord(1, 0, 0), *records], kit.committed(first))
    assert again.checkpoint_height == 2


def test_epochs_are_followed_anew_after_a_state_was_loaded():
    epochs = Epochs(kit.VALIDATORS)
    other = ValidatorSet(kit.VALIDATORS.validators[:3])
    epochs.on_commit(5, other)
    assert (epochs.latest.first_height, epochs.settled_height) == (6, 6)
    epochs.restart(kit.VALIDATORS)
    assert (epochs.latest, epochs.settled_height) == (epochs.at(9), 1)
    assert epochs.latest.validators == kit.VALIDATORS
    epochs.on_commit(3, other)
    assert epochs.at(4).validators == other and epochs.at(3).validators == kit.VALIDATORS
