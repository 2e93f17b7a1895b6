"""The consensus records on disk, and how their loss is detected.

Every step's records are written in one synced batch together with a `Memory`: a number that
grows by one, and a digest over all records in the database. Then the same mark is written to the
trace outside the database, and only then may messages of the step be sent (R-SAFE-3). A start
compares the three: records, their digest, and the trace. On any doubt the node drops its votes,
so that the validator abstains (R-WIPE-1), and keeps the reason until it votes again.

Records of committed heights are deleted with the next step, not with their block, so that only
steps change the set of records that the digest covers.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from hashlib import blake2b

import msgpack

from lowu.consensus.records import (
    Record,
    ViewRecord,
    decode_record,
    encode_record,
    height_key_range,
    record_key,
)
from lowu.node.errors import DamagedData
from lowu.node.ledger import schema
from lowu.node.ledger.storage import Storage
from lowu.node.ledger.vote_trace import DIGEST_BYTES, NO_MARK, Mark, Memory, VoteTrace, find_loss

DATA_GONE = (
    "the data of this validator was lost: its database is empty, but this is not its first start"
)

log = logging.getLogger("CONSENSUS")


class VoteRecords:
    """The consensus records of a node. Only the thread that runs the replica writes."""

    def __init__(self, storage: Storage, trace: VoteTrace) -> None:
        self._storage = storage
        self._trace = trace
        self._hashes: dict[bytes, int] = {}
        """By key, for all records in the database."""
        self._digest = 0
        """Of all records: it detects accidents, not attackers."""
        self._memory = Memory(NO_MARK, NO_MARK)
        self._settled = 0
        """The head at the last step."""
        self._dropped = 0
        """The height up to which votes are dropped, as it is on disk."""
        self.lost = ""
        """Why votes may be lost; "" once this node votes again."""

    # --- starting ---------------------------------------------------------------------------

    def begin(self, records: Iterable[Record], lost: str) -> dict[bytes, bytes]:
        """Return the first records of a new database; call `begun` once they are durable."""
        puts = {vote_key(item): encode_record(item) for item in records}
        self.lost = "" if puts else lost or DATA_GONE
        return {**puts, **self._advance(puts, ()), **self._reason()}

    def begun(self) -> None:
        """Start the trace of a new database."""
        self._trace.create(self._memory)

    def open(self, head: int, *, is_first_start: bool) -> None:
        """Load the records of a database, or drop its votes if some may be missing.

        Votes up to some block were dropped because the chain had reached it. If it ends below that
        block now, at `head`, whatever has shortened it, other votes could be made there.

        A first start that crashed between its two writes left a database without a trace; such
        a node has sent nothing yet.
        """
        rows = dict(self._storage.scan(schema.PREFIX_VOTE, schema.PREFIX_VOTE_END))
        for key, value in rows.items():
            self._put(key, value)
        self._memory = decode_memory(self._storage.get(schema.KEY_VOTES))
        self.lost = (self._storage.get(schema.KEY_LOST) or b"").decode()
        slots = self._trace.read()
        if slots is None and is_first_start and self._memory.before == NO_MARK:
            self._trace.create(self._memory)
            return
        loss = find_loss(slots, self._memory)
        if _pack(self._digest) != self._memory.last.digest:
            loss = "some of its vote records are missing"
        try:
            self._dropped = int.from_bytes(self._storage.get(schema.KEY_SETTLED) or b"", "big")
        except DamagedData:
            self._dropped = head
            loss = "the record of how far its votes are dropped is damaged"
        if self._dropped > head:
            loss = f"its chain ends at block {head}, its votes are dropped up to {self._dropped}"
        if loss:
            self._forget(loss)
        elif slots is not None and self._memory.last not in slots:
            self._trace.write(self._memory.last)  # the step's unsent messages may be sent now

    def _forget(self, loss: str) -> None:
        """Drop the votes, durably: without a record of its view a validator abstains."""
        log.warning("votes may be lost,reason=%s", loss)
        self.lost = loss
        deletes = [key for key in self._hashes if not key.startswith(schema.PREFIX_EVIDENCE)]
        puts = self._advance({}, deletes)
        puts[schema.KEY_SETTLED] = self._dropped.to_bytes(8, "big")
        self._storage.write({**puts, **self._reason()}, deletes)
        self._trace.create(self._memory)

    def _reason(self) -> dict[bytes, bytes]:
        return {schema.KEY_LOST: self.lost.encode()} if self.lost else {}

    # --- running ----------------------------------------------------------------------------

    def load(self, head: int) -> list[Record]:
        """Return all records except votes for heights up to the head."""
        rows = self._storage.scan(schema.PREFIX_VOTE, schema.PREFIX_VOTE_END)
        return [decode_record(value) for key, value in rows if not _is_settled(key, head)]

    def save(self, records: Collection[Record], head: int) -> None:
        """Make records durable, in the database and in its trace: then they may be sent.

        A validator that had lost votes votes again once it saves a record of its view (R-WIPE-1).

        Raises:
            StorageError: they may not be durable; no message of the step may be sent.
        """
        puts = {vote_key(item): encode_record(item) for item in records}
        deletes: list[bytes] = []
        if head != self._settled:
            deletes = [key for key in self._hashes if _is_settled(key, head) and key not in puts]
        memory = self._advance(puts, deletes)
        votes_again = bool(self.lost) and any(isinstance(item, ViewRecord) for item in records)
        dropped = head if votes_again else max(head, self._dropped)
        if dropped != self._dropped:
            memory[schema.KEY_SETTLED] = dropped.to_bytes(8, "big")
        if votes_again:
            deletes.append(schema.KEY_LOST)
        self._storage.write({**puts, **memory}, deletes)
        self._trace.write(self._memory.last)
        self._settled, self._dropped = head, dropped
        if votes_again:
            self.lost = ""

    def _advance(self, puts: dict[bytes, bytes], deletes: Iterable[bytes]) -> dict[bytes, bytes]:
        """Apply a step's changes to the digest; return the `Memory` record after it."""
        for key in deletes:
            self._digest ^= self._hashes.pop(key)
        for key, value in puts.items():
            self._put(key, value)
        mark = Mark(self._memory.last.number + 1, _pack(self._digest))
        self._memory = Memory(mark, self._memory.last)
        return {schema.KEY_VOTES: encode_memory(self._memory)}

    def _put(self, key: bytes, value: bytes) -> None:
        new = _hash(key, value)
        self._digest ^= self._hashes.get(key, 0) ^ new
        self._hashes[key] = new

    def close(self) -> None:
        """Release the trace."""
        self._trace.close()


