"""B35: a block that was both fetched and agreed on is committed once."""

from lowu.consensus.inputs import BlockCommitted, Synced
from tests.unit import consensus_kit as kit


def test_whichever_comes_second_changes_nothing():
    replica = kit.replica()
    first, second = kit.chain(2)
    kit.commit(replica, first)
    kit.commit(replica, second)
    assert replica.stable.height == 2
    for late in (kit.committed(first), kit.committed(second)):
        assert replica.step(Synced(late, 5, kit.EPOCH)) == ()
    assert replica.step(BlockCommitted(1, b"b" * 32)) == ()
    assert replica.stable.height == 2
