"""Block headers and blocks.

The header's hash is what CHECKPOINTs sign. The quorum of signatures is stored beside the
header, never in its hash (B30).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lowu.consensus.codec import decode_commit_certificate, encode_commit_certificate
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import CommitCertificate
from lowu.node.chain.rlp_codec import decode_rlp, encode_rlp
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput

VERSION = 1
BLOCK_BYTES_MAX = 32 * 1024 * 1024
TX_COUNT_MAX = 100_000
_HEADER_ITEMS_MAX = 4_096
"""Fields, and the id and weight of each validator."""
_PARTS = 4
"""Items of a block besides its transactions: itself, header, their list, and certificate."""
NUMBER_MAX = 2**63 - 1
"""Limit of every number in a header."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, in the order of its encoding."""

    version: int
    number: int
    parent_hash: bytes
    proposal_digest: bytes
    tx_root: bytes
    receipt_root: bytes
    state_root: bytes
    gas_used: int
    timestamp_ms: int
    sealer: int
    sealer_list: tuple[bytes, ...]
    weights: tuple[int, ...]
    extra_data: bytes
    _hash: bytes = field(default=b"", init=False, repr=False, compare=False)
    """Empty until somebody asks: a block's hash is asked for a dozen times."""

    @property
    def hash(self) -> bytes:
        """The block hash."""
        if not self._hash:
            object.__setattr__(self, "_hash", hash_header(encode_header(self)))
        return self._hash

    @property
    def time_s(self) -> int:
        """Block time as the EVM sees it, in seconds."""
        return self.timestamp_ms // 1000


@dataclass(frozen=True, slots=True)
class Block:
    """A header with the transactions' bytes and the certificate that committed it."""

    header: Header
    transactions: tuple[bytes, ...]
    certificate: CommitCertificate


def hash_header(data: bytes) -> bytes:
    """Return the block hash of a header's bytes."""
    return keccak256(b"lowu/1/header" + data)


def encode_header(header: Header) -> bytes:
    """Return the canonical bytes of a header."""
    return encode_rlp(
        [
            header.version,
            header.number,
            header.parent_hash,
            header.proposal_digest,
            header.tx_root,
            header.receipt_root,
            header.state_root,
            header.gas_used,
            header.timestamp_ms,
            header.sealer,
            list(header.sealer_list),
            list(header.weights),
            header.extra_data,
        ]
    )


def decode_header(data: bytes) -> Header:
    """Return the header in `data`; `BadInput` unless it is canonically encoded."""
    try:
        fields = decode_rlp(data, _HEADER_ITEMS_MAX)
        numbers = [int.from_bytes(fields[i], "big") for i in (0, 1, 7, 8, 9)]
        hashes = fields[2:7]
        header = Header(
            version=numbers[0],
            number=numbers[1],
            parent_hash=hashes[0],
            proposal_digest=hashes[1],
            tx_root=hashes[2],
            receipt_root=hashes[3],
            state_root=hashes[4],
            gas_used=numbers[2],
            timestamp_ms=numbers[3],
            sealer=numbers[4],
            sealer_list=tuple(fields[10]),
            weights=tuple(int.from_bytes(item, "big") for item in fields[11]),
            extra_data=fields[12],
        )
        is_shaped = (
            len(fields) == 13
            and all(isinstance(item, bytes) and len(item) == 32 for item in hashes)
            and all(isinstance(item, bytes) for item in header.sealer_list)
            and max((*numbers, *header.weights)) <= NUMBER_MAX
        )
        is_canonical = is_shaped and encode_header(header) == data
    except (ValueError, TypeError, IndexError) as error:
        raise BadInput("malformed block header") from error
    if not is_canonical:
        raise BadInput("block header is not in canonical form")
    return header


def encode_block(block: Block) -> bytes:
    """Return the bytes of a block in the form that sync sends."""
    return encode_rlp(
        [
            encode_header(block.header),
            list(block.transactions),
            encode_commit_certificate(block.certificate),
        ]
    )


def decode_block(data: bytes) -> Block:
    """Return the block in `data`, verifying its shape only; `BadInput` if malformed."""
    if len(data) > BLOCK_BYTES_MAX:
        raise BadInput(f"block of {len(data)} bytes; at most {BLOCK_BYTES_MAX}")
    try:
        header, transactions, certificate = decode_rlp(data, TX_COUNT_MAX + _PARTS)
        if not all(isinstance(item, bytes) for item in transactions):
            raise BadInput("malformed transaction list")
        return Block(
            decode_header(header), tuple(transactions), decode_commit_certificate(certificate)
        )
    except (ValueError, TypeError, InvalidMessage) as error:
        raise BadInput("malformed block") from error
