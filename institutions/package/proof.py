"""Proof of registration, checked without asking a node (docs/PACKAGE.md).

It holds the transaction, its receipt, the path from there to the block's receipt root, the header,
and the signatures by which a quorum of validators committed the block. It shows that the anchor
was registered then; only the ledger knows whether it is still in force. This module recomputes
everything without the node's code: a reader need neither run a node nor trust one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgpack
import rlp
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError as AbiError
from eth_utils.crypto import keccak
from rlp.exceptions import DecodingError

from lowu.contracts.abi import load_artifact
from lowu.contracts.curve import HALF_ORDER, SIGNATURE_BYTES, CurveError, recover
from lowu.contracts.registry import HASH_REGISTRY_ADDRESS
from lowu.institutions.package.forms import (
    read_bool,
    read_bytes,
    read_hex,
    read_integer,
    read_list,
    read_object,
    read_row,
    read_text,
)

TRANSACTION_BYTES_MAX = 256 * 1024
RECEIPT_BYTES_MAX = 64 * 1024
HEADER_BYTES_MAX = 64 * 1024
PATH_MAX = 32
VALIDATORS_MAX = 512

Validators = tuple[tuple[bytes, int], ...]
"""Node id (64 bytes) and weight of each validator, sorted by node id."""


class ProofError(ValueError):
    """A proof that does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class RegistrationProof:
    """Evidence of a registration; none of it is trusted before `check_proof`."""

    chain_id: str
    group_id: str
    epoch: int
    """First height of the validators that signed."""
    transaction: bytes
    receipt: bytes
    path: tuple[tuple[bool, bytes], ...]
    """Siblings from the receipt up: whether each is on the left, and its hash."""
    header: bytes
    signatures: tuple[tuple[int, bytes], ...]
    """Signer's index among the header's validators, and r ‖ s ‖ v."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """What a registration says of the document, by the call in its transaction."""

    key_id: int
    valid_until_day: int
    """Days since 1970; 0 for no end."""
    suite: int


@dataclass(frozen=True, slots=True)
class Proven:
    """The facts that a proof shows."""

    height: int
    block_hash: bytes
    time_s: int
    """Time of the block, seconds since 1970."""
    schema: int
    count: int
    """Number of documents in the batch, else 0."""
    particulars: Particulars
    signers: int
    validators: Validators
    """As named in the header; the reader must know whether they are the chain's."""


def count_quorum(total_weight: int) -> int:
    """Return the weight of a quorum: W − ⌊(W − 1) / 3⌋."""
    return total_weight - (total_weight - 1) // 3


def check_proof(proof: RegistrationProof, issuer: int, anchor: bytes) -> Proven:
    """Return what a proof shows of the registration of an issuer's anchor, or of a batch's root.

    Raises:
        ProofError: the proof does not show that registration.
    """
    tx_hash, status, logs = _read_receipt(proof.receipt)
    if tx_hash != keccak(proof.transaction) or status:
        raise ProofError("the receipt is not that of a transaction that succeeded")
    schema, count = _find_registration(logs, issuer, anchor)
    particulars = _read_call(proof.transaction, anchor, schema, count)
    fields = _read_header(proof.header)
    if _climb(proof.receipt, proof.path) != fields[5]:
        raise ProofError("the receipt is not in the block")
    height = _number(fields[1])
    validators = tuple(
        (bytes(node_id), _number(weight))
        for node_id, weight in zip(fields[10], fields[11], strict=True)
    )
    block_hash = keccak(b"lowu/1/header" + proof.header)
    _check_signatures(proof, validators, height, fields[3], block_hash)
    return Proven(
        height=height,
        block_hash=block_hash,
        time_s=_number(fields[8]) // 1000,
        schema=schema,
        count=count,
        particulars=particulars,
        signers=len(proof.signatures),
        validators=validators,
    )


def _decode_list(data: bytes, size: int, what: str) -> list[Any]:
    try:
        found = rlp.decode(data)
    except (DecodingError, RecursionError) as error:
        raise ProofError(f"{what} is malformed") from error
    if not isinstance(found, list) or len(found) != size:
        raise ProofError(f"{what} is malformed")
    return found


def _number(data: object) -> int:
    if not isinstance(data, bytes) or len(data) > 8:
        raise ProofError("a number is malformed")
    return int.from_bytes(data, "big")


def _read_receipt(data: bytes) -> tuple[bytes, int, list[Any]]:
    """Return transaction hash, status and logs."""
    tx_hash, status, _, _, _, logs = _decode_list(data, 6, "the receipt")
    if not isinstance(logs, list) or not isinstance(tx_hash, bytes):
        raise ProofError("the receipt is malformed")
    return tx_hash, _number(status), logs


def _read_header(data: bytes) -> list[Any]:
    fields = _decode_list(data, 13, "the header")
    nodes, weights = fields[10], fields[11]
    is_shaped = (
        isinstance(nodes, list)
        and isinstance(weights, list)
        and 0 < len(nodes) == len(weights) <= VALIDATORS_MAX
        and all(isinstance(node, bytes) and len(node) == 64 for node in nodes)
        and nodes == sorted(set(nodes))
        and all(isinstance(fields[place], bytes) for place in (3, 5))
    )
    if not is_shaped:
        raise ProofError("the header is malformed")
    return fields


def _find_registration(logs: list[Any], issuer: int, anchor: bytes) -> tuple[int, int]:
    """Return the schema and count with which a receipt's logs say an anchor was registered."""
    events = load_artifact("HashRegistry").events
    wanted = [issuer.to_bytes(32, "big"), anchor]
    for log in logs:
        match log:
            case [
                bytes(address),
                [kind, issuer_topic, anchor_topic, bytes(schema)],
                bytes(data),
            ] if address == HASH_REGISTRY_ADDRESS and [issuer_topic, anchor_topic] == wanted:
                if kind == events["AnchorRegistered"].topic:
                    return int.from_bytes(schema, "big"), 0
                if kind == events["BatchRegistered"].topic:
                    return int.from_bytes(schema, "big"), int.from_bytes(data, "big")
    raise ProofError("the transaction did not register this anchor of this issuer")


