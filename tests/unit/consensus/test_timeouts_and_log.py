"""Time-out policy and the bounded message log (R-TIME-1, P09, P21)."""

import pytest

from lowu.consensus.errors import InvariantViolation
from lowu.consensus.message_log import MessageLog, Slot, record_checkpoint, record_phase_vote
from lowu.consensus.messages import Checkpoint, Commit, Prepare
from lowu.consensus.records import VoteKind
from lowu.consensus.safety import Safety
from lowu.consensus.timeouts import TimeoutPolicy
from lowu.consensus.types import Domain, hash_bytes
from tests.unit import consensus_kit as kit


def test_timeouts_grow_to_a_low_cap():
    policy = TimeoutPolicy(base_ms=3000, cap_factor=5)
    delays = [policy.view_timeout_ms(n) for n in range(8)]
    assert delays == [3000, 4500, 6750, 10125, 15000, 15000, 15000, 15000]
    assert policy.view_timeout_ms(10_000) == 15000


def test_watermarks():
    log = MessageLog(10, 4)
    assert [h for h in range(20) if log.is_open(h)] == [11, 12, 13, 14]
    with pytest.raises(InvariantViolation, match="P09"):
        log.slot(15)
    log.slot(11)
    log.slot(13)
    log.advance_stable(12)
    assert list(log.slots) == [13]
    with pytest.raises(InvariantViolation, match="P08"):
        log.advance_stable(11)


def test_only_the_newest_vote_of_a_sender_is_kept():
    votes = {}
    a, b = hash_bytes(b"a"), hash_bytes(b"b")
    assert record_phase_vote(votes, Prepare(3, 1, a, 0)) is None
    assert record_phase_vote(votes, Prepare(1, 1, b, 0)) is None
    assert votes[0].view == 3
    assert record_phase_vote(votes, Prepare(3, 1, a, 0)) is None
    evidence = record_phase_vote(votes, Prepare(3, 1, b, 0))
    assert (evidence.accused, evidence.first.digest, evidence.second.digest) == (0, a, b)
    assert votes[0].digest == a


def test_contradicting_checkpoints_are_evidence():
    slot = Slot(1)
    one = Checkpoint(1, hash_bytes(b"d"), hash_bytes(b"x"), 2)
    two = Checkpoint(1, hash_bytes(b"d"), hash_bytes(b"y"), 2)
    assert record_checkpoint(slot, one) is None
    assert record_checkpoint(slot, one) is None
    assert record_checkpoint(slot, two).accused == 2


def test_the_log_is_bounded_whatever_arrives():
    log = MessageLog(0, 4)
    for view in range(50):
        for height in range(1, 5):
            for sender in range(4):
                digest = hash_bytes(bytes([view]))
                record_phase_vote(log.slot(height).prepares, Prepare(view, height, digest, sender))
                record_phase_vote(log.slot(height).commits, Commit(view, height, digest, sender))
    assert log.size() <= 4 * (3 * 4 + 2) + 4


def make_safety():
    return Safety(Domain("kit", "group0"), 0, lambda digest: kit.sign(0, digest))


def test_one_digest_for_each_view_and_height():
    safety = make_safety()
    a, b = hash_bytes(b"a"), hash_bytes(b"b")
    first, _ = safety.sign_prepare(1, a)
    again, _ = safety.sign_prepare(1, a)
    assert first == again
    assert not safety.may_vote(VoteKind.PREPARE, 1, 0, b)
    with pytest.raises(InvariantViolation, match="P05"):
        safety.sign_prepare(1, b)


def test_no_vote_after_a_view_change():
    safety = make_safety()
    safety.sign_view_change(2, kit.GENESIS, ())
    assert not safety.may_vote(VoteKind.PREPARE, 1, 0, hash_bytes(b"a"))
    with pytest.raises(InvariantViolation):
        safety.sign_commit(1, hash_bytes(b"a"))
    with pytest.raises(InvariantViolation, match="P08"):
        safety.sign_view_change(2, kit.GENESIS, ())
    with pytest.raises(InvariantViolation, match="P08"):
        safety.enter_view(1)
    safety.enter_view(2)
    safety.sign_commit(1, hash_bytes(b"a"))


def test_checkpoints_are_given_in_any_view_but_never_twice():
    safety = make_safety()
    safety.sign_view_change(2, kit.GENESIS, ())
    digest = hash_bytes(b"d")
    safety.sign_checkpoint(1, digest, hash_bytes(b"x"))
    with pytest.raises(InvariantViolation, match="P11"):
        safety.sign_checkpoint(1, digest, hash_bytes(b"y"))


def test_restored_safety_refuses_what_the_first_would():
    safety = make_safety()
    vote, record = safety.sign_prepare(1, hash_bytes(b"a"))
    again = make_safety()
    again.restore([record])
    assert not again.may_vote(VoteKind.PREPARE, 1, 0, hash_bytes(b"b"))
    assert again.resign_vote(record) == vote
    assert safety.resign_vote(record) == vote
