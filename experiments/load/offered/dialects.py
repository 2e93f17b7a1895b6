"""How a generator speaks to a system: Ethereum's JSON-RPC, and FISCO BCOS's own of 2.x and 3.x.

Forms of FISCO BCOS: the transaction of 2.x is RLP (as in its python-sdk), that of 3.x a Tars
structure whose hash is over its fields one after another (`bcos-tars-protocol`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import rlp
from eth_utils.crypto import keccak

from lowu.contracts.account import Account
from lowu.experiments.load.offered.steps import WorkloadCall
from lowu.experiments.load.offered.tars import TarsWriter

Request: TypeAlias = tuple[str, list[Any]]
"""A method and its parameters."""
LIMIT_AHEAD = 500
"""How many blocks after the present one a transaction of FISCO BCOS may still enter a block."""
FISCO_PRICE = 30_000_000
"""Of gas, in transactions of FISCO BCOS 2.x: its SDKs all send this, and nobody pays it."""
RANDOM_BITS = 250
NUMBER_MAX = 2**62
FISCO3_VERSION = 0
EVM_ABI = 1
"""The attribute that says how a transaction's input is encoded."""


class Dialect(Protocol):
    """What a generator says, and how it reads the answers."""

    @property
    def is_ordered(self) -> bool:
        """Whether an account's transactions have to arrive in order; they go in batches then."""
        ...

    def sign(
        self, account: Account, call: WorkloadCall, nonce: int, height: int
    ) -> tuple[bytes, str]:
        """Return a transaction's bytes and its hash; `height` is that of the chain."""
        ...

    def send(self, raw: bytes) -> Request:
        """Return what sends a transaction."""
        ...

    def is_known(self, error: dict[str, Any]) -> bool:
        """Whether a refusal is of what an earlier request, whose answer was lost, has brought."""
        ...

    def ask_height(self) -> Request:
        """Return what asks for the number of the latest block."""
        ...

    def ask_block(self, number: int) -> Request:
        """Return what asks for a block with the hashes of its transactions."""
        ...

    def ask_receipt(self, tx_hash: str) -> Request:
        """Return what asks for the receipt of a transaction."""
        ...

    def ask_receipts(self, number: int) -> Request | None:
        """Return what asks for all receipts of a block; None if there is no such method."""
        ...


def read_number(value: object, base: int = 16) -> int:
    """Return a number of an answer, which is a text, hex if nothing else is said, or an integer.

    Raises:
        ValueError: it is no number from 0 to `NUMBER_MAX`.
    """
    try:
        found = int(value, base) if isinstance(value, str) else value
    except ValueError:
        found = None
    if type(found) is not int or not 0 <= found <= NUMBER_MAX:
        raise ValueError(f"an answer is no number: {str(value)[:40]!r}")
    return found


def read_hashes(block: dict[str, Any]) -> list[str]:
    """Return the hashes of a block's transactions."""
    found = block.get("transactions") or []
    return [item if isinstance(item, str) else str(item["hash"]) for item in found]


def has_failed(receipt: dict[str, Any], dialect: Dialect) -> bool:
    """Whether a transaction was reverted, by its receipt."""
    good = 1 if isinstance(dialect, EthDialect) else 0
    return read_number(receipt["status"]) != good


def read_created(receipt: dict[str, Any]) -> bytes:
    """Return the address of the contract that a transaction created, from its receipt."""
    return bytes.fromhex(str(receipt["contractAddress"]).removeprefix("0x"))


@dataclass(frozen=True, slots=True)
class EthDialect:
    """Ethereum's JSON-RPC, with legacy transactions that every system takes."""

    chain_id: int
    price: int = 0
    """Of gas, in wei."""
    is_ordered: bool = True

    def sign(
        self, account: Account, call: WorkloadCall, nonce: int, height: int
    ) -> tuple[bytes, str]:
        """Return a legacy transaction with the account's nonce."""
        raw, digest = account.sign_transaction(
            to=call.to, data=call.data, gas=call.gas, nonce=nonce, chain_id=self.chain_id,
            price=self.price,
        )  # fmt: skip
        return raw, "0x" + digest.hex()

    def send(self, raw: bytes) -> Request:
        """Return what sends a transaction."""
        return "eth_sendRawTransaction", ["0x" + raw.hex()]

    def is_known(self, error: dict[str, Any]) -> bool:
        """Whether a node has a transaction, or has had it, already."""
        return str(error.get("message", "")).startswith(("already known", "nonce too low"))

    def ask_height(self) -> Request:
        """Return what asks for the number of the latest block."""
        return "eth_blockNumber", []

    def ask_block(self, number: int) -> Request:
        """Return what asks for a block."""
        return "eth_getBlockByNumber", [hex(number), False]

    def ask_receipt(self, tx_hash: str) -> Request:
        """Return what asks for a receipt."""
        return "eth_getTransactionReceipt", [tx_hash]

    def ask_receipts(self, number: int) -> Request | None:
        """Return what asks for all receipts of a block, which not every system knows."""
        return "eth_getBlockReceipts", [hex(number)]


