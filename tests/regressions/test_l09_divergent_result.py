"""L09: a replica whose result differs from a quorum's halts and says why (R-CP-3)."""

from lowu.consensus.effects import CommitBlock, Halt
from lowu.consensus.inputs import ProposalExecuted
from tests.unit import consensus_kit as kit


def test_it_does_not_commit_what_it_did_not_compute():
    replica, item = kit.replica(), kit.proposal()
    kit.order(replica, item)
    replica.step(ProposalExecuted(1, kit.digest_of(item), b"x" * 32))
    effects = []
    for sender in (0, 1, 2):
        effects += kit.deliver(replica, kit.checkpoint(item, sender))
    assert kit.only(CommitBlock, effects) == [] and len(kit.only(Halt, effects)) == 1
    assert replica.phase == "halted" and "own execution gave" in replica.halt_reason
