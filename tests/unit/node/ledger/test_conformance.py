"""What the ledger needs of a storage, held by all three: memory, a faulty disk, RocksDB.

The oracle is a dictionary. Damage is done to the stored bytes, below the storage's own methods.
"""

import errno
import os
from random import Random

import pytest
from rocksdict import Options, Rdict

from lowu.node.errors import DamagedData, StorageError
from lowu.node.ledger import rocks
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.storage import seal_record
from lowu.node.simulation.stack.disk import FaultyStorage
from tests.unit.node.ledger.conftest import STORAGES, open_storage

LOW, HIGH = b"", b"\xff"
KEYS = [b"%c%d" % (first, number) for first in b"AKS" for number in range(12)]


def contents(store):
    return dict(store.scan(LOW, HIGH))


def test_random_use_is_that_of_a_dictionary(storage):
    """Batches, reads, ranges, and views that keep what was there when they were taken."""
    random = Random(7)
    model, views = {}, []
    for _ in range(400):
        puts = {random.choice(KEYS): random.randbytes(random.randrange(40)) for _ in range(3)}
        deletes = random.sample(KEYS, random.randrange(3))
        storage.write(puts, deletes)
        model = {**{key: model[key] for key in model if key not in deletes}, **puts}
        low, high = sorted(random.sample([LOW, *KEYS, HIGH], 2))
        inside = sorted(key for key in model if low <= key < high)
        assert list(storage.scan(low, high)) == [(key, model[key]) for key in inside]
        assert list(storage.keys(low, high)) == inside
        key = random.choice(KEYS)
        assert storage.get(key) == model.get(key)
        if random.random() < 0.05:
            views.append((storage.snapshot(), storage.ordered_snapshot(), dict(model)))
    assert len(views) > 5
    for get, ordered, then in views:
        assert [get(key) for key in KEYS] == [then.get(key) for key in KEYS]
        assert [ordered.get(key) for key in KEYS] == [then.get(key) for key in KEYS]
        assert list(ordered.scan(b"B", b"S5")) == sorted(
            item for item in then.items() if b"B" <= item[0] < b"S5"
        )
        firsts = [then[key] for key in sorted(then) if key >= b"K5"]
        assert ordered.first(b"K5", HIGH) == (firsts[0] if firsts else None)


def test_a_batch_that_deletes_and_puts_a_key_puts_it(storage):
    storage.write({b"a": b"1"})
    storage.write({b"a": b"2"}, [b"a", b"never there"])
    assert contents(storage) == {b"a": b"2"}


def test_empty_and_odd_keys_and_values(storage):
    odd = {b"\0": b"", b"a\0": b"\0", b"a": b"x" * 100_000, b"\xfe\xff": b"end"}
    storage.write(odd)
    assert contents(storage) == odd and list(storage.keys(b"a", b"a\0")) == [b"a"]
    storage.write({})
    assert contents(storage) == odd


@pytest.mark.parametrize("kind", STORAGES)
def test_what_is_written_is_there_after_the_next_opening(kind, tmp_path):
    store = open_storage(kind, tmp_path)
    store.write({b"a": b"1", b"b": b"2"})
    store.write({}, [b"b"])
    again = reopen(store, tmp_path)
    assert contents(again) == {b"a": b"1"}
    again.close()


def reopen(store, folder, change=None):
    """Open a store again; `change` is made to its stored bytes, a mapping, in between."""
    store.close()
    if not isinstance(store, RocksStorage):
        if change is not None:
            change(store.records)
        return store
    if change is not None:
        raw = Rdict(str(folder / "data"), Options(raw_mode=True))
        change(raw)
        raw.close()
    return RocksStorage(folder / "data")


def flip(records):
    """One bit of a value, as a disk turns it."""
    stored = bytearray(records[b"K1"])
    stored[-1] ^= 1
    records[b"K1"] = bytes(stored)


def misdirect(records):
    """A record that was written where another stands."""
    records[b"K1"] = records[b"K2"]


def tear(records):
    """A record of which only the beginning was written."""
    records[b"K1"] = records[b"K1"][:-2]


def empty(records):
    records[b"K1"] = b""


