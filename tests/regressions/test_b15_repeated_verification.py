"""B15: a proposal is not verified twice at a time, however often it arrives."""

from lowu.consensus.effects import VerifyProposal
from lowu.consensus.inputs import TimerId
from tests.unit import consensus_kit as kit


def test_one_verification_at_a_time():
    replica, item = kit.replica(), kit.proposal()
    effects = list(kit.pending(replica))
    for _ in range(20):
        effects += kit.deliver(replica, kit.offer(item))
    effects += kit.fire(replica, kit.timer(effects, TimerId.RESEND))
    assert len(kit.only(VerifyProposal, effects)) == 1
