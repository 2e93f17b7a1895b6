"""A disk that fails: some writes raise, some writes to the trace are torn, and some are lost later.

After a failed sync the caller cannot know whether the write has happened (F31): it must stop, and
restart from what the disk really holds. A disk may also lie about its syncs, or lose data: `lose`
undoes the newest writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

from lowu.node.errors import StorageError
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import SLOTS, Mark, MemoryTrace

UNDO_MAX = 64
"""Number of newest writes that can be undone."""


class FaultyStorage(MemoryStorage):
    """A store in memory whose writes sometimes fail."""

    def __init__(self, random: Random, failure_rate: float) -> None:
        super().__init__()
        self._random = random
        self._undo: deque[dict[bytes, bytes | None]] = deque(maxlen=UNDO_MAX)
        self.failure_rate = failure_rate
        self.failures = 0
        self.is_failed = False

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write all, or raise after having written all or nothing."""
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
        """Undo the newest writes, as if the end of the log were cut off."""
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
        """Accept writes again, starting from what the store holds."""
        self.is_failed = False


class FaultyTrace(MemoryTrace):
    """A trace in memory whose writes sometimes fail: done, not done, or torn."""

    def __init__(self, random: Random, failure_rate: float) -> None:
        super().__init__()
        self._random = random
        self.failure_rate = failure_rate

    def write(self, mark: Mark) -> None:
        """Write a mark, or raise with the mark written, not written, or its slot damaged."""
        if self.slots is None or self._random.random() >= self.failure_rate:
            super().write(mark)
            return
        outcome = self._random.choice((mark, self.slots[mark.number % SLOTS], None))
        self.slots[mark.number % SLOTS] = outcome
        raise StorageError("simulated failure of a sync of the trace")
