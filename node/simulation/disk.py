"""A disk that fails: some writes raise, and may or may not have happened.

That is what a failed sync leaves behind (F31): the caller cannot know, must stop, and starts
again from what is really there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from node.errors import StorageError
from node.ledger.storage import MemoryStorage


class FaultyStorage(MemoryStorage):
    """A store in memory whose writes fail now and then."""

    def __init__(self, random: Random, failure_rate: float) -> None:
        super().__init__()
        self._random = random
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
                super().write(puts, deletes)
            raise StorageError("simulated failure of a sync")
        super().write(puts, deletes)

    def wipe(self) -> None:
        """Lose everything."""
        self.records.clear()

    def reopen(self) -> None:
        """Start again from what is there."""
        self.is_failed = False
