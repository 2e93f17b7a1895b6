"""``lowu bench``: its output, and the compiled engine's speed-up."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lowu.commands.bench.command import bench
from lowu.measuring.bench_report import Spread, ratios
from lowu.node.execution.compiler import runtime
from lowu.node.execution.compiler.engine import CompiledComputation


@pytest.fixture(autouse=True)
def own_cache(monkeypatch):
    """Restore the cache after the test: the command replaces it with its own."""
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


ARTIFACTS = str(Path(__file__).resolve().parents[3] / "contracts" / "artifacts")


def test_the_differential_of_programs_and_contracts():
    arguments = ["differential", "--programs", "40", "--contracts", ARTIFACTS, "--calls", "60"]
    done = CliRunner().invoke(bench, [*arguments, "--json"])
    result = json.loads(done.output)
    assert done.exit_code == 0 and result["ok"], done.output
    figures = result["figures"]
    assert figures["programs"] == 40 and figures["calls"] == 60 and figures["differences"] == 0
    assert figures["steps"] > 3_000
    assert {"HashRegistry", "OrgRegistry", "Token", "SmallBank"} <= set(result["contracts"])
    assert {"SUCCESS", "REVERT"} <= result["outcomes"].keys()


def test_the_differential_tells_of_differences(monkeypatch):
    monkeypatch.setattr(runtime, "GAS_PER_HASHED_WORD", 7)
    arguments = ["differential", "--programs", "0", "--contracts", ARTIFACTS, "--calls", "100"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 1 and "the compiled EVM differs from py-evm" in done.output
