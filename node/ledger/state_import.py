"""Replacing a ledger's state by a snapshot of another node's, so that a crash leaves no mixture.

While it is loaded the database has no head. A start that finds it so drops what was loaded and
begins at block 0 again; votes and their trace are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import msgpack

from lowu.consensus.messages import CommitCertificate
from lowu.node.chain.block import Header
from lowu.node.chain.roster import Roster, encode_roster
from lowu.node.ledger import schema
from lowu.node.ledger.schema import Head, height_key
from lowu.node.ledger.storage import Storage

DELETED_AT_ONCE = 10_000
_REPLACED = ((b"S", b"T"), (b"U", b"V"), (b"D", b"F"))
"""State, what blocks have replaced, which entries those were, and the group's nodes (D and E)."""


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


def is_unfinished(storage: Storage) -> bool:
    """Whether a load was interrupted."""
    return storage.get(schema.KEY_HEAD) is None and storage.get(schema.KEY_IMPORT) is not None


def clear(storage: Storage) -> None:
    """Drop the state, with what belongs to it. The head must be gone before, durably."""
    for low, high in _REPLACED:
        while keys := list(islice(storage.keys(low, high), DELETED_AT_ONCE)):
            storage.write({}, keys)


def begin(storage: Storage) -> None:
    """Give the head up, and drop the state."""
    storage.write({schema.KEY_IMPORT: b"1"}, [schema.KEY_HEAD])
    clear(storage)


def add(storage: Storage, entries: Mapping[bytes, bytes]) -> None:
    """Write state entries."""
    storage.write(entries)


def finish(storage: Storage, block: SnapshotBlock, first_roster: Roster) -> None:
    """Make the snapshot's block the head, in one batch; blocks below it are not kept."""
    number = block.head.number
    puts = {
        height_key(schema.PREFIX_ROSTER, 1): encode_roster(first_roster),
        height_key(b"H", number): schema.encode_sealed_header(block.header, block.certificate),
        b"N" + block.header.hash: number.to_bytes(8, "big"),
        schema.KEY_HEAD: schema.encode_head(block.head),
        schema.KEY_BASE: number.to_bytes(8, "big"),
        schema.KEY_HISTORY: msgpack.packb((number, number)),
    }
    for header, certificate in block.below:
        sealed = schema.encode_sealed_header(header, certificate)
        puts[height_key(b"H", header.number)] = sealed
        puts[b"N" + header.hash] = header.number.to_bytes(8, "big")
    for change in block.changes:
        at = change.header.number
        puts[height_key(schema.PREFIX_ROSTER, at + 1)] = encode_roster(change.roster)
        puts[height_key(b"H", at)] = schema.encode_sealed_header(change.header, change.certificate)
    storage.write(puts, [schema.KEY_IMPORT])
