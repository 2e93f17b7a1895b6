"""Paths of a supervisor's files. Imports nothing heavy."""

from __future__ import annotations

import fcntl
from pathlib import Path

META = ".lowu"


def control_file(directory: Path) -> Path:
    """Return the file in which the supervisor publishes its port and token."""
    return directory / META / "control.json"


def supervisor_lock(directory: Path) -> Path:
    """Return the file whose lock the supervisor holds while it runs."""
    return directory / META / "supervisor.lock"


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
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
