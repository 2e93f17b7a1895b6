"""The table of methods: which name is answered by what.

A handler is a method of a dialect class whose name is the RPC name. Wrong numbers of
parameters are found by its signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lowu.node.rpc.eth.dialect import EthMethods
from lowu.node.rpc.fisco import FiscoMethods
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.status import NodeStatus
from lowu.node.rpc.subscriptions import Subscriptions
from lowu.node.rpc.waiter import CommitWaiter

Handler: TypeAlias = Callable[..., Any | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """A handler with how many parameters it takes."""

    handler: Handler
    params_min: int
    params_max: int | None
    is_async: bool


@dataclass(frozen=True, slots=True)
class Methods:
    """All handlers, and the subscriptions that WebSocket clients may open."""

    table: Mapping[str, Method]
    subscriptions: Subscriptions


def _describe(handler: Handler) -> Method:
    parameters = inspect.signature(handler).parameters.values()
    is_open = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    fixed = [item for item in parameters if item.kind is not item.VAR_POSITIONAL]
    required = sum(item.default is item.empty for item in fixed)
    limit = None if is_open else len(fixed)
    return Method(handler, required, limit, inspect.iscoroutinefunction(handler))


def build_methods(reader: ChainReader, status: NodeStatus, waiter: CommitWaiter) -> Methods:
    """Return the table for a node."""
    table = {}
    for dialect in (EthMethods(reader, status, waiter), FiscoMethods(reader, status, waiter)):
        for name, handler in inspect.getmembers(dialect, inspect.ismethod):
            if not name.startswith("_"):
                table[name] = _describe(handler)
    return Methods(table, Subscriptions(reader, status, waiter))
