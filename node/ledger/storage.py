"""The storage port: ordered keys, atomic durable batches, checksummed records.

`MemoryStorage` is for tests and simulation, `RocksStorage` (in `rocks`) for nodes. Every value
is stored with a checksum over key and value, so that a read detects a damaged or misplaced
record and never returns it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from lowu.node.errors import DamagedData
from lowu.node.metrics import DamageCount

CHECKSUM_BYTES = 4


class OrderedSnapshot(Protocol):
    """A store as it was at one moment, whatever is written later. One thread at a time uses it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        ...

    def first(self, low: bytes, high: bytes) -> bytes | None:
        """Return the value of the first key with low ≤ key < high, or None."""
        ...

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of a range, ascending."""
        ...


class Storage(Protocol):
    """What the ledger needs from a disk. A damaged record raises `DamagedData`, and is counted."""

    damage: DamageCount

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        ...

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values with low ≤ key < high, ascending."""
        ...

    def keys(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield the keys with low ≤ key < high, ascending, without reading their values."""
        ...

    def scan_damaged(self, after: bytes = b"") -> Iterator[tuple[bytes, bytes | None]]:
        """Yield all records above a key, ascending, with None for the value of a damaged one.

        Damage is not counted. Where several records cannot be read, None is yielded once, with the
        last key before them.
        """
        ...

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Return a `get` for the store as it is now, whatever is written later."""
        ...

    def ordered_snapshot(self) -> OrderedSnapshot:
        """Return the store as it is now, to be searched too."""
        ...

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write all or nothing, durably, before returning.

        Raises:
            StorageError: the write may not be durable. The store must not be used again.
        """
        ...

    def free_bytes(self) -> int:
        """Return the room that is left on the disk."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


def seal_record(key: bytes, value: bytes) -> bytes:
    """Return the stored form of a value: checksum, then value."""
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(CHECKSUM_BYTES, "big") + value


def open_record(key: bytes, stored: bytes) -> bytes:
    """Return the value of a stored record; `DamagedData` if the checksum does not match."""
    value = stored[CHECKSUM_BYTES:]
    if seal_record(key, value) != stored:
        raise DamagedData(f"record {key[:1]!r} {key[1:].hex()} is damaged")
    return value


class MemoryStorage:
    """A store in memory, with the same record format."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.damage = DamageCount()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        stored = self.records.get(key)
        return None if stored is None else self._open(key, stored)

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield a range, ascending."""
        for key in self.keys(low, high):
            yield key, self._open(key, self.records[key])

    def keys(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield the keys of a range, ascending."""
        yield from sorted(key for key in self.records if low <= key < high)

    def scan_damaged(self, after: bytes = b"") -> Iterator[tuple[bytes, bytes | None]]:
        """Yield all records above a key, with None for a damaged one."""
        for key in sorted(key for key in self.records if key > after):
            try:
                yield key, open_record(key, self.records[key])
            except DamagedData:
                yield key, None

    def first(self, low: bytes, high: bytes) -> bytes | None:
        """Return the first value of a range, or None."""
        key = min((key for key in self.records if low <= key < high), default=None)
        return None if key is None else self._open(key, self.records[key])

    def _open(self, key: bytes, stored: bytes) -> bytes:
        try:
            return open_record(key, stored)
        except DamagedData as error:
            self.damage.note(str(error))
            raise

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Copy the records."""
        return self.ordered_snapshot().get

    def ordered_snapshot(self) -> OrderedSnapshot:
        """Copy the records."""
        copy = MemoryStorage()
        copy.records, copy.damage = dict(self.records), self.damage
        return copy

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Apply a batch."""
        for key in deletes:
            self.records.pop(key, None)
        for key, value in puts.items():
            self.records[key] = seal_record(key, value)

    def free_bytes(self) -> int:
        """Return that there is room."""
        return sys.maxsize

    def close(self) -> None:
        """Keep the records: a test may reopen the store."""
