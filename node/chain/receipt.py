"""Receipts: the results of transactions, failed ones included.

The status numbers are FISCO BCOS's (0 is success, 16 a revert, 12 out of gas); the eth dialect
shows 1 for success and 0 for any failure.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from lowu.node.chain.rlp_codec import Item, decode_rlp, encode_rlp
from lowu.node.crypto import keccak256
from lowu.node.errors import DamagedData


class ReceiptStatus(IntEnum):
    """Outcome of a transaction, by FISCO BCOS's numbers."""

    SUCCESS = 0
    UNKNOWN = 1
    OUT_OF_GAS_LIMIT = 2
    NOT_ENOUGH_CASH = 7
    BAD_INSTRUCTION = 10
    BAD_JUMP_DESTINATION = 11
    OUT_OF_GAS = 12
    OUT_OF_STACK = 13
    STACK_UNDERFLOW = 14
    REVERT = 16
    CONTRACT_ADDRESS_ALREADY_USED = 17
    NONCE_CHECK_FAIL = 10_000


class Log(NamedTuple):
    """One event emitted by a contract."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class Receipt(NamedTuple):
    """Result of one transaction. `contract_address` is empty unless one was created."""

    tx_hash: bytes
    status: ReceiptStatus
    gas_used: int
    contract_address: bytes
    output: bytes
    logs: tuple[Log, ...]

    @property
    def is_success(self) -> bool:
        """Whether the transaction took effect."""
        return self.status is ReceiptStatus.SUCCESS


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the canonical bytes: the leaf of the receipt tree and the stored form."""
    logs: list[Item] = [[log.address, list(log.topics), log.data] for log in receipt.logs]
    return encode_rlp(
        [
            receipt.tx_hash,
            int(receipt.status),
            receipt.gas_used,
            receipt.contract_address,
            receipt.output,
            logs,
        ]
    )


def decode_receipt(data: bytes) -> Receipt:
    """Return the stored receipt; `DamagedData` if malformed."""
    try:
        tx_hash, status, gas_used, address, output, logs = decode_rlp(data)
        return Receipt(
            tx_hash,
            ReceiptStatus(int.from_bytes(status, "big")),
            int.from_bytes(gas_used, "big"),
            address,
            output,
            tuple(Log(item[0], tuple(item[1]), item[2]) for item in logs),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedData("stored receipt is malformed") from error


def compute_bloom(receipts: tuple[Receipt, ...]) -> bytes:
    """Return the 256-byte bloom filter over addresses and topics, for the eth dialect."""
    bits = 0
    for receipt in receipts:
        for log in receipt.logs:
            for item in (log.address, *log.topics):
                digest = keccak256(item)
                for offset in (0, 2, 4):
                    bits |= 1 << (int.from_bytes(digest[offset : offset + 2], "big") & 2047)
    return bits.to_bytes(256, "big")
