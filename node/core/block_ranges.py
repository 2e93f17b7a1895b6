"""Ranges of blocks from several peers at once, for a node that is far behind.

Each peer is asked for one range at a time, and the ranges are taken over in order while the next
ones are under way. What is fetched and not yet taken over is bounded. A range that is waited for
and does not come is asked of somebody else too, so that a silent peer costs a moment, not its
time-out.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from lowu.node.errors import BadInput

AHEAD_MAX = 6
"""Ranges that are under way or wait to be taken over."""
PATIENCE_S = 1.0
"""How long one peer alone is waited for."""

Ask = Callable[[bytes, int, int], Awaitable[list[object]]]
"""Asks a peer for so many blocks from a height on, and raises `BadInput` if it does not answer."""


class BlockRanges:
    """Fetches the blocks from one height to another."""

    def __init__(self, ask: Ask, start: int, end: int, blocks_max: int) -> None:
        """Fetch from `start` to `end`, at most `blocks_max` at a time."""
        self._ask = ask
        self._end = end
        self._blocks_max = blocks_max
        self._fresh = start
        """The first height that nobody has been asked for."""
        self._again: list[int] = []
        """Heights from which on somebody is to be asked once more: a heap."""
        self._under_way: list[int] = []
        self._arrived: dict[int, tuple[bytes, list[object]]] = {}
        self.wanted = start
        """The height that is taken over next."""
        self._asking = 0
        self._changed = trio.Event()
        self.silent: set[bytes] = set()
        """Peers that gave nothing."""

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- the peers' side --------------------------------------------------------------------

    def start(self, nursery: trio.Nursery, heights: Mapping[bytes, int]) -> None:
        """Begin to ask peers, which claim to have blocks up to these heights."""
        for node_id, height in sorted(heights.items()):
            self._asking += 1
            nursery.start_soon(self._fetch_from, node_id, height)

    async def _fetch_from(self, node_id: bytes, height: int) -> None:
        """Ask one peer for one range after another."""
        try:
            while node_id not in self.silent and self.wanted <= min(height, self._end):
                first = self._take(height)
                if first is None:
                    await self._changed.wait()
                    continue
                answer = await self._try(node_id, first)
                self._under_way.remove(first)
                if answer:
                    self._arrived.setdefault(first, (node_id, answer))
                else:
                    self.silent.add(node_id)
                    heapq.heappush(self._again, first)
                self._notify()
        finally:
            self._asking -= 1
            self._notify()

    def _take(self, height: int) -> int | None:
        """Return the first height of the range to ask a peer for now; None for none yet."""
        while self._again and self._again[0] < self.wanted:
            heapq.heappop(self._again)
        ahead = len(self._under_way) + len(self._arrived)
        if self._again and self._again[0] <= height:
            if ahead >= AHEAD_MAX and self._again[0] != self.wanted:
                return None
            first = heapq.heappop(self._again)
        elif self._fresh <= min(height, self._end) and ahead < AHEAD_MAX:
            first = self._fresh
            self._fresh += self._blocks_max
        else:
            return None
        self._under_way.append(first)
        return first

    async def _try(self, node_id: bytes, first: int) -> list[object]:
        known = [other for other in (*self._arrived, *self._under_way) if other > first]
        count = min(self._blocks_max, self._end + 1 - first, *(other - first for other in known))
        try:
            answer = await self._ask(node_id, first, count)
        except BadInput:
            return []
        return answer if len(answer) <= count else []

    # --- the chain's side -------------------------------------------------------------------

    async def next_range(self) -> tuple[bytes, Sequence[object]] | None:
        """Return the blocks that follow, and who gave them; None if nobody does, or at the end."""
        while self.wanted <= self._end:
            for first, (giver, blocks) in self._arrived.items():
                if first <= self.wanted < first + len(blocks):
                    del self._arrived[first]
                    return giver, blocks[self.wanted - first :]
            if not self._asking:
                return None
            with trio.move_on_after(PATIENCE_S) as patience:
                await self._changed.wait()
            if patience.cancelled_caught:
                self._want_again()
        return None

    def take_over(self, height: int) -> None:
        """Note that the chain has all blocks up to a height."""
        self.wanted = height + 1
        for first, (_, blocks) in list(self._arrived.items()):
            if first + len(blocks) <= self.wanted:
                del self._arrived[first]
        if self.wanted < self._fresh:
            has_come = any(first <= self.wanted for first in self._arrived)
            comes = any(
                first <= self.wanted < first + self._blocks_max for first in self._under_way
            )
            if not has_come and not comes:  # an answer was cut short
                self._want_again()
        else:
            self._fresh = self.wanted
        self._notify()

    def refuse(self, node_id: bytes) -> None:
        """Take nothing more from a peer: what it gave was wrong."""
        self.silent.add(node_id)
        for first in [first for first, (giver, _) in self._arrived.items() if giver == node_id]:
            del self._arrived[first]
            heapq.heappush(self._again, first)
        self._want_again()

    def _want_again(self) -> None:
        if self.wanted <= self._end and self.wanted not in self._again:
            heapq.heappush(self._again, self.wanted)
        self._notify()
