"""eth_subscribe over WebSocket: newHeads, logs, newPendingTransactions and syncing.

Each connection has a bounded queue; a client that does not read loses its connection rather
than costing memory. What a block makes to push is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from lowu.node.chain.transaction import Transaction
from lowu.node.core.events import BlockCommittedEvent
from lowu.node.rpc.eth.filters import LogFilter, matching_logs, parse_filter
from lowu.node.rpc.eth.shapes import head_object, transaction_object
from lowu.node.rpc.json_values import parse_flag, show, to_data
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.rpc_errors import LIMIT_EXCEEDED, RpcError, invalid_params
from lowu.node.rpc.status import NodeStatus
from lowu.node.rpc.waiter import CommitWaiter

SUBSCRIPTIONS_MAX = 64
"""Of a connection."""
SUBSCRIPTIONS_ALL_MAX = 2_000
"""Of all connections: each costs the event loop some ten microseconds a block."""


class Kind(Enum):
    """What a subscription is about, other than logs."""

    HEADS = auto()
    PENDING = auto()
    """Hashes of admitted transactions."""
    PENDING_WHOLE = auto()
    SYNCING = auto()


class Subscriptions:
    """Makes sessions for connections."""

    def __init__(self, reader: ChainReader, status: NodeStatus, waiter: CommitWaiter) -> None:
        self.chain = reader
        self.status = status
        self.waiter = waiter
        self._head: tuple[int, dict[str, Any]] = (-1, {})
        self.count = 0
        """Of all sessions."""

    def open_session(self, push: Callable[[dict[str, Any]], bool]) -> Session:
        """Return the subscriptions of one connection; `push` queues a notification if it can."""
        return Session(self, push)

    def head(self, number: int) -> dict[str, Any]:
        """Return a block as newHeads shows it; the last one is kept."""
        if self._head[0] != number:
            placed = self.chain.placed(number)
            self._head = number, head_object(self.chain.header(number), placed)
        return self._head[1]


class Session:
    """The subscriptions of one WebSocket connection."""

    def __init__(self, owner: Subscriptions, push: Callable[[dict[str, Any]], bool]) -> None:
        self._owner = owner
        self._push = push
        self._wanted: dict[str, Kind | LogFilter] = {}
        self._count = 0
        self._is_syncing = False
        self._stops = [owner.waiter.listen(self._on_block)]

    def close(self) -> None:
        """End all subscriptions."""
        for stop in self._stops:
            stop()
        self._owner.count -= len(self._wanted)
        self._wanted.clear()

    def subscribe(self, params: list[Any]) -> str:
        """Handle eth_subscribe; return the subscription's id."""
        wanted = _parse(params)
        if len(self._wanted) >= SUBSCRIPTIONS_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"at most {SUBSCRIPTIONS_MAX} subscriptions")
        if self._owner.count >= SUBSCRIPTIONS_ALL_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"all {SUBSCRIPTIONS_ALL_MAX} subscriptions are taken")
        if wanted in (Kind.PENDING, Kind.PENDING_WHOLE) and len(self._stops) == 1:
            self._stops.append(self._owner.waiter.listen_pending(self._on_pending))
        self._owner.count += 1
        self._count += 1
        key = hex(self._count)
        self._wanted[key] = wanted
        return key

    def unsubscribe(self, params: list[Any]) -> bool:
        """Handle eth_unsubscribe."""
        if len(params) != 1 or not isinstance(params[0], str):
            raise invalid_params("subscription id expected")
        is_known = params[0] in self._wanted
        self._wanted.pop(params[0], None)
        self._owner.count -= is_known
        return is_known

    def _on_block(self, event: BlockCommittedEvent) -> None:
        number = event.block.header.number
        status = self._owner.status.sync_progress()
        has_changed = (status is not None) is not self._is_syncing
        self._is_syncing = status is not None
        for key, wanted in self._wanted.items():
            found: list[Any] = []
            if isinstance(wanted, LogFilter):
                found = matching_logs(wanted, self._owner.chain.placed(number))
            elif wanted is Kind.HEADS:
                found = [self._owner.head(number)]
            elif wanted is Kind.SYNCING and has_changed:
                found = [{"syncing": True, "status": status} if status else False]
            if not all(self._notify(key, item) for item in found):
                return  # it does not read, and is being closed

    def _on_pending(self, transaction: Transaction) -> None:
        for key, wanted in self._wanted.items():
            if wanted is Kind.PENDING:
                self._notify(key, to_data(transaction.hash))
            elif wanted is Kind.PENDING_WHOLE:
                self._notify(key, transaction_object(transaction, None))

    def _notify(self, key: str, result: object) -> bool:
        params = {"subscription": key, "result": result}
        return self._push({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


def _parse(params: list[Any]) -> Kind | LogFilter:
    match params:
        case ["newHeads"]:
            return Kind.HEADS
        case ["syncing"]:
            return Kind.SYNCING
        case ["newPendingTransactions"]:
            return Kind.PENDING
        case ["newPendingTransactions", is_whole]:
            is_whole = parse_flag(is_whole, "full transactions")
            return Kind.PENDING_WHOLE if is_whole else Kind.PENDING
        case ["logs", dict(raw)]:
            return parse_filter(raw)
        case ["logs"]:
            return parse_filter({})
    known = "newHeads, logs with a filter, newPendingTransactions or syncing"
    raise invalid_params(f"subscription: expected {known}, got {show(params)}")
