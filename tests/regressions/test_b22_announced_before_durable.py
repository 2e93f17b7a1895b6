"""B22: a block counts only after its write is durable (R-CP-2)."""

from lowu.consensus.effects import CommitBlock
from lowu.consensus.inputs import BlockCommitted, ProposalExecuted
from lowu.consensus.types import hash_bytes
from tests.unit import consensus_kit as kit


def test_the_head_moves_with_the_answer_to_the_write():
    replica, item = kit.replica(), kit.proposal()
    kit.order(replica, item)
    block_hash = hash_bytes(kit.digest_of(item))
    replica.step(ProposalExecuted(1, kit.digest_of(item), block_hash))
    effects = []
    for sender in (0, 1, 2):
        effects += kit.deliver(replica, kit.checkpoint(item, sender))
    assert len(kit.only(CommitBlock, effects)) == 1 and replica.stable.height == 0
    replica.step(BlockCommitted(1, block_hash))
    assert replica.stable.height == 1
