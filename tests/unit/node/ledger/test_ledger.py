"""The ledger: one atomic batch a block, damage detected, nothing lost (B34, F32)."""

import pytest

from lowu.consensus.messages import CommitCertificate
from lowu.consensus.records import ViewRecord, VoteKind, VoteRecord
from lowu.node.errors import ConfigError, DamagedData, StorageError
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import MemoryTrace
from tests.unit import node_kit as kit
from tests.unit.node_kit import Chain, signed


def vote(height, kind=VoteKind.PREPARE):
    return VoteRecord(1, kind, height, 0, b"d" * 32, bytes(32))


def test_blocks_receipts_and_indexes(storage):
    chain = Chain(storage)
    transaction = signed(nonce=0)
    executed = chain.commit(transaction)
    chain.commit(signed(nonce=1), signed(nonce=2))
    ledger = chain.ledger
    assert (ledger.head.number, ledger.head.tx_count) == (2, 3)
    assert ledger.header(1) == executed.header
    assert ledger.find_block(executed.header.hash) == 1
    assert ledger.find_transaction(transaction.hash) == (1, 0)
    assert ledger.block(1).transactions == (transaction.raw,)
    assert ledger.receipts(1) == executed.receipts
    assert ledger.find_transaction(b"x" * 32) is None
    again = Ledger(storage, build_genesis(kit.GENESIS), chain.trace)
    assert again.head == ledger.head and again.header(2) == ledger.header(2)


def test_a_block_must_stand_on_the_head(storage):
    chain = Chain(storage)
    first = chain.execute(signed(nonce=0))
    chain.commit(signed(nonce=0))
    header = first.header
    certificate = CommitCertificate(1, header.proposal_digest, header.hash, ())
    with pytest.raises(StorageError, match="does not stand"):
        chain.ledger.commit(first, certificate)
    second = chain.execute(signed(nonce=1))
    with pytest.raises(StorageError, match="another block"):
        chain.ledger.commit(second, CommitCertificate(2, bytes(32), bytes(32), ()))
    assert chain.ledger.head.number == 1


def test_vote_records_are_settled_by_their_block(storage):
    chain = Chain(storage)
    records = [vote(1), vote(1, VoteKind.COMMIT), vote(2), ViewRecord(1, 3, 4)]
    chain.ledger.save_records(records)
    assert sorted(map(repr, chain.ledger.load_records())) == sorted(map(repr, records))
    chain.commit(signed())
    assert set(chain.ledger.load_records()) == {vote(2), ViewRecord(1, 3, 4)}


def test_proposal_bodies(storage):
    chain = Chain(storage)
    ledger = chain.ledger
    for height in (1, 1, 2):
        ledger.save_proposal(height, b"d" * 32, [b"one", b"two"])
    ledger.save_proposal(1, b"dropped by a view change".ljust(32), [b"x"])
    assert ledger.load_proposal(1, b"d" * 32) == (b"one", b"two")
    assert ledger.load_proposal(1, b"e" * 32) is None
    chain.commit(signed())
    assert ledger.load_proposal(1, b"d" * 32) is None
    assert ledger.load_proposal(1, b"dropped by a view change".ljust(32)) is None
    assert ledger.load_proposal(2, b"d" * 32) == (b"one", b"two")


def test_another_genesis_is_refused(storage):
    from dataclasses import replace

    Chain(storage).commit(signed())
    other = build_genesis(replace(kit.GENESIS, tx_gas_limit=10**7))
    with pytest.raises(StorageError, match="another genesis"):
        Ledger(storage, other, MemoryTrace())


def test_every_flipped_bit_is_detected_or_harmless():
    chain = Chain()
    chain.commit(signed())
    for key, stored in list(chain.storage.records.items()):
        damaged = bytearray(stored)
        damaged[-1] ^= 1
        chain.storage.records[key] = bytes(damaged)
        with pytest.raises(StorageError, match="damaged"):
            chain.storage.get(key)
        chain.storage.records[key] = stored


def test_a_record_in_anothers_place_is_detected():
    storage = MemoryStorage()
    storage.write({b"a": b"1", b"b": b"2"})
    storage.records[b"a"] = storage.records[b"b"]
    with pytest.raises(StorageError, match="damaged"):
        storage.get(b"a")


def test_a_failed_write_moves_nothing():
    class Broken(MemoryStorage):
        is_broken = False

        def write(self, puts, deletes=()):
            if self.is_broken:
                raise StorageError("no space")
            super().write(puts, deletes)

    chain = Chain(Broken())
    chain.storage.is_broken = True
    with pytest.raises(StorageError, match="no space"):
        chain.commit(signed())
    assert chain.ledger.head.number == 0


def test_one_process_owns_a_database(tmp_path):
    first = RocksStorage(tmp_path / "data")
    with pytest.raises(ConfigError, match="Is another process using"):
        RocksStorage(tmp_path / "data")
    first.close()


def test_scan_is_half_open_and_ascending(storage):
    storage.write({b"a1": b"1", b"a2": b"2", b"a3": b"3", b"b": b"4"})
    assert [key for key, _ in storage.scan(b"a1", b"a3")] == [b"a1", b"a2"]
    storage.write({b"a0": b"0"}, [b"a1"])
    assert [key for key, _ in storage.scan(b"a", b"b")] == [b"a0", b"a2", b"a3"]


def test_a_snapshot_does_not_move(storage):
    chain = Chain(storage)
    before = chain.ledger.snapshot()
    chain.commit(signed(nonce=0))
    sender = signed(nonce=0).sender
    assert before.get(b"a", sender) == b"" != chain.ledger.get(b"a", sender)
    assert chain.ledger.snapshot().get(b"a", sender) == chain.ledger.get(b"a", sender)


def test_data_of_another_format_is_refused():
    """Otherwise nodes would verify old signatures by new rules, and blame each other."""
    from lowu.node.ledger import schema

    chain = Chain()
    chain.storage.write({schema.KEY_FORMAT: b"1"})
    with pytest.raises(StorageError, match="format 1, this Lowu reads 9 and 10"):
        Chain(chain.storage)
    chain.storage.records.pop(schema.KEY_FORMAT)
    with pytest.raises(DamagedData, match="lacks its first records"):
        Chain(chain.storage)
    chain.storage.records.pop(schema.KEY_VOTES)  # a Lowu of that format did not write it
    with pytest.raises(StorageError, match=r"format 1.*start a new network"):
        Chain(chain.storage)
