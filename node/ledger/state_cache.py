"""Values of the committed state that were read not long ago.

Execution and the pool read the same few values again and again: accounts, roles, code. A value
that was found absent is forgotten once it is written, since what is written for the first time
is a new record, which hardly anybody reads soon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

CACHE_BYTES_MAX = 8 * 1024 * 1024
ENTRY_BYTES = 200
"""What an entry takes beside its key and value, roughly."""


class StateCache:
    """The newest values by key, the first read leaving first. Any thread may read."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()
        self.commits = 0
        """How often the state has changed: what was read before may be old."""
        self.size_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return a value, b"" if there is none in the state, None if it is not known here."""
        return self._values.get(key)

    def remember(self, key: bytes, value: bytes, commits: int) -> None:
        """Keep what was read from the disk, unless the state has changed since `commits`."""
        with self._lock:
            if commits == self.commits and key not in self._values:
                self._values[key] = value
                self.size_bytes += _size(key, value)
                self._fit()

    def on_commit(self, writes: Mapping[bytes, bytes]) -> None:
        """Take over what a block has written, once it is durable."""
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

    def _fit(self) -> None:
        while self.size_bytes > self._bytes_max:
            self.size_bytes -= _size(*self._values.popitem(last=False))


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES
