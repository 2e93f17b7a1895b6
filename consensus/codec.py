"""Bytes of messages and records: canonical msgpack arrays, bounds first.

`encode_message`/`decode_message` are the wire form. Decoding trusts nothing: sizes are
capped before anything is built, every field is checked for type, length and range, and a
value has exactly one encoding (what decodes must encode to the same bytes). Errors are
`InvalidMessage` only (B18, B21).

`compute_digest` and `signing_digest` define what a digest and a signature cover.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, assert_never

import msgpack

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from lowu.consensus.types import (
    HEIGHT_MAX,
    VIEW_MAX,
    Domain,
    Hash32,
    Height,
    Signature,
    hash_bytes,
)
from lowu.consensus.validators import VALIDATORS_MAX

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
TX_HASHES_MAX = 100_000
CERTIFICATES_MAX = 1_000
LISTS_MAX = 200_000
"""More than the largest NEW-VIEW holds; a list takes far more memory than bytes on the wire."""
SIGNATURE_BYTES_MAX = 128
VIEW_CHANGE_FIELDS = 7
TIMESTAMP_MS_MAX = 2**53

Fields: TypeAlias = Sequence[Any]
M = TypeVar("M")

_TAGS: dict[type, str] = {
    PrePrepare: "lowu/1/pre-prepare",
    Prepare: "lowu/1/prepare",
    Commit: "lowu/1/commit",
    Checkpoint: "lowu/1/checkpoint",
    ViewChange: "lowu/2/view-change",
    NewView: "lowu/1/new-view",
    Status: "lowu/1/status",
}


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def proposal_fields(proposal: Proposal) -> tuple[Any, ...]:
    """Return a proposal's fields in their canonical order."""
    return (
        proposal.height,
        proposal.previous,
        proposal.tx_root,
        proposal.timestamp_ms,
        proposal.proposer,
        proposal.is_barrier,
    )


def compute_digest(domain: Domain, proposal: Proposal) -> Hash32:
    """Return the proposal's digest (rule R-DIG-1)."""
    fields = ("lowu/1/proposal", domain.chain_id, domain.group_id, *proposal_fields(proposal))
    return hash_bytes(_pack(fields))


def _signed_fields(domain: Domain, message: Message) -> tuple[Any, ...]:
    match message:
        case PrePrepare():
            return (message.view, compute_digest(domain, message.proposal))
        case Prepare() | Commit():
            return (message.view, message.height, message.digest)
        case Checkpoint():
            return (message.height, message.digest, message.block_hash)
        case ViewChange():
            prepared = tuple(_prepared_fields(item) for item in message.prepared)
            return (message.view, _commit_fields(message.stable), prepared, message.passed_over)
        case NewView():
            return (message.view, tuple(_message_fields(item) for item in message.view_changes))
        case Status():
            return (message.view, message.stable_height)
        case _:
            assert_never(message)


def signing_digest(domain: Domain, epoch: Height, message: Message) -> Hash32:
    """Return the digest that the sender signs in the epoch starting at height `epoch` (R-SIG-1)."""
    head = (_TAGS[type(message)], domain.chain_id, domain.group_id, epoch, message.sender)
    return hash_bytes(_pack((*head, *_signed_fields(domain, message))))


# --- encoding -----------------------------------------------------------------------------


def _prepared_fields(certificate: PreparedCertificate) -> tuple[Any, ...]:
    return (certificate.view, proposal_fields(certificate.proposal), certificate.signatures)


def _commit_fields(certificate: CommitCertificate) -> tuple[Any, ...]:
    return (
        certificate.height,
        certificate.digest,
        certificate.block_hash,
        certificate.signatures,
    )


def _message_fields(message: Message) -> tuple[Any, ...]:
    tail = (message.sender, message.signature)
    match message:
        case PrePrepare():
            return (0, message.view, proposal_fields(message.proposal), message.tx_hashes, *tail)
        case Prepare():
            return (1, message.view, message.height, message.digest, *tail)
        case Commit():
            return (2, message.view, message.height, message.digest, *tail)
        case Checkpoint():
            return (3, message.height, message.digest, message.block_hash, *tail)
        case ViewChange():
            prepared = tuple(_prepared_fields(item) for item in message.prepared)
            stable = _commit_fields(message.stable)
            return (4, message.view, stable, prepared, message.passed_over, *tail)
        case NewView():
            changes = tuple(_message_fields(item) for item in message.view_changes)
            return (5, message.view, changes, *tail)
        case Status():
            return (6, message.view, message.stable_height, *tail)
        case _:
            assert_never(message)


def encode_message(message: Message) -> bytes:
    """Return the wire bytes of a message."""
    return _pack(_message_fields(message))


def encode_commit_certificate(certificate: CommitCertificate) -> bytes:
    """Return the stored bytes of a commit certificate."""
    return _pack(_commit_fields(certificate))


