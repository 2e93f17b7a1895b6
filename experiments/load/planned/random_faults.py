"""Faults that are drawn from a run's seed: one at a time, so that a quorum may always be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lowu.contracts.named import tell_unknown
from lowu.experiments.load.planned.fault_tables import TIME_MAX_S, PlannedFault
from lowu.experiments.load.planned.file_table import FileTable

KINDS_DRAWN = ("kill", "pause", "throttle", "cut", "slow", "disk", "clock")
LEAST_S = 0.1
DELAY_MS = 100.0
"""Of slow nodes and disks."""
SHARE = 0.2
"""Of a core, that a throttled node keeps."""
AHEAD_MS = 2_000
"""By how much a clock is ahead or behind."""


@dataclass(frozen=True, slots=True)
class RandomFaults:
    """How faults are drawn."""

    kinds: tuple[str, ...]
    every_s: float
    """How long no fault lasts, on average, before the next one; exponentially distributed."""
    for_s: float
    """How long each lasts, on average; the same."""

    def draw(
        self, duration_s: float, seed: int, nodes: Sequence[str], sides: Sequence[str]
    ) -> tuple[PlannedFault, ...]:
        """Return the faults of a run that lasts so long; each ends before the next one begins."""
        random = Random(f"lowu random faults {seed}")  # noqa: S311  (simulation)
        kinds = [kind for kind in self.kinds if kind != "cut" or len(sides) > 1]
        found = []
        at_s = random.expovariate(1 / self.every_s)
        while kinds and at_s < duration_s:
            for_s = max(LEAST_S, random.expovariate(1 / self.for_s))
            found.append(_draw_one(random, kinds, round(at_s, 3), round(for_s, 3), nodes, sides))
            at_s += for_s + random.expovariate(1 / self.every_s)
        return tuple(found)


def _draw_one(
    random: Random,
    kinds: Sequence[str],
    at_s: float,
    for_s: float,
    nodes: Sequence[str],
    sides: Sequence[str],
) -> PlannedFault:
    kind, node = random.choice(kinds), random.choice(nodes)
    if kind == "cut":
        one, other = random.sample(sides, 2)
        ends = ((one,), (other,))
        is_one_way = random.random() < 0.5
        return PlannedFault(at_s, 0, kind, (one, other), for_s, is_one_way=is_one_way, ends=ends)
    return PlannedFault(
        at_s,
        0,
        kind,
        (node,),
        for_s,
        delay_ms=DELAY_MS if kind in ("slow", "disk") else 0.0,
        share=SHARE if kind == "throttle" else 0.0,
        ahead_ms=random.choice((-AHEAD_MS, AHEAD_MS)) if kind == "clock" else 0,
    )


def read_random_faults(table: FileTable) -> RandomFaults:
    """Return what [random_faults] says."""
    table.only("kinds", "every_s", "for_s")
    kinds = table.names("kinds") if "kinds" in table.raw else ("kill", "pause", "cut")
    for kind in kinds:
        if kind not in KINDS_DRAWN:
            table.tell("kinds", tell_unknown("kind of fault", kind, KINDS_DRAWN))
    return RandomFaults(
        kinds,
        table.number("every_s", 10, LEAST_S, TIME_MAX_S),
        table.number("for_s", 5, LEAST_S, TIME_MAX_S),
    )
