"""Links of a network: which there are between nodes, and how bytes travel over them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

RETRANSMISSION_S = 0.2
"""How long TCP waits, at least, before it sends lost bytes again; it doubles with each loss (RFC
6298; the least is Linux's)."""
LOSSES_MAX = 8

Direction: TypeAlias = tuple[str, str]
"""The names of the node that sends and of the one that receives."""


def list_directions(
    ends: tuple[Iterable[str], Iterable[str]], *, is_one_way: bool = False
) -> frozenset[Direction]:
    """Return the directions of all links between two ends, or from the first, each some nodes."""
    one, other = (tuple(names) for names in ends)
    there = {(first, second) for first in one for second in other if first != second}
    return frozenset(there if is_one_way else there | {way[::-1] for way in there})


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
    trace: tuple[tuple[float, float], ...] = ()
    """Times, from 0 on, and the delay from each of them on, in seconds; it begins anew after the
    last of them, which only says when."""

    def draw_delay_s(self, random: Random, at_s: float = 0.0) -> float:
        """Return how long a chunk travels that leaves at a time of the trace."""
        delay_s, wait_s = self.delay_s, RETRANSMISSION_S
        if self.trace:
            place = bisect_right(self.trace, (at_s % self.trace[-1][0], math.inf))
            delay_s += self.trace[place - 1][1]
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
