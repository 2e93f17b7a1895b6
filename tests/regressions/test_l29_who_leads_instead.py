"""L29: another leader is accepted in place of one passed over (R-LEAD-2, R-PP-1)."""

import pytest

from lowu.consensus.effects import ReportEvidence, VerifyProposal
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.inputs import TimerId
from tests.unit import consensus_kit as kit

VIEW, HEIGHT = 2, 3
PASSED = {1: 16}
INSTEAD = kit.VALIDATORS.leader(HEIGHT, VIEW, PASSED)
LOW, HIGH = kit.proposal(1, proposer=3), kit.proposal(2, proposer=0)


def new_view():
    """View 2: node 3 leads height 1, node 0 height 2; node 1 would lead height 3."""
    changes = tuple(kit.view_change(i, VIEW, passed_over=[(1, 16)]) for i in (0, 2, 3))
    return kit.new_view(VIEW, changes)


def offer(sender, text=b"c"):
    item = kit.proposal(HEIGHT, b"p" * 32, text, sender, 9)
    return kit.offer(item, VIEW, sender=sender)


def is_asked(effects):
    return any(effect.proposal.height == HEIGHT for effect in kit.only(VerifyProposal, effects))


def below(replica):
    """Offer heights 1 and 2, so that height 3 is considered."""
    low, high = LOW, kit.replace(HIGH, previous=kit.digest_of(LOW))
    effects = list(kit.deliver(replica, kit.offer(low, VIEW)))
    return effects + list(kit.deliver(replica, kit.offer(high, VIEW)))


def test_the_one_instead_is_heard_and_the_one_passed_over_is_not():
    assert kit.VALIDATORS.leader(HEIGHT, VIEW) == 1 != INSTEAD
    replica = kit.replica(2)
    kit.deliver(replica, new_view())
    with pytest.raises(InvalidMessage, match="not from its leader"):
        kit.deliver(replica, offer(1))
    effects = list(kit.deliver(replica, offer(INSTEAD)))
    assert is_asked(effects + below(replica))


def suspecting():
    """Node 2 after a time-out, when it asks to pass over node 1."""
    replica = kit.replica(2)
    kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW))
    return replica


def test_what_comes_before_the_view_is_kept_until_then():
    replica = suspecting()
    assert kit.deliver(replica, offer(INSTEAD)) == ()
    effects = list(kit.deliver(replica, new_view()))
    assert is_asked(effects + below(replica))


def test_what_turns_out_to_be_of_the_wrong_one_is_dropped():
    replica = suspecting()
    wrong = next(index for index in (0, 3) if index != INSTEAD)
    kit.deliver(replica, offer(wrong))
    effects = list(kit.deliver(replica, new_view()))
    assert not is_asked(effects + below(replica))


def test_two_who_may_both_lead_are_no_evidence_against_either():
    replica = suspecting()
    assert kit.deliver(replica, offer(0)) == kit.deliver(replica, offer(3)) == ()
    (found,) = kit.only(ReportEvidence, kit.deliver(replica, offer(0, b"d")))
    assert found.evidence.accused == 0


def test_a_stranger_to_a_height_is_refused_where_nobody_is_suspected():
    with pytest.raises(InvalidMessage, match="not from its leader"):
        kit.deliver(kit.replica(2), offer(INSTEAD))
