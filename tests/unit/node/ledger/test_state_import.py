"""A state that replaces a ledger's own: whatever interrupts it, nothing is taken back."""

from dataclasses import replace

import pytest

from lowu.consensus.messages import Evidence, Prepare
from lowu.consensus.records import EvidenceRecord, ViewRecord, VoteKind, VoteRecord
from lowu.node.errors import DamagedData, StateLoading, StateNotKept, StorageError
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger import schema, state_import
from lowu.node.ledger.inspection import Inspector
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.opening import open_chain
from lowu.node.ledger.state_import import RosterChange, SnapshotBlock
from lowu.node.ledger.state_snapshot import PinnedState, decode_chunk, digest_rosters
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import MemoryTrace
from tests.unit import node_kit as kit
from tests.unit.node_kit import Chain, signed

OLD, NEW = 2, 6
TRANSACTIONS = [signed(nonce=nonce) for nonce in range(NEW)]
SENDER = TRANSACTIONS[0].sender
PREPARE = Prepare(0, OLD + 1, b"a" * 32, 1, b"s" * 64)
EVIDENCE = EvidenceRecord(1, Evidence(1, PREPARE, PREPARE))


class Died(BaseException):
    """The node ends here."""


class DyingStorage(MemoryStorage):
    """A store in which only some more writes are made."""

    def __init__(self):
        super().__init__()
        self.writes_left = None
        self.made = 0

    def write(self, puts, deletes=()):
        if self.writes_left == 0:
            raise Died
        if self.writes_left is not None:
            self.writes_left -= 1
        self.made += 1
        super().write(puts, deletes)


def grow(chain, blocks):
    for transaction in TRANSACTIONS[chain.ledger.head.number : blocks]:
        chain.commit(transaction)
    return chain


@pytest.fixture(scope="module")
def source():
    return grow(Chain(), NEW)


def vote(height):
    return VoteRecord(1, VoteKind.PREPARE, height, 0, b"d" * 32, bytes(32))


def stage(ledger, source):
    """Write the chunks of another chain's state; return how many entries they have."""
    theirs, head = source.ledger, source.ledger.head
    view = source.storage.ordered_snapshot()
    digest = digest_rosters(theirs.rosters)
    state = PinnedState(head, theirs.header(head.number).hash, digest, view)
    chunks = range(len(state.build_manifest().chunks))
    entries = [decode_chunk(state.read_chunk(place)) for place in chunks]
    for chunk in entries:
        ledger.import_state(chunk)
    return sum(map(len, entries))


def block_of(source, below=NEW - 1, changes=()):
    theirs, head = source.ledger, source.ledger.head
    heights = range(head.number - 1, head.number - 1 - below, -1)
    headers = [(theirs.header(number), theirs.certificate(number)) for number in heights]
    sealed = theirs.header(head.number), theirs.certificate(head.number)
    return SnapshotBlock(*sealed, head, changes, headers)


def load(ledger, source, below=NEW - 1):
    """Load the state of another chain's head, as the client of snapshots does."""
    ledger.check_import(stage(ledger, source))
    ledger.end_import(block_of(source, below))


def all_of(storage):
    return dict(storage.scan(b"", b"\xff"))


def state_of(storage):
    return dict(storage.scan(b"S", b"T"))


def open_again(storage, trace):
    return Ledger(storage, build_genesis(kit.GENESIS), trace)


def test_a_state_replaces_the_own_one(source, storage):
    chain = grow(Chain(storage), OLD)
    for height in (OLD + 1, NEW + 1):
        chain.ledger.save_proposal(height, b"d" * 32, [b"body"])
    chain.ledger.pinned = [object()]
    load(chain.ledger, source)
    assert [pinned.head for pinned in chain.ledger.pinned] == [source.ledger.head]
    again = open_again(storage, chain.trace)
    for ledger in (chain.ledger, again):
        assert (ledger.head, ledger.base) == (source.ledger.head, NEW)
        assert ledger.rosters == source.ledger.rosters and not ledger.is_loading
        assert ledger.header(1) == source.ledger.header(1)
        assert ledger.state_at(NEW).get(TABLE_ACCOUNT, SENDER) == ledger.get(TABLE_ACCOUNT, SENDER)
        assert ledger.get(TABLE_ACCOUNT, SENDER) == source.ledger.get(TABLE_ACCOUNT, SENDER)
        with pytest.raises(StateNotKept):
            ledger.state_at(OLD)
        assert ledger.load_proposal(OLD + 1, b"d" * 32) is None
        assert ledger.load_proposal(NEW + 1, b"d" * 32) == (b"body",)
    assert state_of(storage) == state_of(source.storage)
    kinds = {key[:1] for key in all_of(storage)}
    assert kinds == set(map(bytes, zip(b"EHMNPSV", strict=True))) - {b"V"}, "nothing of old blocks"
    chain.ledger = again
    grow(chain, NEW)
    chain.commit(signed(nonce=NEW))


