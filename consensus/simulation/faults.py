"""Which faults a seed switches on, and how hard (swarm testing).

First each kind of fault is drawn on or off, then its rate: runs with one fierce fault find
other bugs than runs with a little of everything. Ranges follow TigerBeetle's VOPR.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class FaultOptions:
    """Fault rates of one run. Probabilities are for each message, or each perturbation."""

    delay_ms_min: int = 1
    delay_ms_max: int = 20
    drop_rate: float = 0.0
    duplicate_rate: float = 0.0
    long_delay_rate: float = 0.0
    """Share of messages that take up to a second: reordering far beyond the usual."""
    crash_rate: float = 0.0
    """For each perturbation: crash a running replica."""
    crash_mid_step_rate: float = 0.0
    """For each step: crash after some of its effects."""
    partition_rate: float = 0.0
    perturb_every_ms: int = 400

    @classmethod
    def draw(cls, random: Random) -> FaultOptions:
        """Draw the options of one seed."""

        def rate(highest: float) -> float:
            return random.random() * highest if random.random() < 0.5 else 0.0

        return cls(
            delay_ms_max=random.choice((2, 20, 200)),
            drop_rate=rate(0.3),
            duplicate_rate=rate(0.5),
            long_delay_rate=rate(0.1),
            crash_rate=rate(0.5),
            crash_mid_step_rate=rate(0.004),
            partition_rate=rate(0.5),
            perturb_every_ms=random.choice((200, 400, 1500)),
        )
