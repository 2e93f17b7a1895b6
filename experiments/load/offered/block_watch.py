"""Reads blocks as nodes commit them: a block counts as committed when the first node has it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from lowu.experiments.load.offered.dialects import (
    Dialect,
    has_failed,
    read_hashes,
    read_number,
)
from lowu.experiments.load.offered.endpoints import AGAIN_S, FAULTS, Client, Connect, call

POLL_S = 0.02
WATCHERS = 2
"""How many nodes are polled."""


@dataclass(frozen=True, slots=True)
class SeenBlock:
    """A block that a watcher saw."""

    height: int
    at_s: float
    """When it was seen, in seconds from the begin of the load."""
    transactions: int
    """All of it, those of others included."""


class BlockWatch:
    """The blocks that some nodes have, from the first look on."""

    def __init__(
        self,
        urls: Sequence[str],
        connect: Connect,
        now_s: Callable[[], float],
        note: Callable[[SeenBlock, list[str]], None],
        dialect: Dialect,
    ) -> None:
        """`note` is told of each block, once, with the hashes of its transactions."""
        self._urls = urls
        self._connect = connect
        self._now_s = now_s
        self._note = note
        self._dialect = dialect
        self.blocks: dict[int, SeenBlock] = {}
        self.is_ready = trio.Event()
        self._height: int | None = None
        """That of the chain at the first look."""
        self.unread = 0
        """How many transactions' receipts could not be read."""
        self.highest = 0
        """The highest block that any node had."""

    async def run(self) -> None:
        """Watch for good."""
        async with trio.open_nursery() as nursery:
            for number in range(min(WATCHERS, len(self._urls))):
                nursery.start_soon(self._watch, number)

    async def _watch(self, first: int) -> None:
        """Note the blocks that nodes have, beginning with the `first` of them."""
        for url in itertools.cycle([*self._urls[first:], *self._urls[:first]]):
            try:
                async with self._connect(url) as client:
                    height = await self._ask_height(client)
                    if self._height is None:
                        self._height = height
                        self.is_ready.set()
                    seen = max(self.blocks, default=self._height)
                    while True:
                        if height > seen:
                            at_s = self._now_s()
                            for number in range(seen + 1, height + 1):
                                await self._read(client, number, at_s)
                            seen = height
                        await trio.sleep(POLL_S)
                        height = await self._ask_height(client)
            except FAULTS:
                await trio.sleep(AGAIN_S)

    async def _ask_height(self, client: Client) -> int:
        height = read_number(await call(client, self._dialect.ask_height()))
        self.highest = max(self.highest, height)
        return height

    async def _read(self, client: Client, number: int, at_s: float) -> None:
        if number in self.blocks:
            return
        hashes = read_hashes(await call(client, self._dialect.ask_block(number)))
        if number in self.blocks:  # the other watcher was faster
            return
        self.blocks[number] = SeenBlock(number, at_s, len(hashes))
        self._note(self.blocks[number], hashes)

    async def find_failed(self, own: Mapping[int, Collection[str]]) -> set[str]:
        """Return those of some transactions, by height, whose receipts say that they failed."""
        found: set[str] = set()
        heights = sorted(own)
        self.unread = sum(map(len, own.values()))
        for url in self._urls:
            try:
                async with self._connect(url) as client:
                    while heights:
                        receipts = await self._receipts(client, heights[-1], own[heights[-1]])
                        found |= {
                            tx_hash
                            for tx_hash, item in receipts.items()
                            if has_failed(item, self._dialect)
                        }
                        self.unread -= sum(item in receipts for item in own[heights.pop()])
                break
            except FAULTS:
                continue
        return found

    async def _receipts(
        self, client: Client, height: int, own: Collection[str]
    ) -> dict[str, dict[str, Any]]:
        """Return the receipts of a block; one by one where the method for all is unknown."""
        request = self._dialect.ask_receipts(height)
        if request is not None:
            with suppress(KeyError):
                found = await call(client, request)
                return {item["transactionHash"]: item for item in found}
        return {item: await call(client, self._dialect.ask_receipt(item)) for item in own}
