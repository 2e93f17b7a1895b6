"""eth_subscribe over WebSocket: newHeads and logs.

Each connection has a bounded queue; a client that does not read loses its connection rather
than costing memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.events import BlockCommittedEvent
from node.rpc.backend import Backend
from node.rpc.errors import LIMIT_EXCEEDED, RpcError, invalid_params
from node.rpc.eth_shapes import header_object
from node.rpc.logs import LogFilter, matching_logs, parse_filter

SUBSCRIPTIONS_MAX = 64


class Subscriptions:
    """Makes sessions for connections."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def open_session(self, push: Callable[[dict[str, Any]], None]) -> Session:
        """Return the subscriptions of one connection; `push` queues a notification."""
        return Session(self._backend, push)


class Session:
    """The subscriptions of one WebSocket connection."""

    def __init__(self, backend: Backend, push: Callable[[dict[str, Any]], None]) -> None:
        self._backend = backend
        self._push = push
        self._wanted: dict[str, LogFilter | None] = {}
        self._count = 0
        self._stop = backend.listen(self._on_block)

    def close(self) -> None:
        """End all subscriptions."""
        self._stop()

    def subscribe(self, params: list[Any]) -> str:
        """Handle eth_subscribe; return the subscription's id."""
        if len(self._wanted) >= SUBSCRIPTIONS_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"at most {SUBSCRIPTIONS_MAX} subscriptions")
        match params:
            case ["newHeads", *_]:
                wanted = None
            case ["logs", dict(raw)]:
                wanted = parse_filter(raw)
            case ["logs"]:
                wanted = parse_filter({})
            case _:
                raise invalid_params("subscription: expected newHeads or logs")
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
        return is_known

    def _on_block(self, event: BlockCommittedEvent) -> None:
        header = event.block.header
        for key, wanted in self._wanted.items():
            if wanted is None:
                self._notify(key, header_object(header))
                continue
            for log in matching_logs(wanted, self._backend.placed(header.number)):
                self._notify(key, log)

    def _notify(self, key: str, result: dict[str, Any]) -> None:
        self._push(
            {
                "jsonrpc": "2.0",
                "method": "eth_subscription",
                "params": {"subscription": key, "result": result},
            }
        )
