"""RocksDB behind the storage port, through rocksdict.

Every batch is synced before `write` returns. Compression is off: records are small hashes and
numbers, and what is on disk can then be searched for plain bytes (the canary check relies on
it). An error of the engine is a `StorageError`; the caller must stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from node.errors import ConfigError, StorageError
from node.ledger.storage import open_record, seal_record

BLOOM_BITS = 10
"""For each key, so that one in a hundred absent keys is looked for on the disk."""
WRITE_BUFFER_BYTES = 16 * 1024 * 1024
LOG_FILE_BYTES = 4 * 1024 * 1024


class RocksStorage:
    """A RocksDB database in a directory, opened by one process at a time."""

    def __init__(self, path: Path) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_compression_type(DBCompressionType.none())
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_log_file_size(LOG_FILE_BYTES)
        options.set_keep_log_file_num(2)
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(BLOOM_BITS, False)  # new records are looked for before they exist
        options.set_block_based_table_factory(blocks)
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), options)
        except Exception as error:  # rocksdict raises plain Exception
            raise ConfigError(
                f"{path}: the database cannot be opened ({error}). Is another process using "
                "it? If it is damaged, move the folder away: the node fetches the chain again."
            ) from error
        self._write_options = WriteOptions()
        self._write_options.sync = True

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        stored = self._db.get(key)
        return None if stored is None else open_record(key, stored)

    def scan(self, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield a range, ascending."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(high)
        for key, stored in self._db.items(from_key=low, read_opt=bounds):
            yield key, open_record(key, stored)

    def snapshot(self) -> Callable[[bytes], bytes | None]:
        """Take a snapshot of the engine."""
        snapshot = self._db.snapshot()

        def get(key: bytes) -> bytes | None:
            try:
                stored = snapshot[key]
            except Exception as error:  # rocksdict raises plain Exception for a missing key
                if "not found" in str(error):
                    return None
                raise StorageError(f"the snapshot cannot be read: {error}") from error
            return open_record(key, stored)

        return get

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Apply a batch and sync it."""
        batch = WriteBatch(raw_mode=True)
        for key in deletes:
            batch.delete(key)
        for key, value in puts.items():
            batch.put(key, seal_record(key, value))
        try:
            self._db.write(batch, self._write_options)
        except Exception as error:  # rocksdict raises plain Exception
            raise StorageError(f"a write could not be made durable: {error}") from error

    def close(self) -> None:
        """Close the database."""
        self._db.close()
