"""Work that takes long asks every few milliseconds whether it may go on."""

from __future__ import annotations

from collections.abc import Callable

Tick = Callable[[], None]
"""Waits for a turn; raises `CallAborted` to end the work."""


def go_on() -> None:
    """Ask nobody: what a transaction runs, runs to its end."""
