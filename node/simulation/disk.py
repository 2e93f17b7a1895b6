"""A disk that fails: some writes raise, some come to an end half-way, and some are lost later.

A failed sync leaves it open whether the write has happened (F31): the caller cannot know, must
stop, and starts again from what is really there. A disk may also lie about its syncs, or lose
what it had: `lose` takes the newest writes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

from node.errors import StorageError
from node.ledger.storage import MemoryStorage
from node.ledger.trace import SLOTS, Mark, MemoryTrace

UNDO_MAX = 64
"""Writes that can be taken back."""


class FaultyStorage(MemoryStorage):
    """A store in memory whose writes fail now and then."""

    def __init__(self, random: Random, failure_rate: float) -> None:
        super().__init__()
        self._random = random
        self._undo: deque[dict[bytes, bytes | None]] = deque(maxlen=UNDO_MAX)
        self.failure_rate = failure_rate
        self.failures = 0
        self.is_failed = False

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write everything, or raise having written everything or nothing."""
        if self.is_failed:
            raise StorageError("the store has failed and must be opened again")
        if self._random.random() < self.failure_rate:
            self.failures += 1
            self.is_failed = True
            if self._random.random() < 0.5:
                self._apply(puts, deletes)
            raise StorageError("simulated failure of a sync")
        self._apply(puts, deletes)

    def _apply(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        self._undo.append({key: self.records.get(key) for key in (*puts, *deletes)})
        super().write(puts, deletes)

    def lose(self, writes: int) -> None:
        """Lose the newest writes, as a log does whose end is cut off."""
        for _ in range(min(writes, len(self._undo))):
            for key, stored in self._undo.pop().items():
                if stored is None:
                    self.records.pop(key, None)
                else:
                    self.records[key] = stored

    def wipe(self) -> None:
        """Lose everything."""
        self.records.clear()
        self._undo.clear()

    def reopen(self) -> None:
        """Start again from what is there."""
        self.is_failed = False


class FaultyTrace(MemoryTrace):
    """A trace in memory whose writes fail now and then: done, not done, or torn."""

    def __init__(self, random: Random, failure_rate: float) -> None:
        super().__init__()
        self._random = random
        self.failure_rate = failure_rate

    def write(self, mark: Mark) -> None:
        """Keep a mark, or raise with it kept, not kept, or its slot damaged."""
        if self.slots is None or self._random.random() >= self.failure_rate:
            super().write(mark)
            return
        outcome = self._random.choice((mark, self.slots[mark.number % SLOTS], None))
        self.slots[mark.number % SLOTS] = outcome
        raise StorageError("simulated failure of a sync of the trace")
