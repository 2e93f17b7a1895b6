"""A state that replaces a ledger's own: whatever interrupts it, nothing is taken back."""

import pytest

from lowu.consensus.records import ViewRecord, VoteKind, VoteRecord
from lowu.node.errors import DamagedData
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger import schema, state_import
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.opening import open_chain
from lowu.node.ledger.state_import import SnapshotBlock
from lowu.node.ledger.state_snapshot import PinnedState, decode_chunk, digest_rosters
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import MemoryTrace
from tests.unit import node_kit as kit
from tests.unit.node_kit import Chain, signed

OLD, NEW = 2, 6
TRANSACTIONS = [signed(nonce=nonce) for nonce in range(NEW)]


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


def load(ledger, source, below=NEW - 1):
    """Load the state of another chain's head, as the client of snapshots does."""
    theirs, head = source.ledger, source.ledger.head
    header = theirs.header(head.number)
    view = source.storage.ordered_snapshot()
    state = PinnedState(head, header.hash, digest_rosters(theirs.rosters), view)
    for place in range(len(state.build_manifest().chunks)):
        ledger.import_state(decode_chunk(state.read_chunk(place)))
    heights = range(head.number - 1, head.number - 1 - below, -1)
    headers = [(theirs.header(number), theirs.certificate(number)) for number in heights]
    ledger.end_import(SnapshotBlock(header, theirs.certificate(head.number), head, [], headers))


def state_of(storage):
    return dict(storage.scan(b"S", b"T"))


def open_again(storage, trace):
    return Ledger(storage, build_genesis(kit.GENESIS), trace)


def test_a_state_replaces_the_own_one(source, storage):
    chain = grow(Chain(storage), OLD)
    chain.ledger.save_proposal(OLD + 1, b"d" * 32, [b"body"])
    load(chain.ledger, source)
    again = open_again(storage, chain.trace)
    for ledger in (chain.ledger, again):
        assert (ledger.head, ledger.base) == (source.ledger.head, NEW)
        assert ledger.rosters == source.ledger.rosters and not ledger.is_loading
        assert ledger.header(1) == source.ledger.header(1)
    assert state_of(storage) == state_of(source.storage)
    left = [key for prefix in (b"B", b"R", b"T", b"I", b"P") for key in storage.keys(
        prefix, bytes((prefix[0] + 1,)))]  # fmt: skip
    assert left == [], "nothing of blocks that it does not keep, and nothing beside"
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
    before = list(storage.scan(b"", b"\xff"))
    chain.ledger.import_state({b"S" + b"a" * 21: b"a value"})
    assert chain.ledger.get(b"a", b"a" * 20) == b""
    chain.ledger.drop_import()
    assert list(storage.scan(b"", b"\xff")) == before
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
    again.close()
    assert not list(tmp_path.glob("*damaged*"))


def test_a_chain_that_has_become_shorter_than_the_votes_it_settled_abstains(storage):
    """A vote for block 2 was dropped with the block: without it, it could be made again (P05)."""
    chain = grow(Chain(storage), OLD)
    chain.ledger.save_records([ViewRecord(1, 0, 0), vote(OLD)])
    shorter = dict(storage.scan(b"", b"\xff"))
    chain.ledger.save_records([vote(OLD + 1)])
    grow(chain, OLD + 1)
    chain.ledger.save_records([vote(OLD + 2)])
    assert open_again(storage, chain.trace).lost_votes == ""
    # The chain of block 2, as another node has it, with this one's own votes.
    votes = {key: value for key, value in storage.scan(b"", b"\xff") if key[:1] == b"V"}
    own = (schema.KEY_VOTES, schema.KEY_SETTLED)
    votes |= {key: storage.get(key) for key in own}
    storage.write({**shorter, **votes}, [])
    ledger = open_again(storage, chain.trace)
    assert ledger.head.number == OLD
    assert ledger.lost_votes == "its chain ends at block 2, its votes are dropped up to 3"
    assert not [item for item in ledger.load_records() if isinstance(item, VoteRecord)]