def vote_key(record: Record) -> bytes:
    """Return the key of a consensus record."""
    return schema.PREFIX_VOTE + record_key(record)


def _is_settled(key: bytes, head: int) -> bool:
    """Whether a record is of a height at or below the head."""
    low, high = height_key_range(head)
    return schema.PREFIX_VOTE + low <= key < schema.PREFIX_VOTE + high


def _hash(key: bytes, value: bytes) -> int:
    hasher = blake2b(len(key).to_bytes(2, "big") + key, digest_size=DIGEST_BYTES)
    hasher.update(value)
    return int.from_bytes(hasher.digest(), "big")


def _pack(digest: int) -> bytes:
    return digest.to_bytes(DIGEST_BYTES, "big")


def encode_memory(memory: Memory) -> bytes:
    """Return the stored bytes of the last two steps with votes."""
    marks = memory.last.number, memory.last.digest, memory.before.number, memory.before.digest
    packed: bytes = msgpack.packb(marks)
    return packed


def decode_memory(data: bytes | None) -> Memory:
    """Return the last two steps with votes; `DamagedData` if they are not there."""
    try:
        number, digest, number_before, digest_before = msgpack.unpackb(data or b"")
    except (ValueError, TypeError) as error:
        raise DamagedData("the record of this node's last vote is missing or malformed") from error
    return Memory(Mark(number, digest), Mark(number_before, digest_before))
