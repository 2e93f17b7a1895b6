"""A client of a node that stands still: it asks each question once, and repeats the answer.

A receiver that uses it reads a state of the past; trials that change nothing on the ledger use it
to ask less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowu.node.client import RpcClient


class FrozenClient(RpcClient):
    """Answers each question as it was answered first."""

    def __init__(self, client: RpcClient) -> None:
        super().__init__(client.url)
        self._client = client
        self._known: dict[str, Any] = {}

    async def call(self, method: str, *params: Any) -> Any:
        """Answer as before."""
        key = repr((method, params))
        if key not in self._known:
            self._known[key] = await self._client.call(method, *params)
        return self._known[key]

    async def call_many(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Answer as before."""
        key = repr((method, params))
        if key not in self._known:
            self._known[key] = await self._client.call_many(method, params)
        found: list[Any] = self._known[key]
        return found