def test_whichever_write_is_the_last_one_nothing_is_taken_back(source, monkeypatch):
    """The chain is the old one or the new one, and once it is new it stays so (P13)."""
    monkeypatch.setattr(state_import, "AT_ONCE", 7)

    def begin():
        chain = grow(Chain(DyingStorage()), OLD)
        chain.ledger.save_records([ViewRecord(1, 0, 0), vote(OLD + 1)])
        return chain

    whole = begin()
    made = whole.storage.made
    load(whole.ledger, source)
    writes, expected = whole.storage.made - made, dict(whole.storage.records)
    assert writes > 12, "each kind of batch more than once"
    heads = []
    for last in range(writes):
        chain = begin()
        before = dict(chain.storage.records)
        chain.storage.writes_left = last
        with pytest.raises(Died):
            load(chain.ledger, source)
        chain.storage.writes_left = 1  # and once more, at the first write of the next start
        try:
            ledger = open_again(chain.storage, chain.trace)
        except Died:
            chain.storage.writes_left = None
            ledger = open_again(chain.storage, chain.trace)
        heads.append(ledger.head.number)
        assert chain.storage.records == (before if ledger.head.number == OLD else expected)
        assert ledger.lost_votes == ""
        assert (vote(OLD + 1) in ledger.load_records()) == (ledger.head.number == OLD)
        chain.storage.writes_left = None
    assert heads == sorted(heads) and set(heads) == {OLD, NEW}


def test_a_load_that_is_given_up_leaves_everything_as_it_was(source, storage):
    chain = grow(Chain(storage), OLD)
    before = all_of(storage)
    chain.ledger.import_state({b"S" + b"a" * 21: b"a value"})
    assert chain.ledger.get(b"a", b"a" * 20) == b""
    with pytest.raises(DamagedData, match="of 2 entries of a state, 1 can be read"):
        chain.ledger.check_import(2)
    chain.ledger.drop_import()
    assert all_of(storage) == before
    grow(chain, NEW)


def test_what_is_left_to_do_must_be_readable(source):
    chain = grow(Chain(), OLD)
    chain.storage.write({schema.KEY_IMPORT: b"\xc1"}, [schema.KEY_HEAD])
    with pytest.raises(DamagedData, match="state that was being loaded is malformed"):
        open_again(chain.storage, chain.trace)


def test_a_node_that_loaded_a_state_starts_again(source, tmp_path):
    """There are no headers between block 0 and those that came with the state."""
    trace = MemoryTrace()

    def build(storage, lost):
        return Ledger(storage, build_genesis(kit.GENESIS), trace, lost=lost)

    ledger = open_chain(tmp_path / "data", build)
    load(ledger, source, below=2)
    ledger.close()
    again = open_chain(tmp_path / "data", build)
    assert (again.head.number, again.base, again.damage.reads) == (NEW, NEW, 0)
    loaded = NEW - 2
    assert again._storage.get(schema.KEY_LOADED) == loaded.to_bytes(8, "big")
    assert again.mend_from_memory(schema.KEY_LOADED)
    # The Lowu of before did not write how few headers there are.
    again._storage.write({}, [schema.KEY_LOADED])
    again.close()
    again = open_chain(tmp_path / "data", build)
    assert again.head.number == NEW
    again.close()
    assert not list(tmp_path.glob("*damaged*"))


def test_a_gap_in_the_headers_above_a_loaded_state_is_damage(source, tmp_path):
    def build(storage, lost):
        return Ledger(storage, build_genesis(kit.GENESIS), MemoryTrace(), lost=lost)

    ledger = open_chain(tmp_path / "data", build)
    load(ledger, source, below=2)
    ledger._storage.write({}, [schema.height_key(b"H", NEW - 1)])
    ledger.close()
    open_chain(tmp_path / "data", build).close()
    assert list(tmp_path.glob("*damaged*"))


def test_a_chain_that_has_become_shorter_than_the_votes_it_settled_abstains(storage):
    """A vote for block 2 was dropped with the block: without it, it could be made again (P05)."""
    chain = grow(Chain(storage), OLD)
    chain.ledger.save_records([ViewRecord(1, 0, 0), vote(OLD)])
    shorter = all_of(storage)
    chain.ledger.save_records([vote(OLD + 1)])
    grow(chain, OLD + 1)
    chain.ledger.save_records([vote(OLD + 2)])
    assert open_again(storage, chain.trace).lost_votes == ""
    # The chain of block 2, as another node has it, with this one's own votes.
    votes = {key: value for key, value in all_of(storage).items() if key[:1] == b"V"}
    own = (schema.KEY_VOTES, schema.KEY_SETTLED)
    votes |= {key: storage.get(key) for key in own}
    storage.write({**shorter, **votes}, [])
    ledger = open_again(storage, chain.trace)
    assert ledger.head.number == OLD
    assert ledger.lost_votes == "its chain ends at block 2, its votes are dropped up to 3"
    assert not [item for item in ledger.load_records() if isinstance(item, VoteRecord)]
    # Only a new record of its view ends that, and only then is a lower height written (R-WIPE-1).
    ledger.save_records([EVIDENCE])
    assert ledger.lost_votes and dropped_up_to(storage) == OLD + 1
    assert open_again(storage, chain.trace).lost_votes
    ledger = open_again(storage, chain.trace)
    ledger.save_records([ViewRecord(1, 0, 0)])
    assert not ledger.lost_votes and dropped_up_to(storage) == OLD
    assert open_again(storage, chain.trace).lost_votes == ""