def encode_prepared_certificate(certificate: PreparedCertificate) -> bytes:
    """Return the stored bytes of a prepared certificate."""
    return _pack(_prepared_fields(certificate))


# --- decoding -----------------------------------------------------------------------------


def _fail(what: str) -> InvalidMessage:
    return InvalidMessage(f"malformed consensus message: {what}")


def _items(value: object, size: int | None, size_max: int, what: str) -> Fields:
    if not isinstance(value, (list, tuple)):
        raise _fail(f"{what} is not an array")
    if (size is not None and len(value) != size) or len(value) > size_max:
        raise _fail(f"{what} has {len(value)} items")
    return value


def _int(value: object, value_max: int, what: str) -> int:
    if type(value) is not int or not 0 <= value <= value_max:
        raise _fail(f"{what} is not an integer in 0..{value_max}")
    return value


def _bytes(value: object, what: str, size: int | None = 32) -> bytes:
    if not isinstance(value, bytes):
        raise _fail(f"{what} is not bytes")
    if (size is not None and len(value) != size) or len(value) > SIGNATURE_BYTES_MAX:
        raise _fail(f"{what} has {len(value)} bytes")
    return value


def _decode_proposal(value: object) -> Proposal:
    fields = _items(value, 6, 6, "proposal")
    if type(fields[5]) is not bool:
        raise _fail("the barrier flag is not a boolean")
    return Proposal(
        height=_int(fields[0], HEIGHT_MAX, "proposal height"),
        previous=_bytes(fields[1], "previous digest"),
        tx_root=_bytes(fields[2], "transaction root"),
        timestamp_ms=_int(fields[3], TIMESTAMP_MS_MAX, "timestamp"),
        proposer=_int(fields[4], VALIDATORS_MAX, "proposer"),
        is_barrier=fields[5],
    )


def _decode_signatures(value: object) -> tuple[tuple[int, Signature], ...]:
    pairs = []
    for item in _items(value, None, VALIDATORS_MAX, "signature list"):
        pair = _items(item, 2, 2, "signature")
        index = _int(pair[0], VALIDATORS_MAX, "signer")
        pairs.append((index, _bytes(pair[1], "signature", None)))
    return tuple(pairs)


def _decode_prepared(value: object) -> PreparedCertificate:
    fields = _items(value, 3, 3, "prepared certificate")
    return PreparedCertificate(
        view=_int(fields[0], VIEW_MAX, "view"),
        proposal=_decode_proposal(fields[1]),
        signatures=_decode_signatures(fields[2]),
    )


def _decode_commit(value: object) -> CommitCertificate:
    fields = _items(value, 4, 4, "commit certificate")
    return CommitCertificate(
        height=_int(fields[0], HEIGHT_MAX, "height"),
        digest=_bytes(fields[1], "digest"),
        block_hash=_bytes(fields[2], "block hash"),
        signatures=_decode_signatures(fields[3]),
    )


def _tail(fields: Fields) -> dict[str, Any]:
    return {
        "sender": _int(fields[-2], VALIDATORS_MAX, "sender"),
        "signature": _bytes(fields[-1], "signature", None),
    }


def _decode_pre_prepare(fields: Fields) -> PrePrepare:
    fields = _items(fields, 6, 6, "PRE-PREPARE")
    hashes = _items(fields[3], None, TX_HASHES_MAX, "transaction list")
    return PrePrepare(
        view=_int(fields[1], VIEW_MAX, "view"),
        proposal=_decode_proposal(fields[2]),
        tx_hashes=tuple(_bytes(item, "transaction hash") for item in hashes),
        **_tail(fields),
    )


def _phase_fields(fields: Fields, what: str) -> dict[str, Any]:
    fields = _items(fields, 6, 6, what)
    return {
        "view": _int(fields[1], VIEW_MAX, "view"),
        "height": _int(fields[2], HEIGHT_MAX, "height"),
        "digest": _bytes(fields[3], "digest"),
        **_tail(fields),
    }


def _decode_prepare(fields: Fields) -> Prepare:
    return Prepare(**_phase_fields(fields, "PREPARE"))


def _decode_commit_vote(fields: Fields) -> Commit:
    return Commit(**_phase_fields(fields, "COMMIT"))


def _decode_checkpoint(fields: Fields) -> Checkpoint:
    fields = _items(fields, 6, 6, "CHECKPOINT")
    return Checkpoint(
        height=_int(fields[1], HEIGHT_MAX, "height"),
        digest=_bytes(fields[2], "digest"),
        block_hash=_bytes(fields[3], "block hash"),
        **_tail(fields),
    )


