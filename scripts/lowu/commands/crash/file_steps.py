"""Failpoints of a command's own files: configuration, keys, and the stores of institutions.

``LOWU_FAIL_FILES=kind:mode:count`` has a command fail at the so-manieth step of a kind. A step is
what the operating system, or a store, is asked for: to make, open for writing, rename or remove a
file. For tests of what a command leaves behind; nothing is installed without the variable.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lowu.institutions.service.store import Store, StoreError

VARIABLE = "LOWU_FAIL_FILES"
CHANGES = ("INSERT", "DELETE", "BEGIN", "COMMIT", "CREATE")
_EVENTS = {"os.rename": 1, "os.link": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}
"""Audit events of file operations, with the place of the path among their arguments."""
_CONFIGURATION = {
    "network.toml", "config.ini", "config.genesis", "nodes.json", "ports.json", "joined.json",
    "left.json", "start.sh", "stop.sh",
}  # fmt: skip
_KEYS = (".key", ".pem", ".crt", ".nodeid", ".draft", ".key.json")


class FileKind(StrEnum):
    """What a file is for."""

    CONFIGURATION = "configuration"
    KEYS = "keys"
    STORE = "store"
    """The database of an institution's desk or of a holder's wallet."""


class FileMode(StrEnum):
    """What happens at the step."""

    BEFORE = "before"
    """The process dies before it."""
    TORN_START = "torn-start"
    """The same, and of the file that was written last only the first byte is there."""
    TORN_HALF = "torn-half"
    AFTER = "after"
    """The process dies once it is done; only of stores: for files it is before the next step."""
    ERROR = "error"
    """The disk is full."""


MODES = {
    FileKind.CONFIGURATION: (
        FileMode.BEFORE, FileMode.TORN_START, FileMode.TORN_HALF, FileMode.ERROR,
    ),
    FileKind.KEYS: (FileMode.BEFORE, FileMode.TORN_START, FileMode.TORN_HALF, FileMode.ERROR),
    FileKind.STORE: (FileMode.BEFORE, FileMode.AFTER, FileMode.ERROR),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileOrder:
    """At which step of a command to fail, and how."""

    kind: FileKind
    mode: FileMode
    count: int

    def __str__(self) -> str:
        """Return it as the variable has it."""
        return f"{self.kind}:{self.mode}:{self.count}"


def parse_order(text: str) -> FileOrder:
    """Return the order in a text; `ValueError` if it is none."""
    kind, mode, count = text.split(":")
    order = FileOrder(FileKind(kind), FileMode(mode), int(count))
    if order.count < 1:
        raise ValueError("steps are counted from 1")
    return order


def find_kind(path: str) -> FileKind | None:
    """Return what a file is for, by its name; None for others. A store has steps of its own."""
    name = Path(path).name.removeprefix(".").removesuffix(".tmp")
    if name in _CONFIGURATION:
        return FileKind.CONFIGURATION
    return FileKind.KEYS if name.endswith(_KEYS) else None


def die() -> None:
    """End this process as SIGKILL does."""
    os.kill(os.getpid(), signal.SIGKILL)


class FileSteps:
    """Counts the steps of a kind, and fails at the one that is ordered."""

    def __init__(self, order: FileOrder) -> None:
        self._order = order
        self._left = order.count
        self._opened: str | None = None
        """The last file of the kind that was opened for writing."""
        self._is_busy = False

    def hear(self, event: str, arguments: Sequence[Any]) -> None:
        """Look at an audit event of this process."""
        if self._is_busy or not (event == "open" or event in _EVENTS):
            return
        if event == "open":
            self._hear_open(*arguments)
        else:
            self._reach(arguments[_EVENTS[event]])

    def _hear_open(self, path: object, mode: object, flags: int) -> None:
        if isinstance(path, int):  # a descriptor, of what was opened just before
            if self._opened is not None and mode in ("wb", "w"):
                self._reach(self._opened)
        elif flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._reach(path)
            if isinstance(path, str | bytes | os.PathLike):
                name = os.fsdecode(path)
                self._opened = name if find_kind(name) is self._order.kind else None

    def _reach(self, path: Any) -> None:
        if isinstance(path, int) or find_kind(os.fsdecode(path)) is not self._order.kind:
            return
        self._left -= 1
        if self._left:
            return
        self._is_busy = True
        if self._order.mode is FileMode.ERROR:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))
        if self._order.mode is not FileMode.BEFORE and self._opened is not None:
            written = Path(self._opened)
            if written.exists():
                half = written.stat().st_size // 2
                os.truncate(written, 1 if self._order.mode is FileMode.TORN_START else half)
        die()

    def count_statement(self, statement: str, run: Any) -> Any:
        """Run a statement of a store; fail at it if it is the one."""
        if not statement.startswith(CHANGES):
            return run()
        self._left -= 1
        if self._left:
            return run()
        if self._order.mode is FileMode.ERROR:
            raise StoreError("the store: database or disk is full")
        if self._order.mode is FileMode.AFTER:
            run()
        die()
        return None


def install(text: str) -> None:
    """Have this process carry out an order; `ValueError` if the text is none."""
    order = parse_order(text)
    steps = FileSteps(order)
    if order.kind is not FileKind.STORE:
        sys.addaudithook(steps.hear)
        return
    run = Store.run

    def counted(store: Store, statement: str, *values: object) -> Any:
        return steps.count_statement(statement, lambda: run(store, statement, *values))

    setattr(Store, "run", counted)  # noqa: B010  (in this process only)