@pytest.mark.parametrize("damage", [flip, misdirect, tear, empty])
@pytest.mark.parametrize("kind", STORAGES)
def test_a_damaged_record_is_never_returned(kind, damage, tmp_path):
    store = open_storage(kind, tmp_path)
    store.write({b"K0": b"first", b"K1": b"second", b"K2": b"second"})
    store = reopen(store, tmp_path, damage)
    ordered = store.ordered_snapshot()
    for read in (
        lambda: store.get(b"K1"),
        lambda: list(store.scan(LOW, HIGH)),
        lambda: store.snapshot()(b"K1"),
        lambda: ordered.get(b"K1"),
        lambda: list(ordered.scan(LOW, HIGH)),
        lambda: ordered.first(b"K1", HIGH),
    ):
        before = store.damage.reads
        with pytest.raises(DamagedData, match="damaged"):
            read()
        assert store.damage.reads == before + 1
    assert "b'K' 31 is damaged" in store.damage.first
    assert (store.get(b"K0"), store.get(b"K2")) == (b"first", b"second")
    assert list(store.keys(LOW, HIGH)) == [b"K0", b"K1", b"K2"]
    before = store.damage.reads
    found = [(b"K0", b"first"), (b"K1", None), (b"K2", b"second")]
    assert list(store.scan_damaged()) == found and list(store.scan_damaged(b"K0")) == found[1:]
    assert list(store.scan_damaged(b"K2")) == [] and store.damage.reads == before
    store.write({b"K1": b"mended"})
    assert store.get(b"K1") == b"mended"
    store.close()


@pytest.mark.parametrize("place", [0.0, 0.4])
def test_where_a_table_cannot_be_read_the_rest_is(place, tmp_path):
    """The engine reads nothing of a block of a table with a wrong checksum, also the first one."""
    store = RocksStorage(tmp_path / "data")
    kinds = [b"B", b"E", b"S"]
    wanted = {b"%c%06d" % (kind[0], number): b"x" * 90 for kind in kinds for number in range(600)}
    store.write(wanted)
    store = reopen(store, tmp_path)  # which writes the log into a table
    store.close()
    (table,) = (tmp_path / "data").glob("*.sst")
    content = bytearray(table.read_bytes())
    content[int(len(content) * place) + 40] ^= 0xFF
    table.write_bytes(content)
    store = RocksStorage(tmp_path / "data")
    found = list(store.scan_damaged())
    read = {key: value for key, value in found if value is not None}
    assert any(value is None for _, value in found) and read.items() <= wanted.items()
    assert len(read) > len(wanted) - 1_300 and {key[:1] for key in read} >= {b"E", b"S"}
    with pytest.raises(DamagedData, match="checksum mismatch"):
        list(store.scan(LOW, HIGH))
    store.damage.settle()
    assert store.damage.first, "a damaged table stays one, whatever is written again"
    store.close()


def test_a_record_has_its_key_in_its_checksum():
    assert seal_record(b"a", b"value") != seal_record(b"b", b"value")


# --- faults that only the faulty disk has at will -----------------------------------------------


def faulty(rate=0.0):
    return FaultyStorage(Random(1), failure_rate=rate)


def test_after_a_failed_write_nothing_is_written_before_the_next_opening():
    """F31: all of the batch is there, or nothing of it; which, the caller cannot know."""
    outcomes = set()
    for seed in range(20):
        store = FaultyStorage(Random(seed), failure_rate=1.0)
        with pytest.raises(StorageError, match="sync"):
            store.write({b"a": b"1", b"b": b"2"})
        with pytest.raises(StorageError, match="opened again"):
            store.write({b"c": b"3"})
        outcomes.add(frozenset(contents(store)))
        store.failure_rate = 0.0
        store.reopen()
        store.write({b"c": b"3"})
        assert store.get(b"c") == b"3"
    assert outcomes == {frozenset(), frozenset({b"a", b"b"})}


def test_a_full_disk_takes_nothing_and_says_so():
    """F30: what is there can be read; once there is room, the store goes on after an opening."""
    store = faulty()
    store.write({b"a": b"1"})
    store.is_full = True
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
        store.write({b"a": b"2", b"b": b"2"})
    assert contents(store) == {b"a": b"1"}
    store.is_full = False
    with pytest.raises(StorageError, match="opened again"):
        store.write({b"b": b"2"})
    store.reopen()
    store.write({b"b": b"2"})
    assert contents(store) == {b"a": b"1", b"b": b"2"}


def test_writes_that_were_never_synced_are_lost_newest_first():
    store = faulty()
    for number in range(5):
        store.write({b"a": b"%d" % number, b"n%d" % number: b""}, [b"n%d" % (number - 2)])
    store.lose(2)
    assert contents(store) == {b"a": b"2", b"n1": b"", b"n2": b""}
    store.lose(99)
    assert contents(store) == {}


def test_filters_and_the_cache_are_there_after_a_restart(tmp_path):
    """The engine kept neither: each lookup of a new record read blocks, at the cost of the CPU."""
    for number in range(3):
        storage = RocksStorage(tmp_path / "data")
        storage.write({b"key %d" % number: b"value"})
        storage._db.flush()
        capacity = storage._db.property_value("rocksdb.block-cache-capacity")
        log = (tmp_path / "data" / "LOG").read_text()
        storage.close()
        del storage
        assert int(capacity) == rocks.BLOCK_CACHE_BYTES
        assert "filter_policy: bloomfilter" in log and '"filter_size": 0' not in log
