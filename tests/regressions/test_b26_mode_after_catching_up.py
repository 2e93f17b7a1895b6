"""B26: fetched blocks end any wait for work on their heights."""

from lowu.consensus.effects import CommitBlock, ExecuteProposal
from lowu.consensus.inputs import ProposalExecuted, Synced
from lowu.consensus.types import hash_bytes
from tests.unit import consensus_kit as kit


def test_work_goes_on_after_blocks_were_fetched():
    replica = kit.replica(0)
    first, second, third = kit.chain(3)
    kit.order(replica, first, senders=(1, 2, 3))
    assert replica.is_busy
    replica.step(Synced(kit.committed(first), first.timestamp_ms, kit.EPOCH))
    assert not replica.is_busy and replica.stable.height == 1
    effects = kit.order(replica, second, senders=(1, 2, 3))
    assert len(kit.only(ExecuteProposal, effects)) == 1
    replica.step(ProposalExecuted(2, kit.digest_of(second), hash_bytes(kit.digest_of(second))))
    for sender in (1, 2, 3):
        effects += kit.deliver(replica, kit.checkpoint(second, sender))
    assert len(kit.only(CommitBlock, effects)) == 1 and replica.is_busy
    replica.step(Synced(kit.committed(second), second.timestamp_ms, kit.EPOCH))
    assert not replica.is_busy
    assert len(kit.only(ExecuteProposal, kit.order(replica, third, senders=(1, 2, 3)))) == 1
