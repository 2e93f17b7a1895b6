"""Arrival processes: how many, when, and always the same from one seed."""

import math
from itertools import pairwise
from statistics import mean, pstdev

import pytest

from lowu.experiments.load.planned.arrivals import (
    KINDS,
    PROFILES,
    ArrivalMistake,
    Arrivals,
    compress,
    read_offsets,
)

OPEN = [
    Arrivals("constant", 50.0),
    Arrivals("poisson", 50.0),
    Arrivals("bursts", 100.0, burst_s=0.5, pause_s=0.5),
    Arrivals("ramp", 0.0, to_rate=100.0),
    Arrivals("diurnal", 50.0, peak=2.0, period_s=50.0),
    Arrivals("diurnal", 50.0, peak=8.0, period_s=50.0),
    Arrivals("diurnal", 50.0, peak=1.0, period_s=50.0),
]


@pytest.mark.parametrize("arrivals", OPEN, ids=lambda item: f"{item.kind}-{item.peak:g}")
def test_times_stand_in_order_within_the_run_and_follow_from_the_seed(arrivals):
    times = arrivals.draw(200.0, 1)
    assert times == sorted(times) == arrivals.draw(200.0, 1)
    assert times[0] >= 0 and times[-1] < 200.0
    # All have a mean of 50 a second; five standard deviations of a Poisson count are 500.
    assert abs(len(times) - 10_000) < 500
    if arrivals.kind != "constant":
        assert times != arrivals.draw(200.0, 2)


def test_constant_arrivals_are_as_far_apart_as_the_rate_says():
    assert Arrivals("constant", 4.0).draw(1.0, 0) == [0.0, 0.25, 0.5, 0.75]
    assert len(Arrivals("constant", 0.5).draw(5.0, 0)) == 3


def test_gaps_of_a_poisson_process_have_the_mean_as_their_deviation():
    times = Arrivals("poisson", 100.0).draw(500.0, 3)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert math.isclose(mean(gaps), 0.01, rel_tol=0.03)
    assert math.isclose(pstdev(gaps), 0.01, rel_tol=0.03)


def test_bursts_pause_a_ramp_climbs_and_a_day_has_its_peak_at_noon():
    bursts = Arrivals("bursts", 100.0, burst_s=1.0, pause_s=3.0).draw(40.0, 1)
    assert all(item % 4.0 < 1.0 for item in bursts)
    ramp = Arrivals("ramp", 10.0, to_rate=90.0).draw(100.0, 1)
    early, late = (sum(low <= item < low + 10 for item in ramp) for low in (0, 90))
    assert 80 < early < 200 and 750 < late < 1_000
    day = Arrivals("diurnal", 50.0, peak=1.8, period_s=100.0).draw(100.0, 1)
    night, noon = (sum(low <= item < low + 10 for item in day) for low in (0, 45))
    assert night < 250 and noon > 750


def test_a_trace_is_replayed_from_its_beginning():
    offsets = read_offsets(["# seconds", "1000.5", "", "1000.0  # the first", "1002"])
    assert offsets == (0.0, 0.5, 2.0)
    assert Arrivals("replay", offsets_s=offsets).draw(1.0, 5) == [0.0, 0.5]
    for lines, told in ((["x"], "line 1: 'x'"), (["1", "nan"], "line 2: 'nan'"), ([], "no times")):
        with pytest.raises(ArrivalMistake, match=told):
            read_offsets(lines)


def test_what_would_be_too_many_is_refused():
    with pytest.raises(ArrivalMistake, match="more than"):
        Arrivals("constant", 1e9).draw(1e9, 0)
    # Hardly any of these times would be kept: they were drawn for hours.
    rare = Arrivals("bursts", 1e6, burst_s=1e-3, pause_s=6e5)
    with pytest.raises(ArrivalMistake, match="would have to be drawn"):
        rare.draw(6e5, 0)
    with pytest.raises(ArrivalMistake, match="closed loop"):
        Arrivals("closed", clients=4).draw(1.0, 0)


def test_profiles_can_be_compressed():
    assert {item.kind for item in PROFILES.values()} <= KINDS.keys()
    fast = compress(PROFILES["demand"], 1_440.0)
    assert math.isclose(fast.period_s, 60.0)
    assert math.isclose(len(fast.draw(60.0, 1)), 320, abs_tol=90)
