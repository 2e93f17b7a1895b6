"""Paths of a supervisor's files. Imports nothing heavy."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

META = ".lowu"


def control_file(directory: Path) -> Path:
    """Return the file in which the supervisor publishes its port and token.

    It holds a lock on the file that it has published: one whose supervisor was killed has none.
    """
    return directory / META / "control.json"


def supervisor_lock(directory: Path) -> Path:
    """Return the file whose lock the supervisor holds while it runs."""
    return directory / META / "supervisor.lock"


def network_file(directory: Path) -> Path:
    """Return the network file that a folder was made from."""
    return directory / META / "network.toml"


def joined_file(directory: Path) -> Path:
    """Return the list of the nodes that have joined since block 0, which need not exist."""
    return directory / META / "joined.json"


def left_file(directory: Path) -> Path:
    """Return the list of the nodes that the group has removed, which need not exist."""
    return directory / META / "left.json"


def supervisor_log(directory: Path) -> Path:
    """Return the supervisor's own log."""
    return directory / META / "supervisor.log"


def is_supervised(directory: Path) -> bool:
    """Whether a supervisor runs, by its lock, which the system releases however it exits.

    The process id in the control file, or a listener on its port, proves nothing: both may
    belong to another program by now.
    """
    try:
        with supervisor_lock(directory).open("rb") as lock:
            return is_locked(lock)
    except FileNotFoundError:
        return False


def is_locked(file: IO[str] | IO[bytes]) -> bool:
    """Whether a process holds the lock of an open file."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
