"""Figures of a run: over all that was due, whatever became of it."""

import math

import pytest

from lowu.experiments.load.outcomes import (
    Ending,
    Records,
    Second,
    explain_nothing,
    find_hangover,
    list_seconds,
    percentile,
    read_records,
    summarise,
)

WINDOW = {"warm_up_s": 1.0, "duration_s": 10.0, "deadline_s": 5.0}


def make(rows):
    """Return records of rows: due, latency or None, and the outcome of those without."""
    found = Records()
    for due_s, latency_s, *outcome in rows:
        row = found.add(due_s)
        found.sent_s[row] = due_s
        if latency_s is None:
            found.end(row, *outcome, due_s + 5.0)
        else:
            found.end(row, Ending.COMMITTED, due_s + latency_s, 7)
    return found


def test_what_is_not_committed_counts_with_its_deadline():
    rows = [(1 + n / 10, 0.1) for n in range(90)]
    rows += [(2.0, None, Ending.TIMED_OUT)] * 6 + [(3.0, None, Ending.REFUSED)] * 4
    found = summarise(make(rows), **WINDOW)
    assert {name: found.figures[name] for name in ("scheduled", "committed", "uncommitted")} == {
        "scheduled": 100, "committed": 90, "uncommitted": 10,
    }  # fmt: skip
    assert math.isclose(found.figures["p90_ms"], 100)
    assert found.figures["p95_ms"] == found.figures["max_ms"] == 5_000
    assert math.isclose(found.figures["mean_ms"], (90 * 100 + 10 * 5_000) / 100)
    assert "p95_ms" in found.is_bounded and "p90_ms" not in found.is_bounded


def test_only_the_measured_window_counts_but_its_throughput_is_what_it_saw():
    rows = [(0.5, 1.0), (1.0, 0.5), (10.9, 0.5), (11.0, 0.1), (5.0, None, Ending.FAILED)]
    figures = summarise(make(rows), **WINDOW).figures
    assert (figures["scheduled"], figures["committed"], figures["failed"]) == (3, 2, 1)
    # Due before the window and committed in it counts; due in it and committed after does not.
    assert figures["throughput_per_s"] == 2 / 10


def test_a_run_of_nothing_has_no_latency():
    figures = summarise(Records(), **WINDOW).figures
    assert figures["scheduled"] == figures["throughput_per_s"] == 0 and "p50_ms" not in figures


@pytest.mark.parametrize(
    ("rows", "whole", "told"),
    [
        ([(2.0, 0.1)], {}, ""),
        ([], {}, ""),
        ([(2.0, None, Ending.REFUSED)], {}, "nodes refused 1 of 1: the pool is full"),
        ([(2.0, None, Ending.TIMED_OUT)], {}, "no block came, and the view did not change"),
        ([(2.0, None, Ending.TIMED_OUT)], {"view_changes": 3.0}, "3 views were given up"),
        ([(2.0, None, Ending.TIMED_OUT)], {"blocks": 9.0}, "9 blocks came, without anything"),
        ([(10.9, 0.5)], {}, "no block came"),  # after the measured time
    ],
)
def test_why_nothing_was_done_is_told(rows, whole, told):
    figures = {**summarise(make(rows), **WINDOW).figures, "blocks": 0.0, "view_changes": 0.0}
    found = explain_nothing({**figures, **whole}, "the pool is full", [])
    assert told in found and bool(told) is bool(found)
    if "no block" in found:
        assert "kill node1" in explain_nothing({**figures, **whole}, "", ["kill node1"])


def test_nothing_sent_is_told_before_all_else():
    found = Records()
    found.end(found.add(2.0), Ending.TIMED_OUT, 7.0)
    figures = {**summarise(found, **WINDOW).figures, "blocks": 5.0, "view_changes": 0.0}
    assert "nothing could be sent" in explain_nothing(figures, "", ["kill node1"])


def test_percentiles_are_by_nearest_rank():
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99, 0.999, 1.0)] == [
        50, 99, 100, 100,
    ]  # fmt: skip
    assert percentile([3.0], 0.001) == 3.0
    assert math.isnan(percentile([], 0.5))


def test_a_stop_of_six_seconds_shows_as_six_seconds():
    """Coordinated omission: what was due while nothing was answered counts from when it was due."""
    rows = [
        (n / 100, max(0.05, 10.0 - n / 100) if 400 <= n < 1_000 else 0.05) for n in range(1_100)
    ]
    figures = summarise(make(rows), warm_up_s=0, duration_s=11, deadline_s=20).figures
    assert math.isclose(figures["max_ms"], 6_000)
    assert figures["p99_ms"] > 5_800 and figures["p50_ms"] > 50


def test_records_are_the_same_when_they_are_read_again(tmp_path):
    rows = [(0.25, 0.125), (1.5, None, Ending.REFUSED), (2.0, None, Ending.TIMED_OUT)]
    records = make(rows)
    records.add(3.0)
    records.write(tmp_path / "r.csv")
    again = read_records(tmp_path / "r.csv")
    assert (again.due_s, again.outcome, again.height) == (
        records.due_s, records.outcome, records.height,
    )  # fmt: skip
    again.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "r.csv").read_bytes()


def test_the_first_end_counts():
    records = make([(0.0, 0.1)])
    records.end(0, Ending.TIMED_OUT, 5.0)
    assert records.outcome[0] == Ending.COMMITTED


def test_seconds_have_what_was_due_and_what_was_committed_in_them():
    seconds = list_seconds(make([(0.5, 1.0), (0.9, 0.2), (2.5, None, Ending.TIMED_OUT)]), 5.0)
    assert [(item.due, item.done) for item in seconds] == [(2, 0), (0, 2), (1, 0)]
    assert math.isclose(seconds[0].p99_ms, 1_000) and seconds[2].p50_ms == 5_000
    assert math.isnan(seconds[1].p99_ms)


@pytest.mark.parametrize(("slow_until", "hangover"), [(20, 0), (24, 4), (90, math.nan)])
def test_a_hangover_lasts_until_the_p99_is_back(slow_until, hangover):
    seconds = [Second(n, 10, 10, 50, 900 if 15 <= n < slow_until else 60) for n in range(60)]
    found = find_hangover(seconds, begins_s=15.2, ends_s=20.0)
    assert found == hangover or (math.isnan(found) and math.isnan(hangover))
    assert math.isnan(find_hangover([], begins_s=1, ends_s=2))
