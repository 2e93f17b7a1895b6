"""Ethereum transactions as clients send them: legacy (EIP-155), 2930 and 1559 envelopes.

A transaction is kept, gossiped and stored as the client's own bytes; `decode_transaction`
reads those bytes, checks every field and recovers the sender. Only canonical encodings are
accepted: bytes that do not encode back to themselves are refused, so each transaction has one
hash.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    GOVERNANCE_ADDRESS,
    SYSTEM_CONFIG_ADDRESS,
)
from lowu.node.chain.rlp_codec import decode_rlp_list, encode_rlp, encode_rlp_list
from lowu.node.crypto import compute_address, keccak256, recover_public_key
from lowu.node.errors import BadInput, InvalidTransaction

TX_BYTES_MAX = 256 * 1024
CACHED_BYTES_MAX = 2 * 1024
UINT64_MAX = 2**64 - 1
UINT256_MAX = 2**256 - 1
INIT_CODE_BYTES_MAX = 49_152
"""EIP-3860."""

SYSTEM_CONTRACTS = frozenset((SYSTEM_CONFIG_ADDRESS, CONSENSUS_ADDRESS))
"""FISCO BCOS's SystemConfig and Consensus: calls may change how later blocks are decided."""
VOTE_SELECTOR = keccak256(b"vote(uint256,bool)")[:4]
"""Of Governance: a vote may pass a proposal that changes the group."""

AccessList: TypeAlias = tuple[tuple[bytes, tuple[int, ...]], ...]


class Transaction(NamedTuple):
    """A decoded transaction. `to` is empty for a contract creation."""

    raw: bytes
    hash: bytes
    type: int
    """0 legacy, 1 EIP-2930, 2 EIP-1559."""
    chain_id: int | None
    """None for a legacy transaction signed before EIP-155."""
    nonce: int
    gas: int
    max_fee_per_gas: int
    """gasPrice of types 0 and 1. Fees are never taken on this chain."""
    max_priority_fee_per_gas: int
    to: bytes
    value: int
    data: bytes
    access_list: AccessList
    v: int
    r: int
    s: int
    sender: bytes

    def is_system(self, governor: bytes) -> bool:
        """Whether its block must be a barrier (rule R-BAR-1).

        The governor's calls can change how later blocks are decided, and the consortium's votes;
        barriers for others' calls would only slow the chain down.
        """
        if self.is_vote:
            return True
        return self.to in SYSTEM_CONTRACTS and self.sender == governor

    @property
    def is_vote(self) -> bool:
        """Whether it is a vote on a proposal, whoever sends it."""
        return self.to == GOVERNANCE_ADDRESS and self.data[:4] == VOTE_SELECTOR


def _uint(value: object, value_max: int, what: str) -> int:
    if not isinstance(value, bytes) or value[:1] == b"\0":
        raise InvalidTransaction(f"{what} is not a canonical integer")
    number = int.from_bytes(value, "big")
    if number > value_max:
        raise InvalidTransaction(f"{what} is too large")
    return number


def _data(value: object, sizes: tuple[int, ...] | None, what: str) -> bytes:
    if not isinstance(value, bytes) or (sizes is not None and len(value) not in sizes):
        raise InvalidTransaction(f"{what} has a wrong length")
    return value


def _access_list(value: object) -> AccessList:
    if not isinstance(value, list):
        raise InvalidTransaction("access list is not a list")
    entries = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[1], list):
            raise InvalidTransaction("access list entry is malformed")
        keys = (_data(key, (32,), "storage key") for key in item[1])
        slots = tuple(int.from_bytes(key, "big") for key in keys)
        entries.append((_data(item[0], (20,), "access list address"), slots))
    return tuple(entries)


def _decode_rlp(data: bytes) -> tuple[list[Any], list[int]]:
    """Return the fields, and the offset of each in `data`."""
    try:
        return decode_rlp_list(data)
    except ValueError as error:
        raise InvalidTransaction(f"transaction is not an RLP list: {error}") from error


def _recover_sender(signing_hash: bytes, y_parity: int, r: int, s: int) -> bytes:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
    try:
        return compute_address(recover_public_key(signing_hash, signature))
    except BadInput as error:
        raise InvalidTransaction(f"invalid signature: {error}") from error