def _decode_passed_over(value: object) -> tuple[tuple[int, Height], ...]:
    pairs = []
    for item in _items(value, None, VALIDATORS_MAX, "list of leaders to pass over"):
        pair = _items(item, 2, 2, "leader to pass over")
        pairs.append((_int(pair[0], VALIDATORS_MAX, "leader"), _int(pair[1], HEIGHT_MAX, "height")))
    return tuple(pairs)


def _decode_view_change(fields: Fields, certificates_max: int = CERTIFICATES_MAX) -> ViewChange:
    fields = _items(fields, VIEW_CHANGE_FIELDS, VIEW_CHANGE_FIELDS, "VIEW-CHANGE")
    prepared = _items(fields[3], None, certificates_max, "prepared list")
    return ViewChange(
        view=_int(fields[1], VIEW_MAX, "view"),
        stable=_decode_commit(fields[2]),
        prepared=tuple(_decode_prepared(item) for item in prepared),
        passed_over=_decode_passed_over(fields[4]),
        **_tail(fields),
    )


def _decode_new_view(fields: Fields, certificates_max: int = CERTIFICATES_MAX) -> NewView:
    fields = _items(fields, 5, 5, "NEW-VIEW")
    changes = []
    for item in _items(fields[2], None, VALIDATORS_MAX, "view-change list"):
        change = _items(item, VIEW_CHANGE_FIELDS, VIEW_CHANGE_FIELDS, "VIEW-CHANGE")
        if change[0] != _VIEW_CHANGE:
            raise _fail("NEW-VIEW holds something other than VIEW-CHANGEs")
        changes.append(_decode_view_change(change, certificates_max))
    return NewView(
        view=_int(fields[1], VIEW_MAX, "view"), view_changes=tuple(changes), **_tail(fields)
    )


def _decode_status(fields: Fields) -> Status:
    fields = _items(fields, 5, 5, "STATUS")
    return Status(
        view=_int(fields[1], VIEW_MAX, "view"),
        stable_height=_int(fields[2], HEIGHT_MAX, "height"),
        **_tail(fields),
    )


_VIEW_CHANGE, _NEW_VIEW = 4, 5
_DECODERS: tuple[Callable[[Fields], Message], ...] = (
    _decode_pre_prepare,
    _decode_prepare,
    _decode_commit_vote,
    _decode_checkpoint,
    _decode_view_change,
    _decode_new_view,
    _decode_status,
)


def unpack_bounded(data: bytes, *, items_max: int, lists_max: int) -> Any:
    """Return the value in msgpack bytes, with bounds on items per list and on lists in total.

    Raises:
        ValueError, TypeError, msgpack.UnpackException, RecursionError: `data` is malformed, or
            exceeds a bound.
    """
    lists = 0

    def count(items: list[Any]) -> list[Any]:
        nonlocal lists
        lists += 1
        if lists > lists_max:
            raise ValueError("too many lists")
        return items

    return msgpack.unpackb(
        data,
        raw=False,
        strict_map_key=True,
        max_map_len=0,
        max_array_len=items_max,
        list_hook=count,
    )


def _unpack(data: bytes) -> object:
    if len(data) > MESSAGE_BYTES_MAX:
        raise _fail(f"{len(data)} bytes, more than {MESSAGE_BYTES_MAX}")
    try:
        return unpack_bounded(data, items_max=TX_HASHES_MAX, lists_max=LISTS_MAX)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise _fail("not msgpack") from error


def decode_message(data: bytes, certificates_max: int = CERTIFICATES_MAX) -> Message:
    """Return the message in `data`, or raise `InvalidMessage`.

    A VIEW-CHANGE with more than `certificates_max` certificates, the receiver's window, is
    refused before any of them is built.
    """
    fields = _items(_unpack(data), None, 8, "message")
    if not fields:
        raise _fail("empty")
    kind = _int(fields[0], len(_DECODERS) - 1, "message kind")
    if kind == _VIEW_CHANGE:
        message: Message = _decode_view_change(fields, certificates_max)
    elif kind == _NEW_VIEW:
        message = _decode_new_view(fields, certificates_max)
    else:
        message = _DECODERS[kind](fields)
    if encode_message(message) != data:
        raise _fail("not in canonical form")
    return message


def _decode_canonical(
    data: bytes, decode: Callable[[object], M], encode: Callable[[M], bytes]
) -> M:
    value = decode(_unpack(data))
    if encode(value) != data:
        raise _fail("not in canonical form")
    return value


def decode_commit_certificate(data: bytes) -> CommitCertificate:
    """Return the commit certificate in `data`, or raise `InvalidMessage`."""
    return _decode_canonical(data, _decode_commit, encode_commit_certificate)


def decode_prepared_certificate(data: bytes) -> PreparedCertificate:
    """Return the prepared certificate in `data`, or raise `InvalidMessage`."""
    return _decode_canonical(data, _decode_prepared, encode_prepared_certificate)
