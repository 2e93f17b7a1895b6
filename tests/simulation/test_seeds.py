"""Whole networks in virtual time: seeds, determinism, shrinking, replay, and the command."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowu.commands.simulate.command import dump_replay, load_replay
from lowu.consensus.simulation.explore import PlanFinding, Totals, run_plan, run_seed
from lowu.consensus.simulation.faults import BEHAVIOURS
from lowu.consensus.simulation.liars.behaviours import ACTIONS, CHANGES
from lowu.consensus.simulation.result import RunResult
from lowu.consensus.simulation.run_plan import (
    RunPlan,
    draw_plan,
    keeps_promise,
    plan_from_json,
    plan_to_json,
)
from lowu.consensus.simulation.shrink import candidates, shrink
from lowu.consensus.simulation.world import World
from tests.simulation.kit import output_under_another_hash_seed, simulate

SEEDS_A_CHUNK = 8


@pytest.mark.parametrize("chunk", range(10))
def test_seeds(chunk):
    """80 seeds over four sizes: no violation, everything committed after healing."""
    first = 10_000 + chunk * SEEDS_A_CHUNK
    totals = Totals()
    for seed in range(first, first + SEEDS_A_CHUNK):
        totals.add(run_seed(seed, (4, 7, 5, 6)[seed % 4]))
    failed = [
        f"{f.text} (seed {f.plan.seed}, {len(f.plan.members)} nodes)" for f in totals.findings
    ]
    assert failed == []
    assert totals.blocks > totals.seeds


def hash_of(plan):
    return run_plan(plan, is_traced=True).trace_hash


@pytest.mark.parametrize("nodes", [1, 2, 3, 10, 13, 22, 31])
def test_other_sizes(nodes):
    for seed in range(5 if nodes < 20 else 1):
        found = run_seed(seed, nodes)
        assert not isinstance(found, PlanFinding), found.text


def test_the_same_seed_gives_the_same_trace_under_another_hash_seed():
    code = (
        "from lowu.consensus.simulation.explore import run_plan;"
        "from lowu.consensus.simulation.run_plan import draw_plan;"
        "plans = [draw_plan(seed, 4) for seed in range(6)];"
        "print([run_plan(plan, is_traced=True).trace_hash for plan in plans])"
    )
    here = [hash_of(draw_plan(seed, 4)) for seed in range(6)]
    assert output_under_another_hash_seed(code) == f"{here}\n"


def test_a_liar_remembers_validators_that_have_left():
    """Seed 16837 of 7 nodes: a liar counted the VIEW-CHANGE of a former validator."""
    assert isinstance(run_seed(16_837, 7), RunResult)


def test_a_peer_that_restarts_while_the_group_changes_is_answered_in_both_epochs():
    """Seed 1001395 of 7 nodes: the checker of P22 took two epochs for one."""
    assert isinstance(run_seed(1_001_395, 7), RunResult)


@pytest.mark.parametrize(("seed", "nodes"), [(1_018_354, 4), (1_017_903, 7)])
def test_checkers_take_validators_and_offers_as_the_protocol_does(seed, nodes):
    """A proposal came before the NEW-VIEW that lets its sender lead; and a certificate was shown of
    a height that the next validators decide."""
    assert isinstance(run_seed(seed, nodes), RunResult)


def test_a_run_is_the_same_with_and_without_a_trace():
    plan = draw_plan(3, 4)
    plain, traced = run_plan(plan), run_plan(plan, is_traced=True)
    assert plain.trace_hash == "" and replace(traced, trace_hash="") == plain


def test_swarm_options_reach_everything():
    """Over many seeds, each kind of fault is drawn and strikes."""
    plans = [draw_plan(seed, 7) for seed in range(500)]
    drawn = {name for plan in plans for _, names in plan.byzantine for name in names}
    assert drawn == set(BEHAVIOURS) == set(CHANGES) and set(ACTIONS) <= drawn
    assert any(crash.is_wiped for plan in plans for crash in plan.crashes)
    assert any(node >= 7 for plan in plans for node, _ in plan.byzantine)  # a joiner
    for has in (
        lambda p: p.dead,
        lambda p: p.snapshot_blocks,
        lambda p: p.rots,
        lambda p: any(crash.kept_blocks for crash in p.crashes),
        lambda p: p.changes,
        lambda p: p.slow,
        lambda p: p.skews,
        lambda p: p.cuts,
        lambda p: p.is_relaying,
        lambda p: p.diverging,
        lambda p: p.lost_kind,
        lambda p: p.twins,
        lambda p: p.announce_ms > 1_000,
        lambda p: p.leader_period > 1,
        lambda p: set(p.weights) != {1},
        lambda p: p.window == 1,
        lambda p: p.rates.lost_answer,
    ):
        assert sum(bool(has(plan)) for plan in plans) > 20
    assert all(keeps_promise(plan) for plan in plans)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 31))
def test_plans_survive_their_stored_form(seed, nodes):
    plan = draw_plan(seed, nodes)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


@pytest.mark.parametrize(
    "change", [{"format": "other"}, {"weights": None}, {"surplus": 1}, {"crashes": [{"at": 1}]}]
)
def test_other_files_are_no_plans(change):
    value = {**plan_to_json(draw_plan(1, 4)), **change}
    with pytest.raises((ValueError, TypeError)):
        plan_from_json(value)


# --- shrinking ------------------------------------------------------------------------------


def fails_with_two_crashes(plan):
    """A made-up property, which two crashes of node 1 break."""
    if sum(crash.instance == 1 for crash in plan.crashes) >= 2:
        return PlanFinding(plan, "P99 pretended")
    return RunResult(1, 1, 0, 1, 1, {}, {}, "")


def test_shrinking_leaves_what_the_failure_needs():
    plan = next(
        plan
        for plan in (draw_plan(seed, 7) for seed in range(1_000))
        if isinstance(fails_with_two_crashes(plan), PlanFinding)
        and len(plan.crashes) > 5
        and plan.cuts
    )
    small = shrink(PlanFinding(plan, "P99 pretended"), fails_with_two_crashes)
    assert len(small.plan.crashes) == 2 and small.plan.faults == 2
    assert small.plan.submissions == () and small.plan.rates.drop == 0


def test_shrinking_is_bounded_and_keeps_the_property():
    plan = draw_plan(5, 7)
    runs = []

    def other_property(candidate):
        runs.append(candidate)
        return PlanFinding(candidate, "P98 something else")

    finding = PlanFinding(plan, "P99 pretended")
    assert shrink(finding, other_property, runs_max=10) == finding and len(runs) == 10
    assert all(isinstance(item, RunPlan) and item != plan for item in candidates(plan))


# --- the command ----------------------------------------------------------------------------


def test_the_command_tells_figures():
    done = simulate("--seeds", "30", "--nodes", "4", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ok"]
    assert result["figures"]["seeds"] == 30 and result["figures"]["violations"] == 0
    assert result["figures"]["inputs_per_second"] > 0 and result["faults"]["dropped"] > 0
    assert ["Prepare", "normal"] in [item[:2] for item in result["coverage"]]
    assert "Traceback" not in done.stderr


def test_a_replay_file_runs_again(tmp_path):
    plan = draw_plan(2, 4)
    path = tmp_path / "run.json"
    path.write_text(dump_replay(plan, "P01 pretended"))
    assert load_replay(path) == plan
    done = simulate("--replay", str(path))
    assert done.returncode == 0 and hash_of(plan) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "not in the range"),
        (["--jobs", "-1"], "not in the range"),
        (["--views", "0", "--twins"], "not in the range"),
        (["--twins", "--mutants"], "cannot be combined"),
        (["--nodes", "four"], "expected numbers"),
        (["--nodes", "99"], "1 to 31"),
        (["--trace"], "add --seeds 1"),
        (["--replay", "nothing.json"], "not a replay file"),
        (["--scenario", "4:1"], "--scenario 4:1"),
        (["--exhaustive", "--share", "3/2"], "1 to N"),
        (["--mutants", "--only", "B99"], "no such mutant"),
        (["--control", "--exhaustive"], "leave out"),
    ],
)
def test_wrong_options_are_explained(arguments, message):
    done = simulate(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_violation_is_shown_with_trace_and_commands(tmp_path, monkeypatch, capsys):
    """A finding is shrunk, saved and explained."""
    from click.testing import CliRunner

    from lowu.commands.simulate.command import simulate as command

    monkeypatch.setattr("lowu.consensus.simulation.world.LIVENESS_MS", 1)
    arguments = ["--seeds", "2", "--nodes", "4", "--save", str(tmp_path), "--jobs", "1"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 1
    assert "P17 not settled" in done.output and "repeat: lowu simulate --seeds 1" in done.output
    (path, *_) = sorted(tmp_path.iterdir())
    assert f"--replay {path}" in done.output
    assert World(load_replay(path)).plan.faults <= draw_plan(0, 4).faults


@pytest.mark.parametrize("stack", ["core", "full"])
def test_ctrl_c_tells_what_was_played(stack, monkeypatch):
    from click.testing import CliRunner

    from lowu.commands.simulate import command
    from lowu.commands.simulate import stack as whole

    def run_until_ctrl_c(run, tasks, jobs):
        yield from map(run, tasks[:2])
        raise KeyboardInterrupt

    for module in (command, whole):
        monkeypatch.setattr(module, "run_parallel", run_until_ctrl_c)
    arguments = ["--seeds", "900", "--first-seed", "1", "--stack", stack, "--json"]
    done = CliRunner().invoke(command.simulate, arguments)
    told = json.loads(done.stdout)
    assert done.exit_code == 130 and "until then" in done.stderr
    assert told["figures"]["seeds"] == 2 and told["is_interrupted"] and told["ok"]
