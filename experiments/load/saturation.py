"""The highest rate that a network sustains: a geometric ramp, a bisection, and a confirmation.

A rate is sustained if what was due is committed as fast as it arrives: nothing is lost, the
throughput is within `KEPT_UP` of what was due, and the p99 stays below a bound. One run may be
lucky, so that the rate found is played `CONFIRMATIONS` times more; if most of those fail, the next
lower rate that was sustained is played instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT_UP = 0.95
CONFIRMATIONS = 3
FACTOR = 2.0
PRECISION = 0.1
"""The bisection ends when the rates that were and were not sustained are this close."""
RATE_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One run at one rate."""

    rate: float
    is_sustained: bool
    is_confirmation: bool = False


@dataclass(slots=True)
class SaturationSearch:
    """Says which rate to play next; hears what came of it."""

    start: float
    highest: float
    """No higher rate is played."""
    probes: list[Probe] = field(default_factory=list)

    def next_rate(self) -> float | None:
        """Return the next rate to play, in transactions per second; None once all is known."""
        low, high = self.low, self.high
        if low is None:
            if high is None:
                return min(self.start, self.highest)
            return high / FACTOR if high > RATE_MIN else None
        if high is None:
            return min(low * FACTOR, self.highest) if low < self.highest else self._confirm(low)
        if high / low > 1 + PRECISION:
            return float(f"{(low * high) ** 0.5:.3g}")
        return self._confirm(low)

    def note(self, rate: float, *, is_sustained: bool) -> None:
        """Hear whether a rate that `next_rate` gave was sustained."""
        is_confirmation = any(item.rate == rate and item.is_sustained for item in self.probes)
        self.probes.append(Probe(rate, is_sustained, is_confirmation))

    @property
    def low(self) -> float | None:
        """The highest rate that was sustained, and not refuted since; None if there is none."""
        return max(
            (
                item.rate
                for item in self.probes
                if item.is_sustained and not self._is_refuted(item.rate)
            ),
            default=None,
        )

    @property
    def high(self) -> float | None:
        """The lowest rate above that was not sustained; None if there is none."""
        low = self.low or 0.0
        return min(
            (
                item.rate
                for item in self.probes
                if item.rate > low and (not item.is_sustained or self._is_refuted(item.rate))
            ),
            default=None,
        )

    @property
    def is_bounded(self) -> bool:
        """Whether a rate was found that is not sustained; else the knee is above all played."""
        return self.high is not None

    def confirmations(self, rate: float) -> list[bool]:
        """Return whether each run that confirmed a rate sustained it."""
        return [
            item.is_sustained for item in self.probes if item.rate == rate and item.is_confirmation
        ]

    def _is_refuted(self, rate: float) -> bool:
        failed = self.confirmations(rate).count(False)
        return failed > CONFIRMATIONS // 2

    def _confirm(self, rate: float) -> float | None:
        return rate if len(self.confirmations(rate)) < CONFIRMATIONS else None


def is_sustained(
    figures: Mapping[str, float], *, duration_s: float, p99_ms: float, is_valid: bool
) -> bool:
    """Return whether a run kept up with what was due; by chance, that is not quite the rate."""
    due_per_s = figures.get("scheduled", 0.0) / duration_s
    return (
        is_valid
        and not figures.get("uncommitted")
        and figures.get("throughput_per_s", 0.0) >= KEPT_UP * due_per_s
        and figures.get("p99_ms", math.inf) <= p99_ms
    )
