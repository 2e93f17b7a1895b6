"""What one node may ask of another, and how it stands in a REQUEST frame.

A request is a msgpack list whose first item names it. Whatever a peer sends is checked here, so
that the parts that answer see well-formed requests only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lowu.node.errors import BadInput

DIGEST_BYTES = 32
HEIGHT_BOUND = 2**63


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Committed blocks from a height on, with their certificates."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class RecordsRequest:
    """A committed block with its receipts, for a node whose own are damaged."""

    height: int


@dataclass(frozen=True, slots=True)
class BodyRequest:
    """All transactions of a proposal."""

    height: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class TransactionsRequest:
    """Transactions by their hashes."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """The newest pinned state: its block with the proof of it, and what it is made of."""


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """A chunk of the state that was pinned after a block."""

    height: int
    place: int


PeerRequest: TypeAlias = (
    BlocksRequest
    | RecordsRequest
    | BodyRequest
    | TransactionsRequest
    | SnapshotRequest
    | ChunkRequest
)


def encode_request(request: PeerRequest) -> list[object]:
    """Return a request as it stands in a frame."""
    match request:
        case BlocksRequest(start, count):
            return ["blocks", start, count]
        case RecordsRequest(height):
            return ["records", height]
        case BodyRequest(height, digest):
            return ["proposal", height, digest]
        case TransactionsRequest(hashes):
            return ["txs", list(hashes)]
        case SnapshotRequest():
            return ["snapshot"]
        case ChunkRequest(height, place):
            return ["chunk", height, place]


def oldest_version(request: PeerRequest) -> int:
    """Return the first version of the protocol that has a request."""
    return 4 if isinstance(request, (RecordsRequest, SnapshotRequest, ChunkRequest)) else 3


def decode_request(value: object) -> PeerRequest:
    """Return the request in a frame; `BadInput` says what is wrong with it."""
    match value:
        case ["blocks", start, count]:
            if type(start) is not int or type(count) is not int or start < 1 or count < 1:
                raise BadInput("malformed block request")
            return BlocksRequest(start, count)
        case ["records", height]:
            if type(height) is not int or not 0 <= height < HEIGHT_BOUND:
                raise BadInput("malformed request for a block's records")
            return RecordsRequest(height)
        case ["proposal", height, digest]:
            if type(height) is not int or not 0 <= height < HEIGHT_BOUND:
                raise BadInput("proposal request without a height")
            if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
                raise BadInput("proposal request without a digest")
            return BodyRequest(height, digest)
        case ["txs", list(hashes)] if all(isinstance(item, bytes) for item in hashes):
            return TransactionsRequest(tuple(hashes))
        case ["txs", _]:
            raise BadInput("malformed transaction request")
        case ["snapshot"]:
            return SnapshotRequest()
        case ["chunk", height, place] if type(height) is int and type(place) is int:
            return ChunkRequest(height, place)
    raise BadInput("unknown request")