_CALL_PLACES = {b"\x01": 6, b"\x02": 7}
"""By the byte before a typed transaction: where its data stands, after the contract and value."""


def _read_call(transaction: bytes, anchor: bytes, schema: int, count: int) -> Particulars:
    """Return what a transaction that registers an anchor, or a batch, says of it."""
    place = _CALL_PLACES.get(transaction[:1])
    try:
        fields = rlp.decode(transaction if place is None else transaction[1:])
        target, data = fields[(place or 5) - 2], fields[place or 5]
        name = "registerBatch" if count else "registerAnchor"
        function = load_artifact("HashRegistry").functions[name]
        if target != HASH_REGISTRY_ADDRESS or data[:4] != function.selector:
            raise ProofError("its transaction is not a registration")
        values = list(decode(function.input_types, data[4:]))
        found_anchor = values.pop(0)
        found_count = values.pop(0) if count else 0
        found_schema, key_id, valid_until_day, suite, _ = values
    except (
        DecodingError,
        AbiError,
        IndexError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ProofError("the transaction is malformed") from error
    if (found_anchor, found_count, found_schema) != (anchor, count, schema):
        raise ProofError("its transaction registers something else")
    return Particulars(key_id, valid_until_day, suite)


def _climb(receipt: bytes, path: tuple[tuple[bool, bytes], ...]) -> bytes:
    current = keccak(b"\x00" + receipt)
    for is_left, sibling in path:
        pair = sibling + current if is_left else current + sibling
        current = keccak(b"\x01" + pair)
    return current


def _check_signatures(
    proof: RegistrationProof,
    validators: Validators,
    height: int,
    proposal_digest: bytes,
    block_hash: bytes,
) -> None:
    """Check that a quorum signed the CHECKPOINT of the block (docs/PROTOCOL.md, R-CERT-2)."""
    _check_weight(validators, [index for index, _ in proof.signatures])
    tail = (height, proposal_digest, block_hash)
    for index, signature in proof.signatures:
        head = ("lowu/1/checkpoint", proof.chain_id, proof.group_id, proof.epoch, index)
        digest = hashlib.sha256(msgpack.packb((*head, *tail), use_bin_type=True)).digest()
        if not _is_signed(validators[index][0], digest, signature):
            raise ProofError(f"the signature of validator {index} is bad")


def _check_weight(validators: Validators, signers: list[int]) -> None:
    """Check that signers, by their places, are distinct and a quorum of the validators."""
    if signers != sorted(set(signers)) or any(index >= len(validators) for index in signers):
        raise ProofError("its signers are not distinct validators")
    total = sum(weight for _, weight in validators)
    if sum(validators[index][1] for index in signers) < count_quorum(total):
        raise ProofError("less than a quorum signed it")


def check_quorum(
    validators: Validators, digest: bytes, signatures: tuple[tuple[int, bytes], ...]
) -> None:
    """Raise `ProofError` unless a quorum of the validators signed one digest."""
    _check_weight(validators, [index for index, _ in signatures])
    for index, signature in signatures:
        if not _is_signed(validators[index][0], digest, signature):
            raise ProofError(f"the signature of validator {index} is bad")


def _is_signed(node_id: bytes, digest: bytes, signature: bytes) -> bool:
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        return False
    try:
        return recover(digest, signature) == node_id
    except CurveError:
        return False


# --- encoding -------------------------------------------------------------------------------------


def proof_fields(proof: RegistrationProof) -> dict[str, Any]:
    """Return the JSON form of a proof."""
    return {
        "chain_id": proof.chain_id,
        "group_id": proof.group_id,
        "epoch": proof.epoch,
        "transaction": proof.transaction.hex(),
        "receipt": proof.receipt.hex(),
        "path": [[is_left, sibling.hex()] for is_left, sibling in proof.path],
        "header": proof.header.hex(),
        "signatures": [[index, signature.hex()] for index, signature in proof.signatures],
    }


def read_proof(value: object) -> RegistrationProof:
    """Decode a proof from a JSON value; `FormError` says what is wrong with its form."""
    raw = read_object(value, RegistrationProof.__slots__, "proof")
    return RegistrationProof(
        chain_id=read_text(raw["chain_id"], "chain_id"),
        group_id=read_text(raw["group_id"], "group_id"),
        epoch=read_integer(raw["epoch"], "epoch"),
        transaction=read_bytes(raw["transaction"], TRANSACTION_BYTES_MAX, "transaction"),
        receipt=read_bytes(raw["receipt"], RECEIPT_BYTES_MAX, "receipt"),
        path=tuple(_read_step(item) for item in read_list(raw["path"], PATH_MAX, "path")),
        header=read_bytes(raw["header"], HEADER_BYTES_MAX, "header"),
        signatures=tuple(
            _read_signature(item)
            for item in read_list(raw["signatures"], VALIDATORS_MAX, "signatures")
        ),
    )


def _read_step(raw: object) -> tuple[bool, bytes]:
    is_left, sibling = read_row(raw, 2, "path of a proof")
    return read_bool(is_left, "path of a proof"), read_hex(sibling, 32, "path of a proof")


def _read_signature(raw: object) -> tuple[int, bytes]:
    index, signature = read_row(raw, 2, "signatures of a proof")
    return (
        read_integer(index, "signer", VALIDATORS_MAX),
        read_hex(signature, SIGNATURE_BYTES, "signature of a validator"),
    )
