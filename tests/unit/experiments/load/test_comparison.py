"""Comparisons of results: how often they claim a change that is not there, or miss one."""

import math
from random import Random

import pytest

from lowu.experiments.load.reported.comparison import compare_figures


def draw(random, runs, mean, deviation=0.03):
    return [random.gauss(mean, mean * deviation) for _ in range(runs)]


def test_a_change_is_told_with_its_direction():
    slow, fast = [100.0, 102.0, 98.0, 101.0], [80.0, 81.0, 79.0, 82.0]
    assert compare_figures("p99_ms", slow, fast, threshold=0.05).verdict == "better"
    assert compare_figures("p99_ms", fast, slow, threshold=0.05).verdict == "worse"
    assert compare_figures("throughput_per_s", slow, fast, threshold=0.05).verdict == "worse"
    found = compare_figures("p99_ms", slow, fast, threshold=0.05)
    assert found.low < found.ratio < found.high < 1
    assert compare_figures("p99_ms", slow, fast, threshold=0.3).verdict == "no change shown"


def test_the_same_is_no_change_and_few_runs_show_nothing():
    random = Random(1)

    def find_verdict(mean, seed):
        one, two = draw(random, 5, 100), draw(random, 5, mean)
        return compare_figures("p50_ms", one, two, threshold=0.05, seed=seed, resamples=400).verdict

    claimed = [find_verdict(100, n) for n in range(60)]
    assert claimed.count("no change shown") >= 58, "5 % is 2.6 deviations of the difference"
    assert {find_verdict(130, n) for n in range(60)} == {"worse"}
    assert compare_figures("p50_ms", [1.0, 2.0], [9.0] * 9, threshold=0).verdict == "too few runs"


@pytest.mark.parametrize(
    ("first", "second", "verdict", "ratio"),
    [
        ([0.0] * 3, [0.0] * 3, "no change shown", 1.0),
        ([0.0] * 3, [5.0] * 3, "worse", math.inf),
        ([5.0] * 3, [0.0] * 3, "better", 0.0),
        ([], [1.0] * 3, "too few runs", math.nan),
    ],
)
def test_nothing_lost_and_something_lost(first, second, verdict, ratio):
    found = compare_figures("uncommitted", first, second, threshold=0.05)
    assert found.verdict == verdict
    assert found.ratio == ratio or math.isnan(ratio)
