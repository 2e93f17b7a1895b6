"""The trace of the last vote, outside of the database (rule R-SAFE-3).

The database holds the votes; the trace says which step they must reach. The trace is synced
after the vote records of a step and before any message of that step is sent. So a database that
lost its latest records, or all of them, is behind its trace. An honest crash leaves the database
level with the trace, or one step ahead of it; no message of that step has been sent.

Marks are written to two slots in turn, each in a disk block of its own: a torn write damages only
the newer mark, and then the database is one step ahead of the older one.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lowu.node.errors import StorageError
from lowu.node.ledger.disk_errors import describe_os_error

NAME = "last_vote"
"""The file's name in a node's folder; it lies beside the database, so as to outlive it."""
SLOT_BYTES = 4096
"""The size of a disk's block and a file system's page, so that no two slots share one."""
SLOTS = 2
DIGEST_BYTES = 16
_MAGIC = b"lowu-last-vote-1"
_NUMBER_BYTES = 8
_CHECKSUM_BYTES = 4
_BODY_BYTES = len(_MAGIC) + _NUMBER_BYTES + DIGEST_BYTES

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has none


@dataclass(frozen=True, slots=True)
class Mark:
    """A step with vote records: its number, and the digest of all vote records at its end."""

    number: int
    digest: bytes


NO_MARK = Mark(0, bytes(DIGEST_BYTES))
"""Before the first step."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The database's record of its last two steps with vote records."""

    last: Mark
    before: Mark
    """The step before it."""


Slots = tuple[Mark | None, Mark | None]
"""The two slots; None for one that is damaged."""


class VoteTrace(Protocol):
    """What the vote records need from a trace."""

    def read(self) -> Slots | None:
        """Return the slots' marks; None if there is no trace."""
        ...

    def create(self, memory: Memory) -> None:
        """Start a new trace, durably and atomically replacing any old one."""
        ...

    def write(self, mark: Mark) -> None:
        """Make a mark durable.

        Raises:
            StorageError: it may not be durable. The trace must not be used again.
        """
        ...

    def close(self) -> None:
        """Release the trace."""
        ...


def find_loss(slots: Slots | None, memory: Memory) -> str:
    """Return why votes may be missing from the database; "" if none are.

    An honest crash leaves both at the same step, or the database one step ahead. Anything else
    is grounds for doubt, even a damaged slot that no torn write explains.
    """
    if slots is None:
        return "the trace of its last vote is missing"
    marks = sorted((mark for mark in slots if mark), key=lambda mark: mark.number)
    if not marks or (len(marks) == SLOTS and marks[1].number != marks[0].number + 1):
        return "the trace of its last vote is damaged"
    newest = marks[-1]
    if memory.before == newest:  # the votes of the last step were never sent
        return ""
    if memory.last == newest:
        return "" if len(marks) == SLOTS else "the trace of its last vote is damaged"
    missing = newest.number - memory.last.number
    if missing > 0:
        steps = "step" if missing == 1 else f"{missing} steps"
        return f"its database lacks the last {steps} with votes"
    return "its database does not fit the trace of its last vote"


class MemoryTrace:
    """A trace in memory."""

    def __init__(self) -> None:
        self.slots: list[Mark | None] | None = None

    def read(self) -> Slots | None:
        """Return the slots."""
        return None if self.slots is None else (self.slots[0], self.slots[1])

    def create(self, memory: Memory) -> None:
        """Start over."""
        self.slots = [None] * SLOTS
        for mark in (memory.before, memory.last):
            self.slots[mark.number % SLOTS] = mark

    def write(self, mark: Mark) -> None:
        """Keep a mark."""
        if self.slots is None:
            raise StorageError("there is no trace to write to")
        self.slots[mark.number % SLOTS] = mark

    def close(self) -> None:
        """Keep the slots: a test may reopen them."""


class FileTrace:
    """A trace in a file of fixed size, which no write extends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self) -> Slots | None:
        """Return the slots; None if the file is missing."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from error
        if len(data) != SLOTS * SLOT_BYTES:  # no write of ours changes its size
            return None, None
        return _decode_slot(data, 0), _decode_slot(data, 1)

    def create(self, memory: Memory) -> None:
        """Write a temporary file and rename it into place."""
        self.close()
        slots = {mark.number % SLOTS: _encode_slot(mark) for mark in (memory.before, memory.last)}
        staging = self._path.with_suffix(".tmp")
        try:
            file = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _write_at(file, slots[0] + slots[1], 0)
                os.fsync(file)
            finally:
                os.close(file)
            staging.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._failed("written", error) from error

    def write(self, mark: Mark) -> None:
        """Write one slot and sync it."""
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY)
            _write_at(self._file, _encode_slot(mark), mark.number % SLOTS * SLOT_BYTES)
            _sync_data(self._file)
        except OSError as error:
            raise self._failed("written", error) from error

    def _failed(self, done: str, error: OSError) -> StorageError:
        reason = describe_os_error(error)
        return StorageError(f"{self._path}: the trace of the last vote cannot be {done}: {reason}")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def sync_folder(folder: Path) -> None:
    """Make creations, moves and removals in a folder durable; `OSError` if that fails."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write_at(file: int, data: bytes, offset: int) -> None:
    written = os.pwrite(file, data, offset)
    if written != len(data):
        raise OSError(0, f"only {written} of {len(data)} bytes could be written")


def write_torn_slot(path: Path, mark: Mark, share: float) -> None:
    """Write a share of a mark into its slot, as a torn write leaves it (for failpoints)."""
    data = _encode_slot(mark)[: _BODY_BYTES + _CHECKSUM_BYTES]
    count = min(max(1, int(len(data) * share)), len(data) - 1)
    file = os.open(path, os.O_WRONLY)
    try:
        _write_at(file, data[:count], mark.number % SLOTS * SLOT_BYTES)
        os.fsync(file)
    finally:
        os.close(file)


def _encode_slot(mark: Mark) -> bytes:
    body = _MAGIC + mark.number.to_bytes(_NUMBER_BYTES, "big") + mark.digest
    return (body + _checksum(body)).ljust(SLOT_BYTES, b"\0")


def _decode_slot(data: bytes, position: int) -> Mark | None:
    slot = data[position * SLOT_BYTES : (position + 1) * SLOT_BYTES]
    body, checksum = slot[:_BODY_BYTES], slot[_BODY_BYTES : _BODY_BYTES + _CHECKSUM_BYTES]
    if not body.startswith(_MAGIC) or checksum != _checksum(body):
        return None
    end = len(_MAGIC) + _NUMBER_BYTES
    return Mark(int.from_bytes(body[len(_MAGIC) : end], "big"), body[end:])


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")
