"""A node's measurements of itself."""

from __future__ import annotations

import time
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


class DamageCount:
    """Damage found in a node's storage since its start. Any thread may count."""

    def __init__(self) -> None:
        self.reads = 0
        """Number of reads that found damage."""
        self.first = ""
        """Error text of the first of them."""

    def note(self, text: str) -> None:
        """Count a read that found damage."""
        self.first = self.first or text
        self.reads += 1
