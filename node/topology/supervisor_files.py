"""Where a network's supervisor keeps its files. Imports nothing heavy."""

from __future__ import annotations

import fcntl
from pathlib import Path

META = ".lowu"


def control_file(directory: Path) -> Path:
    """Return where the supervisor says how to reach it."""
    return directory / META / "control.json"


def supervisor_lock(directory: Path) -> Path:
    """Return the file whose lock the supervisor holds while it runs."""
    return directory / META / "supervisor.lock"


def supervisor_log(directory: Path) -> Path:
    """Return the supervisor's own log."""
    return directory / META / "supervisor.log"


def is_supervised(directory: Path) -> bool:
    """Whether a supervisor runs, by its lock: that is gone with it, however it ended.

    Neither the process number in the control file nor something that listens on the port there
    tells: both may be another's by now.
    """
    try:
        with supervisor_lock(directory).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