def _decode_legacy(raw: bytes) -> Transaction:
    fields, edges = _decode_rlp(raw)
    if len(fields) != 9:
        raise InvalidTransaction(f"legacy transaction has {len(fields)} fields instead of 9")
    v = _uint(fields[6], UINT64_MAX, "v")
    r = _uint(fields[7], UINT256_MAX, "r")
    s = _uint(fields[8], UINT256_MAX, "s")
    if v in (27, 28):
        chain_id, signed = None, b""
        y_parity = v - 27
    elif v >= 35:
        chain_id = (v - 35) // 2
        y_parity = (v - 35) % 2
        signed = encode_rlp(chain_id) + b"\x80\x80"
    else:
        raise InvalidTransaction(f"v {v} is neither 27, 28 nor an EIP-155 value")
    # The signed bytes are a prefix of the bytes received: they need not be encoded again.
    signed = encode_rlp_list((raw[edges[0] : edges[6]], signed))
    gas_price = _uint(fields[1], UINT256_MAX, "gas price")
    return Transaction(
        raw=raw,
        hash=keccak256(raw),
        type=0,
        chain_id=chain_id,
        nonce=_uint(fields[0], UINT64_MAX - 1, "nonce"),
        gas=_uint(fields[2], UINT64_MAX, "gas limit"),
        max_fee_per_gas=gas_price,
        max_priority_fee_per_gas=gas_price,
        to=_data(fields[3], (0, 20), "recipient"),
        value=_uint(fields[4], UINT256_MAX, "value"),
        data=_data(fields[5], None, "data"),
        access_list=(),
        v=v,
        r=r,
        s=s,
        sender=_recover_sender(keccak256(signed), y_parity, r, s),
    )


def _decode_typed(raw: bytes, kind: int, fee_fields: int) -> Transaction:
    payload = raw[1:]
    fields, edges = _decode_rlp(payload)
    if len(fields) != 10 + fee_fields:
        raise InvalidTransaction(f"type {kind} transaction has {len(fields)} fields")
    fees = [_uint(fields[2 + i], UINT256_MAX, "fee per gas") for i in range(fee_fields)]
    rest = fields[2 + fee_fields :]
    y_parity = _uint(rest[5], 1, "y parity")
    r, s = _uint(rest[6], UINT256_MAX, "r"), _uint(rest[7], UINT256_MAX, "s")
    if fees[0] > fees[-1]:
        raise InvalidTransaction("priority fee is above the fee cap")
    signing_hash = keccak256(raw[:1] + encode_rlp_list((payload[edges[0] : edges[-4]],)))
    return Transaction(
        raw=raw,
        hash=keccak256(raw),
        type=kind,
        chain_id=_uint(fields[0], UINT256_MAX, "chain id"),
        nonce=_uint(fields[1], UINT64_MAX - 1, "nonce"),
        gas=_uint(rest[0], UINT64_MAX, "gas limit"),
        max_fee_per_gas=fees[-1],
        max_priority_fee_per_gas=fees[0],
        to=_data(rest[1], (0, 20), "recipient"),
        value=_uint(rest[2], UINT256_MAX, "value"),
        data=_data(rest[3], None, "data"),
        access_list=_access_list(rest[4]),
        v=y_parity,
        r=r,
        s=s,
        sender=_recover_sender(signing_hash, y_parity, r, s),
    )


def decode_transaction(raw: bytes) -> Transaction:
    """Return the transaction in `raw`; `InvalidTransaction` says what is wrong.

    Small transactions are cached, since clients, gossip and proposals bring the same bytes.
    """
    return _decode_cached(raw) if len(raw) <= CACHED_BYTES_MAX else _decode(raw)


def _decode(raw: bytes) -> Transaction:
    if not raw or len(raw) > TX_BYTES_MAX:
        raise InvalidTransaction(f"transaction of {len(raw)} bytes; at most {TX_BYTES_MAX}")
    if raw[0] >= 0xC0:
        transaction = _decode_legacy(raw)
    elif raw[0] == 1:
        transaction = _decode_typed(raw, 1, 1)
    elif raw[0] == 2:
        transaction = _decode_typed(raw, 2, 2)
    else:
        raise InvalidTransaction(f"transaction type {raw[0]:#x} is not supported")
    if not transaction.to and len(transaction.data) > INIT_CODE_BYTES_MAX:
        raise InvalidTransaction(f"creation code is larger than {INIT_CODE_BYTES_MAX} bytes")
    return transaction


_decode_cached = lru_cache(maxsize=16_384)(_decode)


def build_unsigned(
    sender: bytes,
    to: bytes,
    data: bytes = b"",
    *,
    value: int = 0,
    gas: int = 0,
    access_list: AccessList = (),
) -> Transaction:
    """Return an unsigned transaction for a call or an estimate to run."""
    return Transaction(
        raw=b"",
        hash=b"",
        type=0,
        chain_id=None,
        nonce=0,
        gas=gas,
        max_fee_per_gas=0,
        max_priority_fee_per_gas=0,
        to=to,
        value=value,
        data=data,
        access_list=access_list,
        v=0,
        r=0,
        s=0,
        sender=sender,
    )


def compute_init_code_gas(transaction: Transaction) -> int:
    """Return EIP-3860's gas for the size of creation code; 0 for a call."""
    return 0 if transaction.to else 2 * ((len(transaction.data) + 31) // 32)


def compute_intrinsic_gas(transaction: Transaction) -> int:
    """Return the gas charged before the first opcode (Cancun rules)."""
    zero_bytes = transaction.data.count(0)
    gas = 21_000 + 4 * zero_bytes + 16 * (len(transaction.data) - zero_bytes)
    if not transaction.to:
        gas += 32_000 + compute_init_code_gas(transaction)
    for _, slots in transaction.access_list:
        gas += 2_400 + 1_900 * len(slots)
    return gas
