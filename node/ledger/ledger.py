"""The ledger: only it moves the chain's head.

`commit` writes a block, its certificate, receipts, state and indexes, and deletes the proposals
that it settles, in one synced atomic batch. The block is committed once `commit` has returned. A
crash leaves the chain at one block or the next, never in between.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from lowu.consensus.messages import CommitCertificate
from lowu.consensus.records import Record
from lowu.node.chain.block import Block, Header
from lowu.node.chain.receipt import Receipt, decode_receipt
from lowu.node.chain.roster import Roster, decode_roster, encode_roster
from lowu.node.crypto import keccak256
from lowu.node.errors import BlockNotKept, DamagedData, StateLoading, StorageError
from lowu.node.execution.executor import ExecutedBlock, Parent
from lowu.node.execution.flat_state import StateReader
from lowu.node.ledger import schema, state_import
from lowu.node.ledger.past_state import History
from lowu.node.ledger.schema import Head, height_key, state_key
from lowu.node.ledger.state_cache import StateCache
from lowu.node.ledger.state_import import SnapshotBlock
from lowu.node.ledger.state_snapshot import PinnedState, digest_rosters
from lowu.node.ledger.storage import Storage
from lowu.node.ledger.vote_trace import VoteTrace
from lowu.node.ledger.votes import VoteRecords
from lowu.node.metrics import CpuTimes, DamageCount, Part
from lowu.node.settings import Kept

HEADER_CACHE_MAX = 512
KEPT = Kept()
EMPTY_LIST = schema.encode_list(())
DROPPED_AT_ONCE = 16
"""Old blocks that are dropped with each new one, at most."""
PINNED_MAX = 2
"""Pinned states: whoever fetches one has the time to the one after the next."""


class Ledger:
    """A chain over a storage. Not safe for two writers; reads may come from other threads."""

    def __init__(
        self,
        storage: Storage,
        genesis: ExecutedBlock,
        trace: VoteTrace,
        first_records: Sequence[Record] = (),
        cpu: CpuTimes | None = None,
        lost: str = "",
        kept: Kept = KEPT,
    ) -> None:
        """Open a chain, or start it with its genesis block and the first consensus records.

        Only a node's first start passes first records; `lost` says why any other start begins
        with an empty database. `kept` says what it keeps besides the chain.
        """
        self._storage = storage
        self._genesis = genesis
        self._history = History(storage, kept.history_blocks)
        self._votes = VoteRecords(storage, trace)
        self.cpu = cpu or CpuTimes()
        self._cache = StateCache()
        self._headers: OrderedDict[int, tuple[Header, CommitCertificate]] = OrderedDict()
        self.genesis_hash = genesis.header.hash
        self.genesis_certificate = build_genesis_certificate(genesis.header)
        self.rosters: list[tuple[int, Roster]] = []
        """The group's nodes, each list with the first height to which it applies."""
        self.head, self.base = Head(0, 0, 0), 0
        self.is_loading = False
        """Whether the state is being replaced by a snapshot, and cannot be read."""
        if any(storage.get(key) is not None for key in (schema.KEY_FORMAT, schema.KEY_HEAD)):
            self._check_origin()
            state_import.resume(storage)
        self.base = int.from_bytes(storage.get(schema.KEY_BASE) or b"", "big")
        """The blocks above this one are kept; of those up to it, there are headers at most."""
        self._loaded = storage.get(schema.KEY_LOADED)
        self.pinned: list[PinnedState] = []
        """The last states that were pinned, the newest last."""
        self._snapshot_blocks = kept.snapshot_blocks
        self._keep_blocks = kept.keep_blocks
        stored = storage.get(schema.KEY_HEAD)
        if stored is None:
            records = self._block_records(genesis, self.genesis_certificate, self.head)
            signed = self._votes.begin(first_records, lost)
            form = {schema.KEY_FORMAT: schema.find_format(genesis.roster)}
            storage.write({**_state_records(genesis), **records, **signed, **form})
            self._votes.begun()
            self._note_roster(genesis)
        else:
            self.head = schema.decode_head(stored)
            self._sealed_header(self.head.number)
            for key, data in storage.scan(schema.PREFIX_ROSTER, schema.PREFIX_ROSTER_END):
                self.rosters.append((int.from_bytes(key[1:], "big"), decode_roster(data)))
            self._votes.open(self.head.number, is_first_start=bool(first_records))
        self._history.open(self.head.number)
        if self._snapshot_blocks and self.head.number:
            self._pin()  # if all have restarted, and nothing is committed, it is all that there is

    def _check_origin(self) -> None:
        """Refuse a database of another format or chain."""
        written = self._storage.get(schema.KEY_FORMAT)
        if written is None and self._storage.get(schema.KEY_VOTES) is not None:
            raise DamagedData("the database is damaged (it lacks its first records)")
        if written not in schema.FORMATS:
            raise StorageError(
                f"the data is of format {(written or b'1').decode(errors='replace')}, this Lowu "
                f"reads {schema.tell_formats()}. Use the Lowu that wrote it, or start a new "
                "network in another folder: a chain keeps the contracts of its first block, and "
                "those of this version are others."
            )
        stored, _ = self._sealed_header(0)
        if stored.hash != self.genesis_hash:
            raise StorageError(
                "the data belongs to another genesis "
                f"({stored.hash.hex()[:16]}, configured {self.genesis_hash.hex()[:16]}). "
                "Restore the old config.genesis, or remove the node's data folder."
            )

    # --- state ----------------------------------------------------------------------------

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return a value of the committed state, or b""."""
        return self._read(state_key(table, key))

    def _read(self, wanted: bytes) -> bytes:
        if self.is_loading:
            raise StateLoading
        value = self._cache.get(wanted)
        if value is None:
            commits = self._cache.commits
            value = self._storage.get(wanted) or b""
            self._cache.remember(wanted, value, commits)
        return value

    def snapshot(self) -> StateReader:
        """Return a view of the committed state that later commits do not change."""
        if self.is_loading:
            raise StateLoading
        return _Snapshot(self._storage.snapshot())

    def state_at(self, number: int) -> StateReader:
        """Return the state after a block, which later commits do not change.

        Raises:
            StateNotKept: the block is too old, or above the head.
        """
        if self.is_loading:
            raise StateLoading
        return self._history.state_at(number)

    def parent(self) -> Parent:
        """Return the committed tip as the parent of the next block."""
        return Parent(self.header(self.head.number), self)

    # --- blocks ---------------------------------------------------------------------------

    def _sealed_header(self, number: int) -> tuple[Header, CommitCertificate]:
        cached = self._headers.get(number)
        if cached is not None:
            return cached
        data = self._storage.get(height_key(b"H", number))
        if data is None:
            raise self._missing(number)
        found = schema.decode_sealed_header(data)
        if found[0].hash != found[1].block_hash or found[0].number != number:
            raise DamagedData(f"block {number} does not fit its certificate")
        self._remember(number, found)
        return found

    def _remember(self, number: int, found: tuple[Header, CommitCertificate]) -> None:
        self._headers[number] = found
        while len(self._headers) > HEADER_CACHE_MAX:
            self._headers.popitem(last=False)

    def header(self, number: int) -> Header:
        """Return the header of a committed block; `StorageError` above the head."""
        return self._sealed_header(number)[0]

    def certificate(self, number: int) -> CommitCertificate:
        """Return the certificate that committed a block."""
        return self._sealed_header(number)[1]

    def block(self, number: int) -> Block:
        """Return a committed block with its transactions."""
        header, certificate = self._sealed_header(number)
        return Block(header, self._list(b"B", number), certificate)

    def receipts(self, number: int) -> tuple[Receipt, ...]:
        """Return the receipts of a committed block, in order."""
        return tuple(decode_receipt(item) for item in self.receipt_records(number))

    def receipt_records(self, number: int) -> tuple[bytes, ...]:
        """Return the receipts of a committed block as they are stored."""
        return self._list(b"R", number)

    def _list(self, prefix: bytes, number: int) -> tuple[bytes, ...]:
        data = self._storage.get(height_key(prefix, number))
        if data is None:
            raise self._missing(number)
        return schema.decode_list(data)

    def _missing(self, number: int) -> Exception:
        if self.is_loading:
            return StateLoading()
        if number > self.head.number:
            return StorageError(f"block {number} is above the head {self.head.number}")
        if 0 < number <= self.base:
            return BlockNotKept(number, self.base + 1)
        error = DamagedData(f"block {number} is missing from the data")
        self.damage.note(str(error))
        return error

    def find_block(self, block_hash: bytes) -> int | None:
        """Return the height of a block hash."""
        data = self._storage.get(b"N" + block_hash)
        return None if data is None else int.from_bytes(data, "big")

    def find_transaction(self, tx_hash: bytes) -> tuple[int, int] | None:
        """Return height and index of a committed transaction."""
        data = self._storage.get(b"T" + tx_hash)
        return None if data is None else schema.decode_position(data)

    def has_transaction(self, tx_hash: bytes) -> bool:
        """Whether a transaction is committed; one whose record is damaged counts as that.

        A peer may send it again at any time, and must not end the node by that.
        """
        try:
            return self._storage.get(b"T" + tx_hash) is not None
        except DamagedData:
            return True

    # --- the one write that moves the head --------------------------------------------------

    def commit(self, executed: ExecutedBlock, certificate: CommitCertificate) -> None:
        """Make a block the new head, durably.

        Raises:
            StorageError: the block does not extend the head, or the disk failed.
        """
        header = executed.header
        if (header.number, header.parent_hash) != (
            self.head.number + 1,
            self.header(self.head.number).hash,
        ):
            raise StorageError(f"block {header.number} does not stand on head {self.head.number}")
        if certificate.block_hash != header.hash:
            raise StorageError(f"certificate of block {header.number} is for another block")
        failed = sum(not receipt.is_success for receipt in executed.receipts)
        head = Head(
            header.number,
            self.head.tx_count + len(executed.transactions),
            self.head.failed_tx_count + failed,
        )
        state = _state_records(executed)
        with self.cpu.measure(Part.STORAGE, len(executed.transactions)):
            past, deletes = self._history.extend(header.number, state, self._read)
            puts = {**state, **past, **self._block_records(executed, certificate, head)}
            deletes = [*deletes, *self._settled_keys(header.number)]
            base = self._find_base(header.number)
            if base > self.base:
                puts[schema.KEY_BASE] = base.to_bytes(8, "big")
                deletes += self._body_keys(range(self.base + 1, base + 1))
                self.base = base  # before they are gone: whoever reads now is told so
            self._storage.write(puts, deletes)
        self._cache.on_commit(state)
        self._remember(header.number, (header, certificate))
        self.head = head
        self._note_roster(executed)
        if self._snapshot_blocks and head.number % self._snapshot_blocks == 0:
            self._pin()

    def _pin(self) -> None:
        """Keep the state after the head, for nodes that are far behind."""
        head, view = self.head, self._storage.ordered_snapshot()
        pinned = PinnedState(
            head, self.header(head.number).hash, digest_rosters(self.rosters), view
        )
        self.pinned = [*self.pinned, pinned][-PINNED_MAX:]

    def _find_change(self, executed: ExecutedBlock) -> Roster | None:
        """Return the group's nodes after a block, if it has changed them."""
        known = self.rosters[-1][1] if self.rosters else None
        return executed.roster if executed.roster != known else None

    def _note_roster(self, executed: ExecutedBlock) -> None:
        changed = self._find_change(executed)
        if changed is not None:
            self.rosters.append((executed.header.number + 1, changed))

    def _block_records(
        self, executed: ExecutedBlock, certificate: CommitCertificate, head: Head
    ) -> dict[bytes, bytes]:
        header = executed.header
        hashes = [item.hash for item in executed.transactions]
        raws = [item.raw for item in executed.transactions]
        puts = schema.header_records(header, certificate)
        puts |= schema.body_records(header.number, hashes, raws, executed.receipt_records)
        changed = self._find_change(executed)
        if changed is not None:
            puts[height_key(schema.PREFIX_ROSTER, header.number + 1)] = encode_roster(changed)
        puts[schema.KEY_HEAD] = schema.encode_head(head)
        return puts

    def _settled_keys(self, number: int) -> list[bytes]:
        """Return the keys of the proposals that a block makes obsolete."""
        start, end = (height_key(schema.PREFIX_PROPOSAL, at) for at in (0, number + 1))
        return list(self._storage.keys(start, end))

    def _find_base(self, number: int) -> int:
        """Return up to which block bodies are dropped with block `number`: a few at a time."""
        if not self._keep_blocks:
            return self.base
        return max(self.base, min(number - self._keep_blocks, self.base + DROPPED_AT_ONCE))

    def _body_keys(self, heights: Iterable[int]) -> list[bytes]:
        """Return the keys of blocks' transactions and receipts."""
        keys: list[bytes] = []
        for height in heights:
            keys += height_key(b"B", height), height_key(b"R", height)
            with suppress(DamagedData):  # the index of its transactions stays
                data = self._storage.get(height_key(b"B", height))
                keys += [b"T" + keccak256(raw) for raw in schema.decode_list(data or EMPTY_LIST)]
        return keys

    # --- damage -----------------------------------------------------------------------------

    @property
    def damage(self) -> DamageCount:
        """Damage found in the storage since the start."""
        return self._storage.damage

    def read_record(self, key: bytes) -> bytes | None:
        """Return a record as it is on disk, whatever is remembered of it."""
        return self._storage.get(key)

    def scan_damaged(self, after: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield all records above a key, with None for the value of a damaged one."""
        return self._storage.scan_damaged(after)

    def mend_block(self, block: Block, receipts: Sequence[bytes]) -> bool:
        """Write a committed block anew, which must fit its certificate, as must its receipts."""
        number = block.header.number
        if number > self.head.number:
            return False  # the chain has begun again meanwhile
        puts = schema.header_records(block.header, block.certificate)
        if number > self.base:
            hashes = [keccak256(raw) for raw in block.transactions]
            puts |= schema.body_records(number, hashes, block.transactions, receipts)
        return self._mend(puts)

    def mend_genesis(self) -> bool:
        """Write block 0 anew."""
        header = self._genesis.header
        puts = schema.header_records(header, self.genesis_certificate)
        return self._mend(puts | schema.body_records(0, [], [], []))

    def _mend(self, puts: Mapping[bytes, bytes]) -> bool:
        self._storage.write(puts)
        self.damage.mended += 1
        return True

    def mend_from_memory(self, key: bytes) -> bool:
        """Write a record anew that the ledger knows by heart; False if it does not know it."""
        known = {
            schema.KEY_HEAD: schema.encode_head(self.head),
            schema.KEY_FORMAT: schema.find_format(self._genesis.roster),
        }
        if self.base:
            known[schema.KEY_BASE] = self.base.to_bytes(8, "big")
        if self._loaded:
            known[schema.KEY_LOADED] = self._loaded
        for first_height, roster in self.rosters:
            known[height_key(schema.PREFIX_ROSTER, first_height)] = encode_roster(roster)
        return key in known and self._mend({key: known[key]})

    # --- a snapshot instead of blocks -------------------------------------------------------

    def import_state(self, entries: Mapping[bytes, bytes]) -> None:
        """Write entries of another node's state beside the own one."""
        state_import.add(self._storage, entries)

    def drop_import(self) -> None:
        """Drop what was written of a state: the ledger stays as it is."""
        state_import.drop(self._storage)

    def check_import(self, entries: int) -> None:
        """Raise `DamagedData` unless so many entries of a state can be read, all of them."""
        state_import.check(self._storage, entries)

    @property
    def free_bytes(self) -> int:
        """Room that is left on the disk."""
        return self._storage.free_bytes()

    def end_import(self, block: SnapshotBlock) -> None:
        """Make a snapshot's block the head. Its proof must have been checked.

        Nothing can be read meanwhile.

        Raises:
            StorageError: the block is not above the head; or the disk failed, and the next start
                goes on with it.
        """
        if block.head.number <= self.head.number:
            raise StorageError(
                f"the state of block {block.head.number} is not above head {self.head.number}"
            )
        self.is_loading, self.pinned = True, []
        first = self.rosters[0][1]
        state_import.finish(self._storage, block, first)
        self.head = block.head
        self.base = block.head.number
        self._cache.clear()
        self._headers.clear()
        self._loaded = self._storage.get(schema.KEY_LOADED)
        self.rosters = [
            (1, first),
            *((item.header.number + 1, item.roster) for item in block.changes),
        ]
        self._history.open(self.head.number)
        self.is_loading = False
        if self._snapshot_blocks:
            self._pin()  # others may need it before there is a newer one

    # --- consensus records and proposal bodies ----------------------------------------------

    @property
    def lost_votes(self) -> str:
        """Why votes of this node may be lost, so that it abstains; "" if none are."""
        return self._votes.lost

    def save_records(self, records: Collection[Record]) -> None:
        """Make vote records durable, and traced: then the votes may be sent."""
        with self.cpu.measure(Part.STORAGE):
            self._votes.save(records, self.head.number)

    def load_records(self) -> list[Record]:
        """Return all vote records above the head, and those without a height."""
        return self._votes.load(self.head.number)

    def save_proposal(self, number: int, digest: bytes, transactions: Iterable[bytes]) -> None:
        """Make the bodies of a proposal durable; needed before this node votes for it."""
        key = schema.proposal_key(number, digest)
        with self.cpu.measure(Part.STORAGE):
            self._storage.write({key: schema.encode_list(transactions)})

    def load_proposal(self, number: int, digest: bytes) -> tuple[bytes, ...] | None:
        """Return the bodies of a proposal, or None."""
        data = self._storage.get(schema.proposal_key(number, digest))
        return None if data is None else schema.decode_list(data)

    def close(self) -> None:
        """Close the storage and the trace of the last vote."""
        self._votes.close()
        self.pinned = []  # views of a database keep it open
        self._storage.close()


def _state_records(executed: ExecutedBlock) -> dict[bytes, bytes]:
    return {state_key(table, key): value for (table, key), value in executed.writes.items()}


class _Snapshot:
    """The state at one moment."""

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return a value, or b""."""
        return self._read(state_key(table, key)) or b""


def build_genesis_certificate(header: Header) -> CommitCertificate:
    """Return the certificate of block 0, which needs no signatures."""
    return CommitCertificate(0, header.proposal_digest, header.hash, ())
