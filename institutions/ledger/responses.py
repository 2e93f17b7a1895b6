"""Reads nodes' answers without trusting them.

Anybody may run a node. A malformed answer becomes a `ClientError` that names the node, as if
the node had not answered at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from lowu.institutions.package.forms import FormError, read_integer, read_list
from lowu.node.client import ClientError

LOGS_MAX = 10_000
"""Most events in one answer; a node returns no more."""
TOPICS_MAX = 4
_HEX = re.compile(r"0x[0-9a-fA-F]*\Z")


@dataclass(frozen=True, slots=True)
class EventLog:
    """An event of a contract."""

    topics: tuple[bytes, ...]
    """The event's signature hash, then its indexed fields, 32 bytes each."""
    data: bytes
    height: int
    tx_hash: str

    def number(self, place: int, value_max: int = 0xFFFF) -> int:
        """Return the number in an indexed field; `FormError` if it is missing or too large."""
        return read_integer(int.from_bytes(self.topic(place), "big"), "event", value_max)

    def topic(self, place: int) -> bytes:
        """Return an indexed field; `FormError` if it is missing."""
        if place >= len(self.topics):
            raise FormError(f"event: {len(self.topics)} topics, none at place {place}")
        return self.topics[place]


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """The result of a committed transaction."""

    tx_hash: str
    height: int
    is_success: bool
    contract: bytes
    """Address of the contract that it created; empty if it created none."""
    logs: tuple[EventLog, ...]


@contextmanager
def answers_of(url: str) -> Iterator[None]:
    """Turn an error in reading an answer into a `ClientError`."""
    try:
        yield
    except (DecodingError, OverflowError, ValueError) as error:
        raise ClientError(
            f"{url}: the node gave a malformed answer ({str(error)[:200]!a}). Ask another node."
        ) from error


def read_fields(value: object, keys: tuple[str, ...], what: str) -> list[Any]:
    """Return the named fields of an object; it may have others."""
    if not isinstance(value, dict) or not set(keys) <= value.keys():
        raise FormError(f"{what}: an object with {', '.join(keys)}")
    return [value[key] for key in keys]


def read_quantity(value: object, what: str) -> int:
    """Return the number in a quantity (0x and hex digits), up to what JSON keeps exactly."""
    if not isinstance(value, str) or not 3 <= len(value) <= 66 or not _HEX.match(value):
        raise FormError(f"{what}: a quantity such as 0x1")
    return read_integer(int(value, 16), what)


def read_data(value: object, what: str, size: int | None = None) -> bytes:
    """Return bytes written as 0x and hex digits; check their size if one is given."""
    if not isinstance(value, str) or len(value) % 2 or not _HEX.match(value):
        raise FormError(f"{what}: bytes such as 0x12ab")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise FormError(f"{what}: {size} bytes")
    return found


def read_hash(value: object, what: str) -> str:
    """Return a hash of 32 bytes as 0x and lower-case hex."""
    return "0x" + read_data(value, what, 32).hex()


def read_logs(value: object) -> tuple[EventLog, ...]:
    """Return the events in an answer to eth_getLogs, or in a receipt."""
    return tuple(_read_log(item) for item in read_list(value, LOGS_MAX, "events"))


def _read_log(value: object) -> EventLog:
    keys = ("topics", "data", "blockNumber", "transactionHash")
    topics, data, height, tx_hash = read_fields(value, keys, "event")
    return EventLog(
        tuple(read_data(item, "topic", 32) for item in read_list(topics, TOPICS_MAX, "topics")),
        read_data(data, "data of an event"),
        read_quantity(height, "block of an event"),
        read_hash(tx_hash, "transaction of an event"),
    )


def read_receipt(value: object) -> TransactionReceipt:
    """Return the receipt in a non-null answer to eth_getTransactionReceipt."""
    keys = ("transactionHash", "blockNumber", "status", "contractAddress", "logs")
    tx_hash, height, status, contract, logs = read_fields(value, keys, "receipt")
    return TransactionReceipt(
        read_hash(tx_hash, "transaction of a receipt"),
        read_quantity(height, "block of a receipt"),
        read_quantity(status, "status") == 1,
        b"" if contract is None else read_data(contract, "contract's address", 20),
        read_logs(logs),
    )
