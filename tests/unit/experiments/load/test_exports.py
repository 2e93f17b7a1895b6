"""Results for other programs: HdrHistogram's percentiles, LaTeX, and the export command."""

import json
import re
from random import Random

import pytest
from click.testing import CliRunner

from lowu import cli
from lowu.commands.experiment import providers
from lowu.experiments.load.outcomes import percentile
from lowu.experiments.load.reported.exports import render_hgrm
from tests.unit.experiments.load.test_saturation import fake_run

LINE = re.compile(r" *(\d+\.\d{3}) (\d\.\d{12}) +(\d+)(?: +(\d+\.\d{2}))?\Z")


def read(text):
    lines = text.splitlines()
    assert lines[:2] == ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
    return [LINE.match(line).groups() for line in lines[2:-3]], lines[-3:]


@pytest.mark.parametrize("count", [1, 2, 10, 999, 20_000])
def test_percentiles_are_those_of_the_values(count):
    random = Random(count)
    values = sorted(random.expovariate(0.01) for _ in range(count))
    rows, foot = read(render_hgrm(values))
    shares = [float(share) for _, share, _, _ in rows]
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    for value, share, rank, left in rows:
        assert float(value) == round(percentile(values, float(share)), 3)
        found = values[int(rank) - 1]
        wanted = float(share) * count - 1e-6
        assert sum(item <= found for item in values) >= wanted, "by counting, not by the rank"
        assert int(rank) == 1 or sum(item < found for item in values) < wanted
        assert values[int(rank) - 1] == pytest.approx(float(value), abs=0.0005)
        if left is not None:
            assert float(left) == pytest.approx(1 / (1 - float(share)), rel=0.01)
    assert f"Total count    = {count:12d}" in foot[1]
    assert f"Max     = {values[-1]:12.3f}" in foot[1]


def test_nothing_committed_is_an_empty_histogram():
    rows, foot = read(render_hgrm([]))
    assert rows == []
    assert "Total count    =            0" in foot[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the folder of a sweep over two rates, of which one is not sustained."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "x.toml").write_text(
        '[experiment]\nname = "x_y z"\n[load]\nwarm_up_s = 0\nduration_s = 2\n'
        'arrival = { kind = "constant", rate = 50 }\n[sweep]\n"load.arrival.rate" = [50, 200]\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers.LocalProvider, "play", fake_run(130))
        command = ["experiment", "run", str(folder / "x.toml"), "--out", str(folder / "out")]
        done = CliRunner().invoke(cli.cli, [*command, "--json"])
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_results_are_written_in_other_forms(results):
    done = CliRunner().invoke(cli.cli, ["experiment", "export", str(results), "--json"])
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert sorted(path.rpartition("/")[2] for path in files) == [
        "001-001.hgrm", "002-001.hgrm", "SUMMARY.txt", "table.tex",
    ]  # fmt: skip
    table = (results / "export" / "table.tex").read_text()
    assert table.count(r"\\") == 3
    assert r"load.arrival.rate = 50 & 100 & 47.5 & 100 & 100 & 100 & 100 \\" in table
    assert r"x\_y z" in table
    assert " SUMMARY:" in (results / "export" / "SUMMARY.txt").read_text()


def test_a_folder_that_is_there_is_not_overwritten(results, tmp_path):
    command = ["experiment", "export", str(results), "--out", str(tmp_path)]
    done = CliRunner().invoke(cli.cli, command)
    assert done.exit_code == 2
    assert "is there already; name a new folder" in done.output


@pytest.mark.parametrize(("form", "library"), [("svg", "matplotlib"), ("parquet", "pyarrow")])
def test_a_form_without_its_library_says_what_to_install(
    results, tmp_path, monkeypatch, form, library
):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    command = ["experiment", "export", str(results), "--form", form, "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(cli.cli, command)
    assert done.exit_code != 0
    assert "pip install 'lowu[" in str(done.exception or "") + done.output