@dataclass(frozen=True, slots=True)
class Fisco2Dialect:
    """JSON-RPC of FISCO BCOS 2.x: groups are numbers, a nonce is random."""

    chain_id: int
    group: int
    is_ordered: bool = False

    def sign(
        self, account: Account, call: WorkloadCall, nonce: int, height: int
    ) -> tuple[bytes, str]:
        """Return a transaction with a random nonce, which is not the account's."""
        fields = self.list_fields(call, secrets.randbits(RANDOM_BITS), height + LIMIT_AHEAD)
        v, r, s = account.sign_digest(keccak(rlp.encode(fields)))
        raw = bytes(rlp.encode([*fields, 27 + v, r, s]))
        return raw, "0x" + keccak(raw).hex()

    def list_fields(
        self, call: WorkloadCall, random_id: int, block_limit: int, price: int = FISCO_PRICE
    ) -> list[Any]:
        """Return the fields of a transaction that are signed."""
        return [
            random_id, price, call.gas, block_limit, call.to, 0, call.data, self.chain_id,
            self.group, b"",
        ]  # fmt: skip

    def send(self, raw: bytes) -> Request:
        """Return what sends a transaction."""
        return "sendRawTransaction", [self.group, "0x" + raw.hex()]

    def is_known(self, error: dict[str, Any]) -> bool:
        """Whether a node has a transaction in its pool (10000) or in its chain (10001)."""
        return error.get("code") in (10_000, 10_001)

    def ask_height(self) -> Request:
        """Return what asks for the number of the latest block."""
        return "getBlockNumber", [self.group]

    def ask_block(self, number: int) -> Request:
        """Return what asks for a block."""
        return "getBlockByNumber", [self.group, hex(number), False]

    def ask_receipt(self, tx_hash: str) -> Request:
        """Return what asks for a receipt."""
        return "getTransactionReceipt", [self.group, tx_hash]

    def ask_receipts(self, number: int) -> Request | None:
        """Return None: receipts are asked for one by one."""
        return None


def wrap_fisco3(data: TarsWriter, digest: bytes, signature: bytes) -> bytes:
    """Return a signed transaction of FISCO BCOS 3.x; the signature is r, s and v (0 or 1)."""
    whole = TarsWriter()
    whole.write_struct(1, data)
    whole.write_bytes(2, digest)
    whole.write_bytes(3, signature)
    whole.write_int(5, EVM_ABI)
    return whole.written


@dataclass(frozen=True, slots=True)
class Fisco3Dialect:
    """JSON-RPC of FISCO BCOS 3.x: it answers a transaction once that is committed."""

    chain_id: str
    group: str
    is_ordered: bool = False

    def sign(
        self, account: Account, call: WorkloadCall, nonce: int, height: int
    ) -> tuple[bytes, str]:
        """Return a transaction of version 0 with a random nonce."""
        nonce_text = str(secrets.randbits(RANDOM_BITS))
        data, digest = self.encode(call, nonce_text, height + LIMIT_AHEAD)
        v, r, s = account.sign_digest(digest)
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])
        return wrap_fisco3(data, digest, signature), "0x" + digest.hex()

    def encode(
        self, call: WorkloadCall, nonce_text: str, block_limit: int
    ) -> tuple[TarsWriter, bytes]:
        """Return the data of a transaction, and the digest that is signed and is its hash."""
        to = "0x" + call.to.hex() if call.to else ""
        data = TarsWriter()
        data.write_int(1, FISCO3_VERSION)
        data.write_text(2, self.chain_id)
        data.write_text(3, self.group)
        data.write_int(4, block_limit)
        data.write_text(5, nonce_text)
        if to:
            data.write_text(6, to)
        data.write_bytes(7, call.data)
        parts = (
            FISCO3_VERSION.to_bytes(4, "big"), self.chain_id.encode(), self.group.encode(),
            block_limit.to_bytes(8, "big"), nonce_text.encode(), to.encode(), call.data,
        )  # fmt: skip
        return data, keccak(b"".join(parts))

    def send(self, raw: bytes) -> Request:
        """Return what sends a transaction."""
        return "sendTransaction", [self.group, "", "0x" + raw.hex(), False]

    def is_known(self, error: dict[str, Any]) -> bool:
        """Whether a node has a transaction in its pool (10004, 10011) or in its chain (10005)."""
        return error.get("code") in (10_004, 10_005, 10_011)

    def ask_height(self) -> Request:
        """Return what asks for the number of the latest block."""
        return "getBlockNumber", [self.group, ""]

    def ask_block(self, number: int) -> Request:
        """Return what asks for a block."""
        return "getBlockByNumber", [self.group, "", number, False, True]

    def ask_receipt(self, tx_hash: str) -> Request:
        """Return what asks for a receipt."""
        return "getTransactionReceipt", [self.group, "", tx_hash, False]

    def ask_receipts(self, number: int) -> Request | None:
        """Return None: receipts are asked for one by one."""
        return None
