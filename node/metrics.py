"""A node's measurements of itself."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from threading import Lock


class Part(StrEnum):
    """Parts of a node's CPU time. The rest is the wire, HTTP and the event loop."""

    ADMISSION = "admission"
    """Decoding transactions, recovering their senders, adding them to the pool."""
    EXECUTION = "execution"
    """Running blocks: contracts, receipts, roots."""
    CONSENSUS = "consensus"
    """Verifying and handling consensus messages."""
    STORAGE = "storage"
    """Writing to disk."""


class CpuTimes:
    """CPU seconds of a node by part. Any thread may measure."""

    def __init__(self) -> None:
        self._spent_s = dict.fromkeys(Part, 0.0)
        self._lock = Lock()

    def measure(self, part: Part, items: int = 1) -> AbstractContextManager[None]:
        """Count this thread's CPU time in the body, which must not wait for another task.

        `items` is the number of transactions that the body is about, for a model of its cost.
        """
        return _Span(self, part)

    def add(self, part: Part, spent_s: float) -> None:
        """Count CPU seconds."""
        with self._lock:
            self._spent_s[part] += spent_s

    def read(self) -> dict[str, float]:
        """Return the seconds so far by part, and of the whole process."""
        with self._lock:
            parts = {part.value: spent_s for part, spent_s in self._spent_s.items()}
        return {**parts, "process": time.process_time()}


class _Span:
    """A class rather than a generator: it opens around every transaction."""

    __slots__ = ("_part", "_started_s", "_times")

    def __init__(self, times: CpuTimes, part: Part) -> None:
        self._times = times
        self._part = part

    def __enter__(self) -> None:
        self._started_s = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self._times.add(self._part, time.thread_time() - self._started_s)


class BlockPhase(StrEnum):
    """What a validator notes of a block, in this order."""

    PROPOSED = "proposed"
    """It proposed the block, or had the proposal."""
    PREPARED = "prepared"
    """A quorum had prepared it: this node's commit vote leaves."""
    ORDERED = "ordered"
    """A quorum had committed to the order: the block is to be executed."""
    EXECUTED = "executed"
    """Its own execution has a result."""
    CERTIFIED = "certified"
    """A quorum had the same result."""
    DURABLE = "durable"
    """The block is on disk, with its certificate."""


PHASES_KEPT = 8_192
"""Blocks whose phases a node remembers."""


class BlockPhases:
    """When the latest blocks passed each phase at this node. Only the driver's thread notes."""

    def __init__(self, elapsed_s: Callable[[], float]) -> None:
        self._elapsed_s = elapsed_s
        self._times: dict[int, dict[BlockPhase, float]] = {}
        """By height."""
        self._heights: list[int] = []
        """The same heights in order: whoever asks for some makes nobody sort them all."""

    def note(self, height: int, phase: BlockPhase) -> None:
        """Note that a block has passed a phase; the first time counts.

        A block is prepared with all before it, as one commit vote is for them all.
        """
        if phase is BlockPhase.PROPOSED and height not in self._times:
            self._times[height] = {}
            insort(self._heights, height)
            if len(self._heights) > PHASES_KEPT:
                del self._times[self._heights.pop(0)]
        now_s = self._elapsed_s()
        # A block that sync brings has no proposal, and is left out.
        while (times := self._times.get(height)) is not None and phase not in times:
            times[phase] = now_s
            if phase is not BlockPhase.PREPARED:
                break
            height -= 1

    def read(self, first: int, count: int) -> list[tuple[int, tuple[float | None, ...]]]:
        """Return height and times of at most so many blocks from `first` on, by height.

        Times are those of the node's clock, in seconds, one for each phase; None where a block has
        not passed it.
        """
        place = bisect_left(self._heights, first)
        return [
            (height, tuple(self._times[height].get(phase) for phase in BlockPhase))
            for height in self._heights[place : place + count]
        ]


class DamageCount:
    """Damage found in a node's storage since its start. Any thread may count."""

    def __init__(self) -> None:
        self.reads = 0
        """Number of reads that found damage."""
        self.first = ""
        """Error text of the first of them that is not mended."""
        self.is_table_damaged = False
        """Whether the engine itself could not read on: it will stop when it rewrites the table."""
        self.mended = 0
        """Number of blocks and other records that were written anew."""

    def note(self, text: str) -> None:
        """Count a read that found damage."""
        self.first = self.first or text
        self.reads += 1

    def settle(self) -> None:
        """Note that all of it has been mended, unless a whole table is damaged: it stays that."""
        if not self.is_table_damaged:
            self.first = ""
