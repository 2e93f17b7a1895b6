"""``lowu bench``: what it prints, and that the compiled engine is worth having."""

import json

import pytest
from click.testing import CliRunner

from lowu.bench import Spread, bench, ratios
from node.execution.compiler.engine import CompiledComputation


@pytest.fixture(autouse=True)
def own_cache(monkeypatch):
    """The command compiles into a cache of its own."""
    monkeypatch.setattr(CompiledComputation, "cache", CompiledComputation.cache)


def test_spreads_and_ratios():
    spread = ratios([10.0, 30.0, 40.0], [5.0, 10.0, 10.0])
    assert spread == Spread((2.0, 3.0, 4.0)) and spread.median == 3.0
    assert spread.describe() == "3.0 (2.0–4.0)"


def test_engines_as_json():
    done = CliRunner().invoke(bench, ["evm", "--rounds", "3", "--only", "small_bank", "--json"])
    result = json.loads(done.output)
    assert done.exit_code == 0 and result["ok"]
    assert result["figures"]["speedup_min"] == result["figures"]["speedup_small_bank"] > 2
    (case,) = result["cases"]
    assert len(case["speedups"]) == 3 and case["gas"] > 5_000
    assert {"cpu", "cores", "python", "packages", "load"} <= result["machine"].keys()


def test_engines_for_a_person():
    done = CliRunner().invoke(bench, ["evm", "--rounds", "3", "--only", "token_transfer"])
    assert "token_transfer" in done.output and "times as fast" in done.output
    assert "cores" in done.output


def test_unknown_cases_are_explained():
    done = CliRunner().invoke(bench, ["evm", "--only", "nothing"])
    assert done.exit_code == 2 and "there are register_anchor" in done.output
