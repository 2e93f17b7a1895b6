"""Where the figures of an experiment changed, over results of many days or commits.

Change points are found by E-divisive (Matteson and James 2014, doi:10.1080/01621459.2013.849605):
the place at which the values before and after differ most by the energy statistic is a change if
few shuffles of the values have a place that is as good; then each part is searched in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

PART_MIN = 3
"""Fewest results on either side of a change."""
SHUFFLES = 199
LEVEL = 0.01
"""A change is shown if at most this share of the shuffles has one as large."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A change of a series."""

    place: int
    """Of the first value after it."""
    before: float
    after: float
    """Medians of the values up to the next change on either side."""
    share: float
    """Of the shuffles, that have a change as large: its p-value."""


def find_changes(
    values: Sequence[float], *, threshold: float = 0.0, level: float = LEVEL, seed: int = 0
) -> list[ChangePoint]:
    """Return the changes of a series, in order.

    Args:
        values: the series, in order of time.
        threshold: the smallest change that matters, as a share of the value before.
        level: the highest p-value of a change.
        seed: draws the shuffles.
    """
    random = Random(f"lowu history {seed}")  # noqa: S311
    found: dict[int, float] = {}
    _search(values, 0, len(values), level, random, found)
    ends = [0, *sorted(found), len(values)]
    changes = []
    for number in range(1, len(ends) - 1):
        place = ends[number]
        before = median(values[ends[number - 1] : place])
        after = median(values[place : ends[number + 1]])
        if abs(after - before) > threshold * abs(before):
            changes.append(ChangePoint(place, before, after, found[place]))
    return changes


def _search(
    values: Sequence[float],
    begin: int,
    end: int,
    level: float,
    random: Random,
    found: dict[int, float],
) -> None:
    part = list(values[begin:end])
    if len(part) < 2 * PART_MIN:
        return
    best, place = _find_best(part)
    if best <= 0:
        return
    as_large, most = 1, int(level * (SHUFFLES + 1))
    for _ in range(SHUFFLES):
        random.shuffle(part)
        as_large += _find_best(part)[0] >= best
        if as_large > most:
            return
    found[begin + place] = as_large / (SHUFFLES + 1)
    _search(values, begin, begin + place, level, random, found)
    _search(values, begin + place, end, level, random, found)


def _find_best(values: Sequence[float]) -> tuple[float, int]:
    """Return the largest statistic of a split, and the place of the first value after it.

    The values before the split are held against those after it up to any later place: with all of
    them up to the end, two changes that cancel each other would hide each other. The statistic is
    mn / (m + n) times the energy distance of the parts, with exponent 1.
    """
    count = len(values)
    within = [0.0] * count
    """By place: the sum of the distances within the values from there to the end looked at."""
    prefix = [0.0] * (count + 1)
    """The same of the values up to a place."""
    best, place = 0.0, 0
    for end in range(2, count + 1):
        last, distances = values[end - 1], 0.0
        for split in range(end - 2, -1, -1):
            distances += abs(last - values[split])
            within[split] += distances
        prefix[end] = whole = within[0]
        for split in range(PART_MIN, end - PART_MIN + 1):
            rest, left, right = end - split, prefix[split], within[split]
            energy = (
                2 * (whole - left - right) / (split * rest)
                - left / (split * (split - 1) / 2)
                - right / (rest * (rest - 1) / 2)
            )
            statistic = split * rest / end * energy
            if statistic > best:
                best, place = statistic, split
    return best, place
