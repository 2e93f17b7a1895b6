"""Filters over logs: eth_getLogs and the logs subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from lowu.node.chain.receipt import Log
from lowu.node.rpc.eth.shapes import log_object
from lowu.node.rpc.json_values import parse_address, parse_data
from lowu.node.rpc.reader import ChainReader, PlacedTransaction
from lowu.node.rpc.rpc_errors import LIMIT_EXCEEDED, RpcError, invalid_params

LOGS_MAX = 10_000
BLOCKS_MAX = 10_000
LOG_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of data in all logs of an answer, which takes two characters for each."""
ADDRESSES_MAX = 256
TOPICS_MAX = 256


@dataclass(frozen=True, slots=True)
class LogFilter:
    """The wanted logs: of any of the addresses, with any of the topics for each position."""

    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes] | None, ...]

    def matches(self, log: Log) -> bool:
        """Whether a log is wanted."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(
            wanted is None or topic in wanted
            for wanted, topic in zip(self.topics, log.topics, strict=False)
        )


def parse_filter(raw: dict[str, Any]) -> LogFilter:
    """Return the filter in a JSON object."""
    address = raw.get("address")
    addresses = address if isinstance(address, list) else [] if address is None else [address]
    topics = raw.get("topics") or []
    if not isinstance(topics, list) or len(topics) > 4 or len(addresses) > ADDRESSES_MAX:
        raise invalid_params("filter: at most 4 topics and 256 addresses")
    return LogFilter(
        frozenset(parse_address(item) for item in addresses),
        tuple(_parse_topic(item) for item in topics),
    )


def _parse_topic(value: object) -> frozenset[bytes] | None:
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    if len(items) > TOPICS_MAX:
        raise invalid_params("filter: too many alternatives for one topic")
    if None in items:
        return None  # one of the alternatives is a wildcard
    return frozenset(parse_data(item, "topic", 32) for item in items) or None


def matching_logs(wanted: LogFilter, placed: list[PlacedTransaction]) -> list[dict[str, Any]]:
    """Return the wanted logs of a block's transactions."""
    return [
        log_object(log, item, position)
        for item in placed
        for position, log in enumerate(item.receipt.logs)
        if wanted.matches(log)
    ]


async def find_logs(
    reader: ChainReader, wanted: LogFilter, low: int, high: int
) -> list[dict[str, Any]]:
    """Return the wanted logs of a range of blocks, within limits."""
    high = min(high, reader.height)
    if high - low >= BLOCKS_MAX:
        raise RpcError(LIMIT_EXCEEDED, f"range of more than {BLOCKS_MAX} blocks; ask in parts")
    found: list[dict[str, Any]] = []
    size = 0
    for number in range(low, high + 1):
        await trio.lowlevel.checkpoint()  # a long range must not hold up consensus
        if reader.header(number).gas_used == 0:
            continue
        more = matching_logs(wanted, reader.placed(number))
        found += more
        size += sum(len(log["data"]) for log in more) // 2
        if len(found) > LOGS_MAX or size > LOG_BYTES_MAX:
            limits = f"{LOGS_MAX} logs, or {LOG_BYTES_MAX} bytes in them"
            raise RpcError(LIMIT_EXCEEDED, f"more than {limits}; ask for fewer blocks")
    return found
