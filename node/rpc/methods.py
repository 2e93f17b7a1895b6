"""The table of methods: which name is answered by what.

A handler is a method of a dialect class whose name is the RPC name. Wrong numbers of
parameters are found by its signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
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


def _describe(dialect: type) -> dict[str, Method]:
    """Return a class's handlers, not yet bound to the dialect of one node."""
    table = {}
    for name, function in inspect.getmembers(dialect, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = list(inspect.signature(function).parameters.values())[1:]
        is_open = any(item.kind is item.VAR_POSITIONAL for item in parameters)
        fixed = [item for item in parameters if item.kind is not item.VAR_POSITIONAL]
        required = sum(item.default is item.empty for item in fixed)
        limit = None if is_open else len(fixed)
        table[name] = Method(function, required, limit, inspect.iscoroutinefunction(function))
    return table


_DESCRIBED = {dialect: _describe(dialect) for dialect in (EthMethods, FiscoMethods)}
"""The handlers of each dialect; they are the same in all nodes of a process."""


def build_methods(reader: ChainReader, status: NodeStatus, waiter: CommitWaiter) -> Methods:
    """Return the table for a node."""
    table = {}
    for dialect, described in _DESCRIBED.items():
        bound = dialect(reader, status, waiter)
        for name, method in described.items():
            table[name] = replace(method, handler=getattr(bound, name))
    return Methods(table, Subscriptions(reader, status, waiter))
