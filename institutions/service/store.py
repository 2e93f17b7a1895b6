"""The durable store of a desk or wallet, in one SQLite file.

Every write is synced before it returns: a request before a holder can answer it, a package before
its anchor is registered, the key that can end a consent, a verdict before it is returned.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Self, TypeVar

from lowu.institutions.files import claim_private, make_private_folder

log = logging.getLogger("DESK")
T = TypeVar("T")
FORMAT = 3


class StoreError(Exception):
    """A store cannot be used; the text says what to do."""


class Store:
    """A file of named maps from bytes to bytes."""

    def __init__(self, path: Path | None) -> None:
        """Open a file, or create it if it is missing; without a path, keep all in memory."""
        self._path: Path | str = path or ":memory:"
        try:
            if path is not None:
                _claim(path)
            self._database = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Create the table in a new file, and check the format of an existing one."""
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS entries (map TEXT, key BLOB, value BLOB, "
                "PRIMARY KEY (map, key)) WITHOUT ROWID"
            )
            (found,) = self._database.execute("PRAGMA user_version").fetchone()
            if found == 0:
                self._database.execute(f"PRAGMA user_version={FORMAT}")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if found not in (0, FORMAT):
            raise StoreError(f"{self._path}: has format {found}; this Lowu writes {FORMAT}")

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self._path}: cannot be used as a store ({error}); choose another file, or restore it"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. The caller that opens a store closes it, usually with `with`."""
        self._database.close()

    def open(
        self, name: str, encode: Callable[[T], bytes], decode: Callable[[bytes], T]
    ) -> StoredMap[T]:
        """Return a map of the file."""
        return StoredMap(self, name, encode, decode)

    def purge(self) -> None:
        """Empty the log, so that no removed data remains in the file or its log."""
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make several changes durable at once, or none; the caller must not await meanwhile."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def run(self, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        """Run one statement; its change is durable when this returns."""
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error


def _claim(path: Path) -> None:
    """Create a store's file for its owner only, or restrict an existing one to its owner."""
    make_private_folder(path.parent)
    for suffix in ("-wal", "-shm"):  # left by a process that was killed
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            claim_private(beside)
    claim_private(path)


class StoredMap(MutableMapping[bytes, T], Generic[T]):
    """A map in a store; a changed value is on disk when the call returns."""

    def __init__(
        self,
        store: Store,
        name: str,
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
    ) -> None:
        self._store = store
        self._name = name
        self._encode = encode
        self._decode = decode

    def __getitem__(self, key: bytes) -> T:
        """Return a value; `KeyError` if there is none."""
        found = self._store.run(
            "SELECT value FROM entries WHERE map = ? AND key = ?", self._name, key
        )
        if not found:
            raise KeyError(key)
        return self._decode(found[0][0])

    def readable(self) -> list[T]:
        """Return the values in order of their keys, without any that is damaged.

        Such a value is an error for whoever asks for it by its key; it is none for the others.
        """
        rows = self._store.run(
            "SELECT key, value FROM entries WHERE map = ? ORDER BY key", self._name
        )
        values = []
        for key, data in rows:
            try:
                values.append(self._decode(data))
            except ValueError as error:
                log.warning("%s %s cannot be read: %s", self._name, key.hex(), error)
        return values

    def __setitem__(self, key: bytes, value: T) -> None:
        """Store a value."""
        data = self._encode(value)
        self._store.run("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", self._name, key, data)

    def __delitem__(self, key: bytes) -> None:
        """Remove a value; `KeyError` if there is none."""
        if key not in self:
            raise KeyError(key)
        self._store.run("DELETE FROM entries WHERE map = ? AND key = ?", self._name, key)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the keys in order."""
        rows = self._store.run("SELECT key FROM entries WHERE map = ? ORDER BY key", self._name)
        return iter([bytes(row[0]) for row in rows])

    def __len__(self) -> int:
        """Return the number of values."""
        ((count,),) = self._store.run("SELECT COUNT(*) FROM entries WHERE map = ?", self._name)
        return int(count)
