"""Replacing a ledger's state by a snapshot of another node's, so that no crash takes anything back.

The new state is collected beside the old one, which stays until all of it is there. Then one batch
gives the old one up, and says what the new head will be: from there on, a start goes on where the
last one ended. So a chain never becomes shorter, and no vote that was dropped with its block can be
made again. Votes and their trace are not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import msgpack

from lowu.consensus.messages import CommitCertificate
from lowu.node.chain.block import Header
from lowu.node.chain.roster import Roster, encode_roster
from lowu.node.errors import DamagedData
from lowu.node.ledger import schema
from lowu.node.ledger.schema import Head, height_key
from lowu.node.ledger.storage import Storage

AT_ONCE = 10_000
"""Records that are deleted or moved in one batch."""
_STAGED_END = bytes((schema.PREFIX_STAGED[0] + 1,))
_REPLACED = ((b"S", b"U"), (b"U", b"V"), (b"B", b"C"), (b"R", b"S"), (b"D", b"F"))
"""State and transactions' places (S and T), what blocks have replaced, their bodies and receipts,
which entries they changed, and the group's nodes (D and E)."""
_CLEARING, _MOVING = 0, 1

log = logging.getLogger("STORAGE")


@dataclass(frozen=True, slots=True)
class RosterChange:
    """A block after which the group was another, and what it was then."""

    header: Header
    certificate: CommitCertificate
    roster: Roster


@dataclass(frozen=True, slots=True)
class SnapshotBlock:
    """The block of a snapshot, and the changes of the group up to it."""

    header: Header
    certificate: CommitCertificate
    head: Head
    changes: Sequence[RosterChange]
    below: Sequence[tuple[Header, CommitCertificate]]
    """The headers before it, as far back as BLOCKHASH sees."""


def add(storage: Storage, entries: Mapping[bytes, bytes]) -> None:
    """Write entries of the new state beside the old one."""
    storage.write({schema.PREFIX_STAGED + key: value for key, value in entries.items()})


def check(storage: Storage, entries: int) -> None:
    """Read everything that was written of a state, before the own one is given up for it.

    Raises:
        DamagedData: an entry cannot be read, or there are not so many.
    """
    found = sum(1 for _ in storage.scan(schema.PREFIX_STAGED, _STAGED_END))
    if found != entries:
        raise DamagedData(f"of {entries} entries of a state, {found} can be read")


def drop(storage: Storage) -> None:
    """Drop what was collected of a state that will not be loaded, if anything."""
    _delete(storage, schema.PREFIX_STAGED, _STAGED_END)


def finish(storage: Storage, block: SnapshotBlock, first_roster: Roster) -> None:
    """Make the state that was collected that of the ledger, and its block the head."""
    number = block.head.number
    puts = {
        height_key(schema.PREFIX_ROSTER, 1): encode_roster(first_roster),
        schema.KEY_HEAD: schema.encode_head(block.head),
        schema.KEY_BASE: number.to_bytes(8, "big"),
        schema.KEY_LOADED: (number - len(block.below)).to_bytes(8, "big"),
        schema.KEY_HISTORY: msgpack.packb((number, number)),
    }
    for header, certificate in ((block.header, block.certificate), *block.below):
        puts |= schema.header_records(header, certificate)
    for change in block.changes:
        at = change.header.number
        puts[height_key(schema.PREFIX_ROSTER, at + 1)] = encode_roster(change.roster)
        puts[height_key(b"H", at)] = schema.encode_sealed_header(change.header, change.certificate)
    storage.write({schema.KEY_IMPORT: _encode(_CLEARING, number, puts)}, [schema.KEY_HEAD])
    resume(storage)


def resume(storage: Storage) -> None:
    """Go on with replacing the state, if that has begun; else drop what is left of a load.

    Raises:
        DamagedData: the record of it, or a part of the new state, is damaged.
    """
    data = storage.get(schema.KEY_IMPORT)
    if data is None:
        drop(storage)
        return
    step, number, puts = _decode(data)
    if step == _CLEARING:
        log.info("replacing the state,height=%d", number)
        for low, high in _REPLACED:
            _delete(storage, low, high)
        proposals = (height_key(schema.PREFIX_PROPOSAL, at) for at in (0, number + 1))
        _delete(storage, *proposals)
        storage.write({schema.KEY_IMPORT: _encode(_MOVING, number, puts)})
    for batch in _batches(storage):
        moved = {key[len(schema.PREFIX_STAGED) :]: value for key, value in batch.items()}
        storage.write(moved, list(batch))
    storage.write(puts, [schema.KEY_IMPORT])


def _batches(storage: Storage) -> Iterator[dict[bytes, bytes]]:
    """Yield the entries that are still to be moved, some at a time."""
    low = schema.PREFIX_STAGED
    while batch := dict(islice(storage.scan(low, _STAGED_END), AT_ONCE)):
        yield batch
        low = max(batch) + b"\0"  # not from the start: what is deleted there takes long to pass


def _delete(storage: Storage, low: bytes, high: bytes) -> None:
    while keys := list(islice(storage.keys(low, high), AT_ONCE)):
        storage.write({}, keys)
        low = keys[-1] + b"\0"


def _encode(step: int, number: int, puts: Mapping[bytes, bytes]) -> bytes:
    packed: bytes = msgpack.packb((step, number, dict(puts)))
    return packed


def _decode(data: bytes) -> tuple[int, int, dict[bytes, bytes]]:
    try:
        step, number, puts = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError) as error:
        raise DamagedData("the record of a state that was being loaded is malformed") from error
    return step, number, puts
