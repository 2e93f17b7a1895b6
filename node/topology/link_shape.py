"""How bytes travel over a link: with a delay, losses, and as many as fit through it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

RETRANSMISSION_S = 0.2
"""How long TCP waits, at least, before it sends lost bytes again; it doubles with each loss (RFC
6298; the least is Linux's)."""
LOSSES_MAX = 8


@dataclass(frozen=True, slots=True)
class LinkShape:
    """One direction of a link. TCP never loses bytes for good: lost ones arrive later."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to how much more a chunk of bytes takes."""
    loss: float = 0.0
    """The share of chunks that are lost, each time that they are sent."""
    bytes_per_s: float = 0.0
    """How many bytes fit through it; 0 if all do."""

    def draw_delay_s(self, random: Random) -> float:
        """Return how long a chunk travels."""
        delay_s, wait_s = self.delay_s, RETRANSMISSION_S
        if self.jitter_s:
            delay_s += random.random() * self.jitter_s
        if self.loss:
            for _ in range(LOSSES_MAX):
                if random.random() >= self.loss:
                    break
                delay_s, wait_s = delay_s + wait_s, 2 * wait_s
        return delay_s

    def transmission_s(self, size: int) -> float:
        """Return for how long so many bytes occupy the link."""
        return size / self.bytes_per_s if self.bytes_per_s else 0.0
