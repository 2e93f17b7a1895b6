"""Where a network's supervisor keeps its files. Imports nothing heavy."""

from __future__ import annotations

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
