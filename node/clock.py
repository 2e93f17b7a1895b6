"""The node's clock: the only module that reads time, besides trio's own timers.

Wall-clock time goes into block headers and is checked against them; elapsed time is for
expiry. Consensus time-outs run on trio's clock, never on the wall clock (F29).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A node's only source of time."""

    def now_ms(self) -> int:
        """Return wall-clock time, milliseconds since 1970."""
        ...

    def elapsed_s(self) -> float:
        """Return seconds since some fixed moment; never decreases."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return the machine's wall-clock time."""
        return time.time_ns() // 1_000_000

    def elapsed_s(self) -> float:
        """Return the machine's monotonic time."""
        return time.monotonic()
