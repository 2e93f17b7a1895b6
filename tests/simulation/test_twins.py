"""Twins: the generator's count is right, f twins never fork the chain, f + 1 do."""

import json
from itertools import islice
from random import Random

import pytest

from lowu.consensus.simulation.explore import PlanFinding
from lowu.consensus.simulation.twins import (
    enumerate_scenarios,
    parse_scenario,
    partitions,
    run_scenario,
    sample_scenario,
)
from tests.simulation.kit import simulate

BELL = [1, 1, 2, 5, 15, 52, 203]
SAMPLES_A_CHUNK = 30


@pytest.mark.parametrize("size", range(1, 7))
def test_partitions_are_all_and_distinct(size):
    every = list(partitions(size))
    assert len(every) == len(set(every)) == BELL[size]


def test_the_count_of_canonical_scenarios():
    """Burnside: half of (all scenarios + those that exchanging the copies leaves unchanged)."""
    scenarios = list(enumerate_scenarios(4, 1))
    unmoved = sum(
        all((g[0] == g[i]) == (g[-1] == g[i]) for i in range(1, 4)) for g in partitions(5)
    )
    assert len(scenarios) == len(set(scenarios)) == 4 * (52 + unmoved) // 2


@pytest.mark.parametrize("chunk", range(6))
def test_twins_within_the_bound_never_fork(chunk):
    """180 scenarios over 4, 5 and 7 nodes and up to four views (F19)."""
    random = Random(chunk)
    for number in range(SAMPLES_A_CHUNK):
        nodes = 7 if number % 20 == 0 else 4 + number % 2
        scenario = sample_scenario(random, nodes, 3 + number % 2)
        found = run_scenario(scenario)
        assert not isinstance(found, PlanFinding), f"{scenario.describe()}: {found.text}"


def test_twins_beyond_the_bound_fork():
    """The positive control: the checkers see a fork when there is one (F20)."""
    random = Random(1)
    runs = (run_scenario(sample_scenario(random, 4, 3, twins=2)) for _ in range(400))
    assert any(isinstance(found, PlanFinding) and found.property_id == "P01" for found in runs)


def test_scenarios_survive_their_written_form():
    random = Random(2)
    for nodes in (4, 5, 7, 10):
        scenario = sample_scenario(random, nodes, 4)
        assert parse_scenario(scenario.describe()) == scenario
    with pytest.raises(ValueError, match="5 instances"):
        parse_scenario("4:1:0000/00000")


def test_the_same_scenario_gives_the_same_run():
    for scenario in islice(enumerate_scenarios(4, 3), 1_000, 1_003):
        assert run_scenario(scenario) == run_scenario(scenario)


def lowu_json(*arguments):
    done = simulate(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_command_runs_a_share_of_all_scenarios():
    code, result = lowu_json("--twins", "--exhaustive", "--views", "1", "--share", "1/4")
    every = sum(1 for _ in enumerate_scenarios(4, 1))
    assert code == 0 and result["figures"]["violations"] == 0
    assert result["figures"]["scenarios"] == -(-every // 4)


def test_the_command_s_control_finds_forks():
    code, result = lowu_json("--control", "--seeds", "100", "--nodes", "4")
    assert code == 0 and result["figures"]["forks"] > 0
    repeat = next(item for item in result["findings"] if item["violation"].startswith("P01"))
    code, shown = lowu_json("--scenario", repeat["scenario"])
    assert code == 1 and shown["violation"] == repeat["violation"]
