"""Reads that always include every transaction of which an actor has seen the receipt.

The actors of a scenario talk to each other, and each reads from a node of its own. A node may be
some blocks behind another, so an actor could miss a transaction whose receipt another actor has.
Each read therefore waits until the node has the highest block of which any actor has seen a
receipt: "read your writes" of Terry et al., "Session Guarantees for Weakly Consistent Replicated
Data" (1994), with one session for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio

from lowu.node.client import ClientError, RpcClient

NOT_READS = frozenset(
    (
        "eth_chainId",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_sendRawTransaction",
    )
)
"""Methods that send a transaction or ask for its receipt: they do not wait for the horizon."""
RECEIPT = "eth_getTransactionReceipt"
WAIT_S = 30.0
POLL_S = 0.02


@dataclass(slots=True)
class Horizon:
    """The highest block of which any actor has seen a receipt."""

    height: int = 0
    _ignoring: int = 0

    @property
    def is_awaited(self) -> bool:
        """Whether reads wait for the horizon."""
        return not self._ignoring

    def note(self, height: int) -> None:
        """Raise the horizon to a height, if it is lower."""
        self.height = max(self.height, height)

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Within this context, read whatever nodes have, however far behind they are."""
        self._ignoring += 1
        try:
            yield
        finally:
            self._ignoring -= 1


class CausalClient(RpcClient):
    """Calls a node through another client, once the node has reached the horizon."""

    def __init__(self, client: RpcClient, horizon: Horizon) -> None:
        super().__init__(client.url)
        self._client = client
        self._horizon = horizon
        self._height = 0

    async def aclose(self) -> None:
        """Close the wrapped client."""
        await self._client.aclose()

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method; `ClientError` also if the node does not reach the horizon in time."""
        await self._catch_up(method)
        result = await self._client.call(method, *params)
        if method == RECEIPT and result is not None:
            self._horizon.note(int(result["blockNumber"], 16))
        return result

    async def call_many(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Call a method many times in one request, like `call`."""
        await self._catch_up(method)
        return await self._client.call_many(method, params)

    async def _catch_up(self, method: str) -> None:
        if method in NOT_READS or not self._horizon.is_awaited:
            return
        wanted = self._horizon.height
        with trio.move_on_after(WAIT_S):
            while self._height < wanted:
                self._height = int(await self._client.call("eth_blockNumber"), 16)
                if self._height < wanted:
                    await trio.sleep(POLL_S)
        if self._height < wanted:
            raise ClientError(
                f"{self.url}: still at block {self._height} after {WAIT_S:.0f} s, and block "
                f"{wanted} is known to be committed. Is the node cut off? To read what it has "
                "anyway, use `with actors.horizon.ignored():`"
            )
