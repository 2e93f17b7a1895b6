"""Results read back, and the page that is written from them alone."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner

from lowu import ConfigError, cli
from lowu.experiments.load.outcomes import Ending, Records
from lowu.experiments.load.reported.report_page import render_report
from lowu.experiments.load.reported.results import ResultsError, read_results

TEXT = """\
[experiment]
name = "<script>alert(1)</script>"
repetitions = 2
[load]
arrival = { kind = "constant", rate = 10 }
warm_up_s = 0
duration_s = 3
[[fault]]
at_s = 1
kill = "leader"
[sweep]
"load.arrival.rate" = [10, 20]
"""


def write_run(folder, figures, *, flaws=()):
    folder.mkdir(parents=True)
    records = Records()
    for number in range(30):
        row = records.add(number / 10)
        if number % 10:
            records.end(row, Ending.COMMITTED, number / 10 + 0.05 * (number % 10), 1 + number)
        else:
            records.end(row, Ending.TIMED_OUT, number / 10 + 20)
    records.write(folder / "records.csv")
    (folder / "blocks.csv").write_text("height,at_s,transactions\n1,0.2,5\n2,0.1,9\n")
    told = {
        "valid": not flaws, "flaws": list(flaws), "figures": figures, "at_least": ["p99_ms"],
        "cpu_s": {"node0": 1.5},
        "faults": [
            {"kind": "kill", "nodes": ["node</script>"], "begins_s": 1.0, "ends_s": 2.0,
             "hangover_s": None},
        ],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(told))


@pytest.fixture
def folder(tmp_path):
    text = TEXT.replace("<script>alert(1)</script>", "sweep of rates")
    (tmp_path / "experiment.toml").write_text(text)
    (tmp_path / "manifest.json").write_text(json.dumps({"lowu": "x</script>"}))
    for point in (1, 2):
        for number in (1, 2):
            figures = {"throughput_per_s": 9.0 * point, "p50_ms": 50.0, "p99_ms": 2e4, "sent": 30.0}
            write_run(tmp_path / "runs" / f"{point:03d}-{number:03d}", figures)
    return tmp_path


def test_a_page_asks_for_nothing_and_runs_nothing_of_others(folder):
    page = render_report(read_results(folder))
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|XMLHttp|<link""", page)
    assert page.count("<script") == page.count("</script>") == 3
    assert "≥ 20,000" in page and "uPlot" in page and "not by the end" in page
    data = re.search(r"<script id=plots type=application/json>(.*?)</script>", page, re.DOTALL)[1]
    plots = json.loads(data)
    assert len(plots) == 1 + 2 * 4
    for plot in plots:
        assert f"<div id={plot['id']}></div>" in page
        assert len(plot["data"]) == len(plot["series"]) + 1
        assert len({len(row) for row in plot["data"]}) == 1, plot["title"]
        assert plot["data"][0] == sorted(plot["data"][0]), "uPlot needs x in order"


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ({"name": "local"}, None),
        ({"name": "sim", "costs": {"machine": "<b>"}}, "with the costs of work on &lt;b&gt;"),
        ({"name": "target", "urls": ["http://<i>"]}, "On the system at"),
        ("nonsense", None),
        ({"name": "sim"}, None),
    ],
)
def test_a_page_says_what_the_experiment_ran_on(folder, provider, told):
    (folder / "manifest.json").write_text(json.dumps({"provider": provider}))
    page = render_report(read_results(folder))
    assert told is None or told in page
    assert ("virtual time" in page) == (told is not None and "costs" in told)
    assert "<b>&" not in page and "http://<i>" not in page


def test_a_sweep_is_plotted_along_its_axis(folder):
    text = (folder / "experiment.toml").read_text()
    text = text.replace('"load.arrival.rate" = [10, 20]', '"load.duration_s" = [5, 3]')
    (folder / "experiment.toml").write_text(text)
    page = render_report(read_results(folder))
    data = re.search(r"application/json>(.*?)</script>", page, re.DOTALL)[1]
    sweep = json.loads(data)[0]
    assert (sweep["x"], sweep["data"][0]) == ("load.duration_s", [3, 5])


def test_the_distribution_ends_at_the_share_that_was_committed(folder):
    page = render_report(read_results(folder))
    data = re.search(r"application/json>(.*?)</script>", page, re.DOTALL)[1]
    cdf = next(plot for plot in json.loads(data) if "all that was due" in plot["title"])
    assert max(cdf["data"][1]) == 90.0, "27 of 30"


def test_what_is_missing_or_invalid_is_told(folder):
    shutil.rmtree(folder / "runs" / "002-002")
    write_run(folder / "runs" / "002-002", {}, flaws=["the generator lagged"])
    path = folder / "runs" / "001-001" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cause": "no <block> came"}))
    shutil.rmtree(folder / "runs" / "001-002")
    page = render_report(read_results(folder))
    assert "INVALID" in page and "the generator lagged" in page and "1 runs are missing" in page
    assert "NOTHING DONE" in page and "no &lt;block&gt; came" in page


def test_a_comparison_without_a_verdict_says_what_it_needs(folder):
    done = CliRunner().invoke(cli.cli, ["experiment", "compare", str(folder), str(folder)])
    assert "a verdict needs three valid runs on each side" in done.stdout
    for run in folder.glob("runs/*/run.json"):
        run.write_text(json.dumps({**json.loads(run.read_text()), "valid": False}))
    done = CliRunner().invoke(cli.cli, ["experiment", "compare", str(folder), str(folder)])
    assert "no run of either is valid" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("manifest.json", None, "no results of an experiment here"),
        ("manifest.json", "{", "damaged"),
        ("experiment.toml", "[experiment]", "missing"),
        ("runs/001-001/run.json", "[]", "damaged"),
        ("runs/001-001/run.json", '{"valid": true, "figures": 5}', "damaged"),
    ],
)
def test_damaged_results_are_told(folder, file, text, told):
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises((ResultsError, ConfigError), match=told):
        read_results(folder)
