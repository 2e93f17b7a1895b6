"""Long work asks every few milliseconds whether it may continue."""

from __future__ import annotations

from collections.abc import Callable

Tick = Callable[[], None]
"""Waits for a turn; raises `CallAborted` to stop the work."""


def go_on() -> None:
    """Return at once: a transaction's work runs to completion."""
