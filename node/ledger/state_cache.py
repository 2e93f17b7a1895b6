"""A cache of recently read values of the committed state.

Execution and the pool read the same few values again and again: accounts, roles, code. The
entry of an absent value is dropped when the value is first written, since a new record is
rarely read soon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

CACHE_BYTES_MAX = 8 * 1024 * 1024
ENTRY_BYTES = 200
"""Approximate size of an entry besides its key and value."""


class StateCache:
    """The latest values by key, evicted first in, first out. Any thread may read."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()
        self.commits = 0
        """Number of commits so far: a value that was read before the last one may be stale."""
        self.size_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return a value, b"" if the state has none, None if it is not cached."""
        return self._values.get(key)

    def remember(self, key: bytes, value: bytes, commits: int) -> None:
        """Cache a value read from the disk, unless the state has changed since `commits`."""
        with self._lock:
            if commits == self.commits and key not in self._values:
                self._values[key] = value
                self.size_bytes += _size(key, value)
                self._fit()

    def on_commit(self, writes: Mapping[bytes, bytes]) -> None:
        """Update cached values that a block has written, once the block is durable."""
        with self._lock:
            self.commits += 1
            for key, value in writes.items():
                known = self._values.get(key)
                if known:
                    self._values[key] = value
                    self.size_bytes += len(value) - len(known)
                elif known is not None:
                    self.size_bytes -= _size(key, self._values.pop(key))
            self._fit()

    def clear(self) -> None:
        """Drop all values: the state is another one."""
        with self._lock:
            self.commits += 1
            self._values.clear()
            self.size_bytes = 0

    def _fit(self) -> None:
        while self.size_bytes > self._bytes_max:
            self.size_bytes -= _size(*self._values.popitem(last=False))


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES
