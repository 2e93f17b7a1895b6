"""Ways in which one faulty validator, or a late answer, once stopped an honest one."""

import pytest

from consensus import effects as fx
from consensus import inputs as ev
from consensus.codec import compute_digest
from consensus.errors import InvalidMessage
from consensus.messages import Commit, Prepare, PrePrepare, Status
from consensus.records import NewViewRecord, ViewRecord
from consensus.state import compute_window_max
from tests.unit import consensus_kit as kit

ITEM = kit.proposal()
DIGEST = compute_digest(kit.DOMAIN, ITEM)
CERTIFIED = [
    kit.view_change(i, 1, certificates=[kit.prepared(ITEM)] if i == 0 else []) for i in (0, 1, 2)
]


make = kit.replica


deliver = kit.deliver


only = kit.only


def test_bodies_are_checked_only_on_top_of_known_proposals():
    """A PRE-PREPARE that overtakes the one below would else be judged without it."""
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
    effects = replica.step(ev.ProposalVerified(1, DIGEST, ev.Verdict.VALID))
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
    replica.step(ev.ProposalVerified(1, DIGEST, ev.Verdict.INVALID))
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


def test_a_window_whose_new_view_fits_no_message_is_refused():
    assert compute_window_max(4) > 1_000
    assert compute_window_max(31) >= 50
    with pytest.raises(ValueError, match="must be in"):
        make(window=10**6)
