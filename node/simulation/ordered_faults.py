"""A node's clock and disk that can be made worse to order, where the setting `allow_lies` is set.

Experiments and tests shift a clock and slow a disk while a network runs; a node without the setting
has neither of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from lowu.node.clock import Clock
from lowu.node.ledger.storage import OrderedSnapshot, Storage


class ShiftedClock:
    """A clock that is ahead of another one, or behind it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead_ms = 0

    def now_ms(self) -> int:
        """Return the other clock's wall-clock time, shifted."""
        return self._clock.now_ms() + self.ahead_ms

    def elapsed_s(self) -> float:
        """Return the other clock's monotonic time, which is never shifted."""
        return self._clock.elapsed_s()


class StorageAround:
    """A store that hands everything on to another one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.damage = storage.damage

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        return self._storage.get(key)

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield a range, ascending."""
        return self._storage.scan(low, high)

    def keys(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield the keys of a range, ascending."""
        return self._storage.keys(low, high)

    def scan_damaged(self, after: bytes = b"") -> Iterator[tuple[bytes, bytes | None]]:
        """Yield all records above a key, with None for a damaged one."""
        return self._storage.scan_damaged(after)

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Return a `get` for the store as it is now."""
        return self._storage.snapshot()

    def ordered_snapshot(self) -> OrderedSnapshot:
        """Return the store as it is now."""
        return self._storage.ordered_snapshot()

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write all or nothing, durably."""
        self._storage.write(puts, deletes)

    def free_bytes(self) -> int:
        """Ask it."""
        return self._storage.free_bytes()

    def close(self) -> None:
        """Release the store."""
        self._storage.close()


class DelayedStorage(StorageAround):
    """A store whose durable writes take longer than another one's."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.delay_s = 0.0

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write, after the delay: whoever waits for a disk does nothing else meanwhile."""
        if self.delay_s:
            time.sleep(self.delay_s)
        super().write(puts, deletes)
