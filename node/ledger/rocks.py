"""RocksDB behind the storage port, through rocksdict.

Every batch is synced before `write` returns. Compression is off: records are small hashes and
numbers, and the files can be searched for plain bytes (the canary check relies on this). An error
of the engine becomes a `StorageError` that says what to do; the caller must stop.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from lowu.node.errors import DamagedData, StorageError
from lowu.node.ledger.disk_errors import explain_open_error, explain_read_error, explain_write_error
from lowu.node.ledger.storage import OrderedSnapshot, open_record, seal_record
from lowu.node.limits.descriptors import ROCKSDB_FILES
from lowu.node.metrics import DamageCount

BLOOM_BITS = 10
"""Bits per key: one in a hundred lookups of an absent key reads the disk."""
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
BLOCK_CACHE_BYTES = 8 * 1024 * 1024
"""Of table blocks that were read. The engine's own default is four times as large, and a node would
take a quarter of a million registrations to fill it, which looks like memory that grows."""
LOG_FILE_BYTES = 4 * 1024 * 1024


def _build_options(*, is_salvage: bool) -> Options:
    options = Options(raw_mode=True)
    options.set_paranoid_checks(True)
    # A crash can leave an incomplete last record; anything else in the log is damage.
    strict = DBRecoveryMode.tolerate_corrupted_tail_records()
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time() if is_salvage else strict)
    options.set_compression_type(DBCompressionType.none())
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_log_file_size(LOG_FILE_BYTES)
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    blocks.set_bloom_filter(BLOOM_BITS, False)  # records are looked up before they are written
    options.set_block_based_table_factory(blocks)
    return options


class RocksStorage:
    """A RocksDB database in a directory, opened by one process at a time."""

    def __init__(
        self,
        path: Path,
        files_max: int = ROCKSDB_FILES[1],
        *,
        is_salvage: bool = False,
        is_read_only: bool = False,
    ) -> None:
        """Open a database, or create one in an empty folder.

        With `is_read_only`, it is what it was at the opening, and may be open elsewhere.

        At most `files_max` of its tables are open at a time. With `is_salvage`, a damaged log is
        replayed up to the damage, and the rest is lost.

        Raises:
            ConfigError: another process has it open, or the system refuses.
            DamagedData: the files there are not an intact database.
        """
        self._path = path
        self.damage = DamageCount()
        self._failure: StorageError | None = None
        """Error of the first failed write: the engine's later errors only say that one failed."""
        options, of_records = (_build_options(is_salvage=is_salvage) for _ in range(2))
        options.set_max_open_files(files_max)
        try:
            path.mkdir(parents=True, exist_ok=True)
            # If only CURRENT were missing, the engine would create a new database amid the old.
            options.create_if_missing(not any(path.iterdir()))
            access = AccessType.read_only() if is_read_only else AccessType.read_write()
            # Without its own options, a column family that exists is opened with those that the
            # engine has stored, where Bloom filters and caches have no parameters and are lost.
            families = {"default": of_records}
            self._db = Rdict(str(path), options, column_families=families, access_type=access)
        except Exception as error:  # rocksdict raises plain Exception
            raise explain_open_error(path, error) from error
        self._write_options = WriteOptions()
        self._write_options.sync = True

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        try:
            stored = self._db.get(key)
            return None if stored is None else open_record(key, stored)
        except Exception as error:  # rocksdict raises plain Exception
            raise self._unreadable(error) from error

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield a range, ascending."""
        for key, rows in self._seek(low, high):
            try:
                yield key, open_record(key, rows.value())
            except DamagedData as error:
                raise self._unreadable(error) from error

    def scan_damaged(self, after: bytes = b"") -> Iterator[tuple[bytes, bytes | None]]:
        """Yield all records above a key that can be read, and None as the value of a damaged one.

        Where the engine cannot read on, None is yielded once, with the last key before that.
        """
        options = ReadOptions()
        options.fill_cache(False)  # what is looked through once displaces nothing that is used
        rows: RdictIter | None = self._db.iter(options)
        if rows is not None:
            rows.seek(after + b"\0" if after else b"")
        last = after
        while rows is not None:
            while rows.valid():
                last = rows.key()
                try:
                    value: bytes | None = open_record(last, rows.value())
                except DamagedData:
                    value = None
                yield last, value
                rows.next()
            try:
                rows.status()
            except Exception:  # noqa: BLE001  (rocksdict raises plain Exception)
                yield last, None
                rows = self._find_readable(last)
            else:
                return

    def _find_readable(self, after: bytes) -> RdictIter | None:
        """Return an iterator at a later key that can be read; None if there is none."""
        later = [
            after[:place] + bytes((after[place] + 1,))
            for place in range(len(after) - 1, -1, -1)
            if after[place] < 255
        ]
        kinds = (bytes((kind,)) for kind in range(256))
        for key in (*later, *(kind for kind in kinds if kind > after)):
            rows = self._db.iter()
            rows.seek(key)
            if rows.valid():
                return rows
        return None

    def keys(self, low: bytes, high: bytes) -> Iterator[bytes]:
        """Yield the keys of a range, ascending, without reading their values."""
        for key, _ in self._seek(low, high):
            yield key

    def _seek(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, RdictIter]]:
        """Yield the iterator at each key of a range; raise `StorageError` at damage."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(high)
        rows = self._db.iter(bounds)
        rows.seek(low)
        while rows.valid():
            yield rows.key(), rows
            rows.next()
        try:
            rows.status()
        except Exception as error:  # rocksdict raises plain Exception
            raise self._unreadable(error) from error

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Take a snapshot in the engine."""
        snapshot = self._db.snapshot()

        def get(key: bytes) -> bytes | None:
            try:
                stored = snapshot[key]
                return open_record(key, stored)
            except Exception as error:  # rocksdict raises plain Exception for a missing key
                if "key not found" in str(error):
                    return None
                raise self._unreadable(error) from error

        return get

    def ordered_snapshot(self) -> OrderedSnapshot:
        """Return the store as an iterator of now sees it: those of a snapshot see later writes."""
        return _FixedRows(self._db.iter(), self._unreadable)

    def _unreadable(self, error: Exception) -> StorageError:
        """Return the error for a failed read; count damage."""
        if isinstance(error, DamagedData):  # its checksum does not match
            found: StorageError = DamagedData(f"{self._path}: {error}")
        else:
            found = explain_read_error(self._path, error)
            self.damage.is_table_damaged |= isinstance(found, DamagedData)
        if isinstance(found, DamagedData):
            self.damage.note(str(found))
        return found

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Apply a batch and sync it; after a failure, refuse all writes."""
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        batch = WriteBatch(raw_mode=True)
        for key in deletes:
            batch.delete(key)
        for key, value in puts.items():
            batch.put(key, seal_record(key, value))
        try:
            self._db.write(batch, self._write_options)
        except Exception as error:  # rocksdict raises plain Exception
            self._failure = explain_write_error(self._path, error)
            raise self._failure from error

    def free_bytes(self) -> int:
        """Return the room that is left on the disk; nothing if it cannot be asked."""
        try:
            return shutil.disk_usage(self._path).free
        except OSError:
            return 0

    def close(self) -> None:
        """Close the database; after a failed write, ignore an error in closing it."""
        try:
            self._db.close()
        except Exception as error:  # rocksdict raises plain Exception
            if self._failure is None:
                raise explain_write_error(self._path, error) from error


class _FixedRows:
    """A database as it was when an iterator over it was made."""

    def __init__(self, rows: RdictIter, explain: Callable[[Exception], StorageError]) -> None:
        self._rows = rows
        self._explain = explain

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.first(key, key + b"\0")

    def first(self, low: bytes, high: bytes) -> bytes | None:
        """Return the value of the first key of a range, or None."""
        rows = self._rows
        try:
            rows.seek(low)
            if not rows.valid():
                rows.status()
                return None
            key = rows.key()
            return open_record(key, rows.value()) if key < high else None
        except Exception as error:  # rocksdict raises plain Exception
            raise self._explain(error) from error

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield a range, ascending."""
        rows = self._rows
        try:
            rows.seek(low)
            while rows.valid() and (key := rows.key()) < high:
                yield key, open_record(key, rows.value())
                rows.next()
            rows.status()
        except Exception as error:  # rocksdict raises plain Exception
            raise self._explain(error) from error