def dropped_up_to(storage):
    return int.from_bytes(storage.get(schema.KEY_SETTLED), "big")


def test_how_far_votes_are_dropped_never_falls(storage):
    chain = grow(Chain(storage), OLD)
    chain.ledger.save_records([ViewRecord(1, 0, 0), vote(OLD + 1)])
    assert dropped_up_to(storage) == OLD
    chain.ledger.head = replace(chain.ledger.head, number=OLD - 1)
    chain.ledger.save_records([vote(OLD + 1)])
    assert dropped_up_to(storage) == OLD


def test_a_damaged_height_of_dropped_votes_costs_the_votes_and_no_more():
    chain = grow(Chain(), OLD)
    chain.ledger.save_records([ViewRecord(1, 0, 0), vote(OLD + 1)])
    chain.storage.records[schema.KEY_SETTLED] = b"damaged"
    ledger = open_again(chain.storage, chain.trace)
    assert "is damaged" in ledger.lost_votes and ledger.head.number == OLD
    assert dropped_up_to(chain.storage) == OLD


def test_a_state_below_the_head_is_refused(source):
    chain = grow(Chain(), NEW)
    before = all_of(chain.storage)
    stage(chain.ledger, source)
    with pytest.raises(StorageError, match="not above head 6"):
        chain.ledger.end_import(block_of(source))
    chain.ledger.drop_import()
    assert all_of(chain.storage) == before and not chain.ledger.is_loading


def test_a_damaged_entry_is_found_before_the_own_state_is_given_up(source):
    chain = grow(Chain(), OLD)
    entries = stage(chain.ledger, source)
    key = next(chain.storage.keys(schema.PREFIX_STAGED, b"J"))
    chain.storage.records[key] = chain.storage.records[key][:-1] + b"?"
    with pytest.raises(DamagedData):
        chain.ledger.check_import(entries)
    assert chain.ledger.head.number == OLD and open_again(chain.storage, chain.trace)


def test_changes_of_the_group_come_with_the_state(source):
    chain = grow(Chain(), OLD)
    first = chain.ledger.rosters[0][1]
    changed = replace(first, observers=(*first.observers, b"o" * 64))
    at = NEW - 1
    change = RosterChange(source.ledger.header(at), source.ledger.certificate(at), changed)
    stage(chain.ledger, source)
    chain.ledger.end_import(block_of(source, changes=[change]))
    expected = [(1, first), (at + 1, changed)]
    assert chain.ledger.rosters == open_again(chain.storage, chain.trace).rosters == expected


def test_what_is_read_while_the_state_is_replaced_is_refused_and_not_remembered(source):
    chain = grow(Chain(), OLD)
    ledger, storage = open_again(chain.storage, chain.trace), chain.storage
    stage(ledger, source)
    write, get, refused = storage.write, storage.get, []

    def write_and_read(puts, deletes=()):
        write(puts, deletes)
        for read in (ledger.block, ledger.snapshot, ledger.state_at):
            try:
                read(1) if read != ledger.snapshot else read()
            except StateLoading:
                refused.append(read.__name__)

    def get_late(key):
        value = get(key)
        storage.get, storage.write = get, write_and_read
        ledger.end_import(block_of(source))  # while another thread has just read a value
        storage.write = write
        return value

    storage.get = get_late
    ledger.get(TABLE_ACCOUNT, SENDER)
    assert set(refused) == {"block", "snapshot", "state_at"} and ledger.damage.reads == 0
    assert ledger.get(TABLE_ACCOUNT, SENDER) == source.ledger.get(TABLE_ACCOUNT, SENDER)


def test_another_chains_data_is_left_as_it_is(source):
    chain = grow(Chain(), OLD)
    stage(chain.ledger, source)
    before = dict(chain.storage.records)
    other = build_genesis(replace(kit.GENESIS, tx_gas_limit=10**7))
    with pytest.raises(StorageError, match="another genesis"):
        Ledger(chain.storage, other, chain.trace)
    assert chain.storage.records == before


def test_the_doctor_finds_no_damage_in_a_load_that_was_cut_short(source):
    chain = grow(Chain(DyingStorage()), OLD)
    stage(chain.ledger, source)
    key = next(chain.storage.keys(schema.PREFIX_STAGED, b"J"))
    whole, chain.storage.records[key] = chain.storage.records[key], b"damaged"
    inspector = Inspector(kit.GENESIS, build_genesis(kit.GENESIS), chain.storage)
    inspector._look_at_records()
    assert inspector.result.findings == [], "what was not loaded is dropped at the next start"
    chain.storage.records[key] = whole
    chain.storage.writes_left = 1
    with pytest.raises(Died):
        chain.ledger.end_import(block_of(source))
    inspector = Inspector(kit.GENESIS, build_genesis(kit.GENESIS), chain.storage)
    found = inspector.look(chain.trace, is_full=True)
    assert found.is_loading and found.findings == []
