"""A disk that fails: some writes raise, some writes to the trace are torn, and some are lost later.

Bits turn in records that were written whole.

After a failed sync the caller cannot know whether the write has happened (F31): it must stop, and
restart from what the disk really holds. A disk may also lie about its syncs, or lose data: `lose`
undoes the newest writes.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

from lowu.consensus.records import Record, decode_record
from lowu.node.chain.block import Block
from lowu.node.crypto import keccak256
from lowu.node.errors import StorageError
from lowu.node.ledger.disk_errors import describe_os_error
from lowu.node.ledger.schema import (
    KEY_HEAD,
    PREFIX_VOTE,
    PREFIX_VOTE_END,
    decode_head,
    height_key,
)
from lowu.node.ledger.storage import MemoryStorage, Storage
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
        self.is_full = False

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write all, or raise after having written all or nothing."""
        if self.is_failed:
            raise StorageError("the store has failed and must be opened again")
        if self.is_full:
            self.is_failed = True
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise StorageError(describe_os_error(full))
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

    def rot(self, key: bytes, bit: int) -> None:
        """Turn a bit of a record."""
        stored = bytearray(self.records[key])
        stored[bit // 8 % len(stored)] ^= 1 << bit % 8
        self.records[key] = bytes(stored)

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


def list_block_keys(block: Block) -> list[bytes]:
    """Return the keys of a block's records, the transactions' first."""
    kinds = (height_key(kind, block.header.number) for kind in (b"H", b"B", b"R"))
    found = [b"T" + keccak256(raw) for raw in block.transactions]
    return [*found, b"N" + block.header.hash, *kinds]


def read_disk(storage: Storage) -> tuple[int, list[Record]]:
    """Return the head's height and the consensus records on a disk."""
    head = storage.get(KEY_HEAD)
    rows = storage.scan(PREFIX_VOTE, PREFIX_VOTE_END)
    return decode_head(head).number if head else 0, [decode_record(value) for _, value in rows]
