"""Keys and values of the ledger's records.

M<name>                      head height and totals, data format, last step with votes, reason
                             why votes were lost, block up to which they are dropped, blocks
                             whose state is kept, lowest block that is kept, lowest header below
                             a state that was loaded, what is left to do of loading one
H<height>                    header, commit certificate
B<height>                    transactions' bytes
R<height>                    receipts
N<block hash>                height
T<tx hash>                   height, index
S<table><key>                state
U<size><state key><height>   value of a state entry before a block that changed it
D<height>                    state keys that a block changed; with U, of the last blocks only
IS<table><key>               state of another node, until all of it is there
V<record key>                consensus vote records
P<height><digest>            bodies of a proposal that this node has voted for
E<height>                    the group's nodes from this height on
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgpack

from lowu.consensus.codec import decode_commit_certificate, encode_commit_certificate
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import CommitCertificate
from lowu.node.chain.block import Header, decode_header, encode_header
from lowu.node.chain.rlp_codec import decode_rlp, encode_rlp
from lowu.node.chain.roster import Roster
from lowu.node.errors import BadInput, DamagedData

KEY_HEAD = b"Mhead"
KEY_HISTORY = b"Mhistory"
KEY_BASE = b"Mbase"
KEY_IMPORT = b"Mimport"
KEY_LOADED = b"Mloaded"
PREFIX_STAGED = b"I"
KEY_FORMAT = b"Mformat"
PREFIX_ROSTER, PREFIX_ROSTER_END = b"E", b"F"
FORMATS = (b"9", b"10")
"""The newest last. It is raised whenever records, the bytes that signatures cover, or the contracts
of genesis change. A chain keeps the one that it began with, and data of any other is refused: with
9, the group cannot change its settings, and a roster has none."""
KEY_VOTES = b"Mvotes"
KEY_LOST = b"Mlost"
KEY_SETTLED = b"Msettled"
PREFIX_VOTE = b"V"
PREFIX_VOTE_END = b"W"
KEY_NEW_VIEW = b"Vnew-view"
PREFIX_EVIDENCE = b"Ve"
"""Evidence of others' equivocation, which is kept when this node's own votes are dropped."""
PREFIX_PROPOSAL = b"P"


@dataclass(frozen=True, slots=True)
class Head:
    """The tip of the chain with running totals."""

    number: int
    tx_count: int
    failed_tx_count: int


def find_format(first: Roster | None) -> bytes:
    """Return the format of a chain's data by the roster of its genesis."""
    return FORMATS[-1] if first is not None and first.settings is not None else FORMATS[0]


def tell_formats() -> str:
    """Return the formats that are read, for a sentence."""
    return " and ".join(item.decode() for item in FORMATS)


def height_key(prefix: bytes, number: int) -> bytes:
    """Return the key of a record of one height."""
    return prefix + number.to_bytes(8, "big")


def proposal_key(number: int, digest: bytes) -> bytes:
    """Return the key of a proposal's bodies."""
    return height_key(PREFIX_PROPOSAL, number) + digest


def state_key(table: bytes, key: bytes) -> bytes:
    """Return the key of a state entry."""
    return b"S" + table + key


def encode_head(head: Head) -> bytes:
    """Return the stored bytes of the head."""
    packed: bytes = msgpack.packb((head.number, head.tx_count, head.failed_tx_count))
    return packed


def decode_head(data: bytes) -> Head:
    """Return the stored head."""
    return Head(*msgpack.unpackb(data))


def encode_sealed_header(header: Header, certificate: CommitCertificate) -> bytes:
    """Return the stored bytes of a header with its certificate."""
    packed: bytes = msgpack.packb(
        (encode_header(header), encode_commit_certificate(certificate)), use_bin_type=True
    )
    return packed


def decode_sealed_header(data: bytes) -> tuple[Header, CommitCertificate]:
    """Return a stored header and certificate; `DamagedData` if malformed."""
    try:
        header, certificate = msgpack.unpackb(data)
        return decode_header(header), decode_commit_certificate(certificate)
    except (ValueError, TypeError, BadInput, InvalidMessage) as error:
        raise DamagedData("stored header is malformed") from error


def encode_list(items: Iterable[bytes]) -> bytes:
    """Return the stored bytes of a list of byte strings."""
    return encode_rlp(list(items))


def decode_list(data: bytes) -> tuple[bytes, ...]:
    """Return a stored list of byte strings."""
    return tuple(decode_rlp(data))


def encode_position(number: int, index: int) -> bytes:
    """Return the stored bytes of a transaction's position in the chain."""
    return number.to_bytes(8, "big") + index.to_bytes(4, "big")


def decode_position(data: bytes) -> tuple[int, int]:
    """Return a transaction's height and index."""
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")


def header_records(header: Header, certificate: CommitCertificate) -> dict[bytes, bytes]:
    """Return the records by which a block's header is found."""
    sealed = encode_sealed_header(header, certificate)
    number = header.number
    return {height_key(b"H", number): sealed, b"N" + header.hash: number.to_bytes(8, "big")}


def body_records(
    number: int, hashes: Sequence[bytes], raws: Sequence[bytes], receipts: Sequence[bytes]
) -> dict[bytes, bytes]:
    """Return the records of a block's transactions and receipts."""
    puts = {b"T" + tx_hash: encode_position(number, index) for index, tx_hash in enumerate(hashes)}
    puts[height_key(b"B", number)] = encode_list(raws)
    puts[height_key(b"R", number)] = encode_list(receipts)
    return puts
