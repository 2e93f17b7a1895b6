"""Whether two results differ: bootstrap intervals over runs, which are the unit of replication.

Transactions of one run are not independent, so that an interval over them would be far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

RESAMPLES = 10_000
RUNS_MIN = 3
"""Fewest valid runs on either side for a verdict."""
LEVEL = 0.95
MORE_IS_BETTER = frozenset({"throughput_per_s", "committed"})
COMPARED = ("throughput_per_s", "p50_ms", "p90_ms", "p99_ms", "max_ms", "uncommitted")


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """One figure of two results. Ratios are of the second to the first."""

    figure: str
    first: float
    second: float
    """Means over the runs."""
    ratio: float
    low: float
    high: float
    """The bootstrap interval of the ratio."""
    verdict: str
    """better, worse, no change shown, or too few runs."""


def compare_figures(
    figure: str,
    first: Sequence[float],
    second: Sequence[float],
    *,
    threshold: float,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> FigureComparison:
    """Compare the runs' values of one figure.

    Args:
        figure: its name, which says whether more is better.
        first: the values of the first result's valid runs.
        second: those of the second.
        threshold: the smallest change that matters, as a share: 0.05 for five per cent.
        seed: draws the resamples.
        resamples: how many are drawn.
    """
    one, two = (fmean(values) if values else math.nan for values in (first, second))
    if min(len(first), len(second)) < RUNS_MIN:
        ratio = _divide(two, one)
        return FigureComparison(figure, one, two, ratio, math.nan, math.nan, "too few runs")
    if one == two == 0:
        return FigureComparison(figure, one, two, 1.0, 1.0, 1.0, "no change shown")
    random = Random(f"lowu comparison {figure} {seed}")  # noqa: S311
    ratios = sorted(
        _divide(
            fmean(random.choices(second, k=len(second))), fmean(random.choices(first, k=len(first)))
        )
        for _ in range(resamples)
    )
    tail = (1 - LEVEL) / 2
    low, high = ratios[int(resamples * tail)], ratios[int(resamples * (1 - tail)) - 1]
    ratio = _divide(two, one)
    is_shown = (low > 1 or high < 1) and abs(ratio - 1) > threshold
    is_better = (ratio > 1) is (figure in MORE_IS_BETTER)
    verdict = ("better" if is_better else "worse") if is_shown else "no change shown"
    return FigureComparison(figure, one, two, ratio, low, high, verdict)


def _divide(upper: float, lower: float) -> float:
    if lower:
        return upper / lower
    return math.inf if upper else 1.0
