"""The search for the highest rate, against systems whose highest rate is known."""

import json
from random import Random

import pytest
from click.testing import CliRunner

from lowu import cli
from lowu.commands.experiment import providers
from lowu.experiments.load.observed import Observed
from lowu.experiments.load.outcomes import Ending, Records, summarise
from lowu.experiments.load.reported.results import read_results
from lowu.experiments.load.run import LoadRun
from lowu.experiments.load.saturation import (
    CONFIRMATIONS,
    PRECISION,
    SaturationSearch,
    is_sustained,
)


def play(search, sustains, probes_max=60):
    while (rate := search.next_rate()) is not None:
        search.note(rate, is_sustained=sustains(rate))
        assert len(search.probes) <= probes_max, "it does not end"
    return search


@pytest.mark.parametrize("knee", [3.0, 47.0, 100.0, 1_234.0, 9_999.0])
@pytest.mark.parametrize("start", [10.0, 100.0, 5_000.0])
def test_the_knee_is_found_and_confirmed(knee, start):
    search = play(SaturationSearch(start, 100_000.0), lambda rate: rate <= knee)
    assert knee / (1 + PRECISION) <= search.low <= knee < search.high
    assert search.confirmations(search.low) == [True] * CONFIRMATIONS
    assert len(search.probes) <= 25


def test_a_rate_that_was_lucky_once_is_given_up():
    lucky = [True]

    def sustains(rate):
        if 100 < rate <= 160 and lucky:
            lucky.pop()
            return True
        return rate <= 100

    search = play(SaturationSearch(150.0, 10_000.0), sustains)
    assert 100 / (1 + PRECISION) <= search.low <= 100
    assert search.confirmations(search.low) == [True] * CONFIRMATIONS


def test_what_fails_by_chance_still_ends():
    for seed in range(50):
        random = Random(seed)
        search = play(
            SaturationSearch(50.0, 10_000.0), lambda rate, r=random: r.random() < 100 / rate, 200
        )
        assert search.low is None or search.low < 1_000


def test_the_highest_rate_may_be_sustained_and_the_lowest_not():
    search = play(SaturationSearch(10.0, 640.0), lambda rate: True)
    assert search.low == 640.0 and not search.is_bounded
    nothing = play(SaturationSearch(10.0, 640.0), lambda rate: False)
    assert nothing.low is None and min(item.rate for item in nothing.probes) <= 1.0


def fake_run(knee):
    """Return a stand-in for runs on processes: latency explodes above a rate."""

    def play(self, item, number, progress):
        rate = item.load.arrivals.rate
        records = Records()
        for place in range(int(rate * item.load.duration_s)):
            due_s = place / rate
            row = records.add(due_s)
            records.end(row, Ending.COMMITTED, due_s + (0.1 if rate <= knee else 3.0), 1)
        load = item.load
        summary = summarise(records, warm_up_s=0, duration_s=load.duration_s, deadline_s=20)
        return LoadRun(number, records, [], [], summary, [], Observed(), True, [], True)

    return play


def test_the_command_writes_a_sweep_of_what_it_played(tmp_path, monkeypatch):
    monkeypatch.setattr(providers.LocalProvider, "play", fake_run(130))
    (tmp_path / "knee.toml").write_text(
        '[experiment]\nname = "knee"\n[load]\nwarm_up_s = 0\nduration_s = 2\n'
        'arrival = { kind = "constant", rate = 5 }\n'
    )
    out = tmp_path / "out"
    command = ["experiment", "saturate", str(tmp_path / "knee.toml"), "--out", str(out), "--json"]
    done = CliRunner().invoke(cli.cli, command)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["figures"]
    assert 118 <= figures["sustained_per_s"] <= 130 < figures["not_sustained_per_s"]
    stored = read_results(out)
    rates = [point.experiment.load.arrivals.rate for point in stored.points]
    assert len(rates) == len(set(rates)) and figures["sustained_per_s"] in rates
    assert sum(len(point.runs) for point in stored.points) == figures["runs"]
    page = (out / "report.html").read_text()
    assert "a second are sustained" in page and "Latency against throughput" in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('arrival = { kind = "closed", clients = 5 }', "constant or poisson is needed"),
        (
            'arrival = { kind = "constant", rate = 5 }\n[sweep]\n"load.arrival.rate" = [1, 2]',
            "[sweep]",
        ),
    ],
)
def test_what_cannot_be_searched(tmp_path, text, told):
    (tmp_path / "x.toml").write_text(f'[experiment]\nname = "x"\n[load]\n{text}\n')
    done = CliRunner().invoke(cli.cli, ["experiment", "saturate", str(tmp_path / "x.toml")])
    assert done.exit_code == 2 and told in done.output
    assert not (tmp_path / "results").exists()


def test_what_keeps_up():
    good = {"scheduled": 200.0, "uncommitted": 0.0, "throughput_per_s": 99.0, "p99_ms": 400.0}
    bound = {"duration_s": 2.0, "p99_ms": 500.0}
    assert is_sustained(good, is_valid=True, **bound)
    assert not is_sustained(good, is_valid=False, **bound)
    for worse in ({"uncommitted": 1.0}, {"throughput_per_s": 94.0}, {"p99_ms": 501.0}):
        assert not is_sustained(good | worse, is_valid=True, **bound)
    assert not is_sustained({}, is_valid=True, **bound)


THREE = """
[experiment]
name = "three"
repetitions = 3
[load]
arrival = { kind = "constant", rate = 5 }
warm_up_s = 0
duration_s = 2
"""


@pytest.mark.parametrize("form", [["--json"], []])
def test_an_error_keeps_the_runs_before_it(tmp_path, monkeypatch, form):
    """As if the disk were full when the second run is written."""
    monkeypatch.setattr(providers.LocalProvider, "play", fake_run(130))
    real = Records.write

    def write(self, path):
        if "001-002" in str(path):
            raise OSError(28, "No space left on device")
        real(self, path)

    monkeypatch.setattr(Records, "write", write)
    (tmp_path / "x.toml").write_text(THREE)
    command = ["experiment", "run", str(tmp_path / "x.toml"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.cli, [*command, *form])
    assert done.exit_code == 1
    assert "records.csv: cannot be written (No space left on device)" in done.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["complete"] is False
    assert len(summary["points"][0]["runs"]) == 2
    assert ("not complete; what could be written is in" in done.output) is not bool(form)
