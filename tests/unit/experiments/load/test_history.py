"""Change points: where a series changes, and that noise alone shows none."""

import json
import math
from random import Random

import pytest
from click.testing import CliRunner

from lowu import cli
from lowu.commands.experiment.telling_history import LONGEST, _Entry, _pick
from lowu.experiments.load.reported import history
from lowu.experiments.load.reported.history import find_changes
from tests.unit.experiments.load.test_report import TEXT, write_run


def noise(seed, *levels, count=12, width=3.0):
    """Return values around some levels, so many of each."""
    random = Random(seed)
    return [random.gauss(level, width) for level in levels for _ in range(count)]


def test_changes_are_found_where_they_are():
    found = find_changes(noise(1, 100, 120, 90))
    assert [item.place for item in found] == [12, 24]
    assert found[0].before == pytest.approx(100, abs=3)
    assert found[0].after == found[1].before == pytest.approx(120, abs=3)
    assert all(item.share <= 0.01 for item in found)


def test_two_changes_that_cancel_each_other_are_both_found():
    """Held against all values up to the end, the rise was hidden by the fall."""
    found = find_changes(noise(5, 100, 115, 100))
    assert [item.place for item in found] == [12, 24]


@pytest.mark.parametrize(
    ("values", "statistic", "place"),
    [
        ([10, 11, 10, 12, 11, 20, 21, 19, 22, 11, 10, 12], 37.18518518518518, 5),
        ([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9], 14.311111111111112, 11),
    ],
)
def test_the_statistic_is_that_of_another_implementation(values, statistic, place):
    """The largest of `PairDistanceCalculator` of apache-otava 0.8.0, of parts of three or more."""
    assert history._find_best(values) == (pytest.approx(statistic, rel=1e-12), place)


def test_noise_shows_no_change():
    shown = sum(bool(find_changes(noise(seed, 100, count=30))) for seed in range(60))
    assert shown <= 3  # one in a hundred is to be expected


def test_a_change_that_does_not_matter_is_not_told():
    values = noise(3, 100, 102, width=0.1)
    assert [item.place for item in find_changes(values)] == [12]
    assert find_changes(values, threshold=0.05) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 9.0, 9.0, 9.0], [5.0] * 40])
def test_short_or_level_series_show_none(values):
    assert find_changes(values) == []


def test_what_is_no_number_hides_nothing_and_a_series_is_bounded():
    figures = [1.0] * 12 + [math.nan, 10**400, math.inf, None] + [9.0] * 12
    entries = [
        _Entry(str(place), f"{place:04d}", "", "", {"p50_ms": value})
        for place, value in enumerate(figures)
    ]
    chosen, values = _pick(entries, "p50_ms")
    assert values == [1.0] * 12 + [9.0] * 12 and len(chosen) == 24
    assert [(item.place, item.share) for item in find_changes(values)] == [(12, 0.005)]
    _, values = _pick(entries * 20, "p50_ms")
    assert len(values) == LONGEST


@pytest.mark.parametrize(
    ("values", "best"),
    [([1] * 6 + [9] * 3, (32.0, 6)), ([5] * 12, (0.0, 0))],
)
def test_the_last_part_may_be_as_short_as_the_first(values, best):
    assert history._find_best(values) == best


def test_an_outlier_is_no_change():
    values = noise(4, 100, count=24)
    values[10] = 900.0
    assert find_changes(values) == []


def test_the_command_reads_all_results_below_a_folder(tmp_path):
    text = TEXT.replace("<script>alert(1)</script>", "rates")
    for number, level in enumerate([50.0] * 8 + [70.0] * 8):
        folder = tmp_path / "all" / f"r{number:02d}"
        folder.mkdir(parents=True)
        (folder / "experiment.toml").write_text(text)
        begun = f"2026-11-{number + 1:02d}T00:00:00+00:00"
        told = {"lowu": "x", "begun": begun, "commit": f"{number:040x}"}
        (folder / "manifest.json").write_text(json.dumps(told))
        for point in (1, 2):
            figures = {"p50_ms": level + number % 3, "p99_ms": 90.0 - number % 2, "sent": 30.0}
            write_run(folder / "runs" / f"{point:03d}-001", figures)
    command = ["experiment", "history", str(tmp_path / "all"), "--figure", "p50_ms"]
    told = json.loads(CliRunner().invoke(cli.cli, [*command, "--json"]).stdout)
    assert told["figures"]["changes"] == 2  # one of each point
    for item in told["series"]:
        ((change,),) = (item["changes"],)
        assert change["place"] == 8 and change["at"].endswith("r08")
    shown = CliRunner().invoke(cli.cli, command).stdout
    assert "+40 %" in shown or "+38 %" in shown or "+39 %" in shown
    assert "000000000000" in shown and "16 results" in shown
    wrong = CliRunner().invoke(cli.cli, [*command, "--figure", "p98_ms"])
    assert wrong.exit_code == 2 and "did you mean" in wrong.output
    empty = CliRunner().invoke(
        cli.cli, ["experiment", "history", str(tmp_path / "all" / "r01" / "runs")]
    )
    assert empty.exit_code == 2 and "no results" in empty.output
