"""The durable records of a replica: what it has signed and what it may need to prove.

Records are keyed; a newer record replaces the older one of the same key. Records of a height
may be deleted once that height is stable. `encode_record`/`decode_record` are the disk form
(the storage layer adds a checksum).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias, assert_never

import msgpack

from lowu.consensus.codec import (
    decode_message,
    decode_prepared_certificate,
    encode_message,
    encode_prepared_certificate,
    proposal_fields,
)
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Evidence, NewView, PreparedCertificate, Proposal
from lowu.consensus.types import Hash32, Height, View


class VoteKind(IntEnum):
    """The kinds of vote that bind a replica to a digest at a height."""

    PRE_PREPARE = 0
    PREPARE = 1
    COMMIT = 2
    CHECKPOINT = 3


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """The latest vote of one kind at one height. A checkpoint has view 0 and a block hash."""

    epoch: Height
    """First height of the epoch in which it was cast; votes of earlier epochs bind nobody."""
    kind: VoteKind
    height: Height
    view: View
    digest: Hash32
    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """The proposal that this replica accepted at its height in `view`."""

    epoch: Height
    view: View
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """The highest-view prepared certificate of a height."""

    epoch: Height
    certificate: PreparedCertificate


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """The view entered, and the view asked for (equal in normal operation), in an epoch."""

    epoch: Height
    """First height of the epoch; views restart at 0 in each."""
    view: View
    to_view: View


@dataclass(frozen=True, slots=True)
class NewViewRecord:
    """The proof of the view entered, in an epoch."""

    epoch: Height
    new_view: NewView


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """Proof that a validator equivocated in an epoch: the first per kind of message (P24)."""

    epoch: Height
    evidence: Evidence


Record: TypeAlias = (
    VoteRecord | ProposalRecord | PreparedRecord | ViewRecord | NewViewRecord | EvidenceRecord
)

_HEIGHT_BYTES = 8


def _height_key(tag: bytes, height: Height) -> bytes:
    return tag + height.to_bytes(_HEIGHT_BYTES, "big")


def record_key(record: Record) -> bytes:
    """Return the key under which a record is stored."""
    match record:
        case VoteRecord():
            return _height_key(b"h", record.height) + bytes([record.kind])
        case ProposalRecord():
            return _height_key(b"h", record.proposal.height) + b"p"
        case PreparedRecord():
            return _height_key(b"h", record.certificate.proposal.height) + b"c"
        case ViewRecord():
            return b"view"
        case NewViewRecord():
            return b"new-view"
        case EvidenceRecord(epoch, evidence):
            kind = type(evidence.first).__name__.encode()
            return _height_key(b"e", epoch) + evidence.accused.to_bytes(2, "big") + kind
        case _:
            assert_never(record)


def height_key_range(height: Height) -> tuple[bytes, bytes]:
    """Return the half-open key range of all records at or below `height`."""
    return _height_key(b"h", 0), _height_key(b"h", height + 1)


def encode_record(record: Record) -> bytes:
    """Return the disk bytes of a record."""
    fields: tuple[Any, ...]
    match record:
        case VoteRecord():
            fields = (
                0,
                record.epoch,
                int(record.kind),
                record.height,
                record.view,
                record.digest,
                record.block_hash,
            )
        case ProposalRecord():
            fields = (1, record.epoch, record.view, proposal_fields(record.proposal))
        case PreparedRecord():
            fields = (2, record.epoch, encode_prepared_certificate(record.certificate))
        case ViewRecord():
            fields = (3, record.epoch, record.view, record.to_view)
        case NewViewRecord():
            fields = (4, record.epoch, encode_message(record.new_view))
        case EvidenceRecord(epoch, evidence):
            both = encode_message(evidence.first), encode_message(evidence.second)
            fields = (5, epoch, evidence.accused, *both)
        case _:
            assert_never(record)
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def decode_record(data: bytes) -> Record:
    """Return the record in `data`; raise `InvalidMessage` if it is not one."""
    try:
        fields = msgpack.unpackb(data, raw=False)
        match fields:
            case [0, epoch, kind, height, view, digest, block_hash]:
                return VoteRecord(epoch, VoteKind(kind), height, view, digest, block_hash)
            case [1, epoch, view, proposal]:
                return ProposalRecord(epoch, view, Proposal(*proposal))
            case [2, epoch, certificate]:
                return PreparedRecord(epoch, decode_prepared_certificate(certificate))
            case [3, epoch, view, to_view]:
                return ViewRecord(epoch, view, to_view)
            case [4, epoch, text] if isinstance(message := decode_message(text), NewView):
                return NewViewRecord(epoch, message)
            case [5, epoch, accused, first, second]:
                both = decode_message(first), decode_message(second)
                return EvidenceRecord(epoch, Evidence(accused, *both))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidMessage("malformed consensus record") from error
    raise InvalidMessage("malformed consensus record")
