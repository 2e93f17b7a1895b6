"""``lowu simulate``: the consensus core in virtual time, under faults and liars."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import (
    FINDINGS_SHOWN,
    Interruption,
    Stopwatch,
    list_tasks,
    parse_sizes,
    print_figures,
    run_parallel,
)
from lowu.options import Number, json_option
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.consensus.simulation.explore import PlanFinding, Totals
    from lowu.consensus.simulation.run_plan import RunPlan


@click.command()
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Number of seeds, or of Twins samples.",
)
@click.option(
    "--first-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed."
)
@click.option("--nodes", default="4,7", show_default=True, help="Network sizes, used in turn.")
@click.option(
    "--jobs", type=click.IntRange(0, 1024), default=0, help="Worker processes; 0 for one per core."
)
@click.option("--trace", is_flag=True, help="Print the events of one seed, replay or scenario.")
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), help="Folder for replay files."
)
@click.option(
    "--replay", type=click.Path(path_type=Path, dir_okay=False), help="Run a replay file again."
)
@click.option("--twins", is_flag=True, help="Run Twins scenarios: two replicas with one key.")
@click.option(
    "--views",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Views in a Twins scenario.",
)
@click.option("--exhaustive", is_flag=True, help="All Twins scenarios of 4 nodes, once each.")
@click.option("--share", default="1/1", help="With --exhaustive: only part I of N, given as I/N.")
@click.option("--scenario", help="Run one Twins scenario, such as 4:1:01001/00000.")
@click.option("--control", is_flag=True, help="More twins than tolerated: a fork must be found.")
@click.option(
    "--stack",
    type=click.Choice(["core", "full"]),
    default="core",
    show_default=True,
    help="core: the replica; full: the whole node, in virtual time.",
)
@click.option("--mutants", is_flag=True, help="Put known bugs back and find each.")
@click.option("--only", default="", help="Only these mutants, such as B01,L05.")
@click.option(
    "--seconds",
    type=Number(1, 86_400),
    default=600.0,
    show_default=True,
    help="CPU seconds for each mutant.",
)
@json_option
def simulate(**options: Any) -> None:
    """Run seeds with crashes, partitions, loss and liars, and check every step."""
    is_twins = options["twins"] or options["exhaustive"] or options["control"]
    chosen = {
        "--mutants": options["mutants"],
        "--stack full": options["stack"] == "full",
        "--twins": is_twins or bool(options["scenario"]),
        "--replay": options["replay"] is not None,
    }
    if sum(map(bool, chosen.values())) > 1:
        names = " and ".join(name for name, is_on in chosen.items() if is_on)
        raise click.UsageError(f"{names} cannot be combined: run one at a time")
    if options["mutants"]:
        from lowu.commands.simulate.mutants import run_mutants

        run_mutants(options)
    elif options["stack"] == "full":
        from lowu.commands.simulate.stack import run_stack_seeds

        run_stack_seeds(options)
    elif chosen["--twins"]:
        from lowu.commands.simulate.twins import run_twins

        run_twins(options)
    elif options["replay"] is not None:
        _show_plan(load_replay(options["replay"]), is_json=options["is_json"])
    elif options["trace"]:
        from lowu.consensus.simulation.run_plan import draw_plan

        if options["seeds"] != 1:
            raise click.UsageError("--trace shows one seed: add --seeds 1")
        plan = draw_plan(options["first_seed"], parse_sizes(options["nodes"])[0])
        _show_plan(plan, is_json=options["is_json"])
    else:
        _run_seeds(options)


# --- seeds ----------------------------------------------------------------------------------


def _run_seeds(options: dict[str, Any]) -> None:
    from lowu.consensus.simulation.explore import Totals

    progress = Progress(is_silent=options["is_json"])
    tasks, watch, totals = list_tasks(options), Stopwatch(), Totals()
    with Interruption() as interruption:
        for found in run_parallel(_run_task, tasks, options["jobs"]):
            totals.add(found)
            if watch.is_due():
                progress(_describe_progress(totals, len(tasks), watch.elapsed_s))
    elapsed_s = watch.elapsed_s
    findings = [_shrink(item, options["save"], progress) for item in totals.findings[:20]]
    _summarise(
        totals, elapsed_s, findings,
        is_interrupted=interruption.is_set, is_json=options["is_json"],
    )  # fmt: skip
    interruption.finish(is_ok=not totals.findings)


def _run_task(task: tuple[int, int]) -> Any:
    from lowu.consensus.simulation.explore import run_seed

    return run_seed(*task)


def _describe_progress(totals: Totals, seeds: int, elapsed_s: float) -> str:
    kinds = {kind for kind, _ in totals.coverage}
    return (
        f"{totals.seeds}/{seeds} seeds, {totals.seeds / elapsed_s:.0f}/s, {totals.blocks} blocks, "
        f"{totals.view_changes} view changes, {sum(totals.faults.values())} faults, "
        f"{len(kinds)} kinds of input, with phase: {len(totals.coverage)}, "
        f"{len(totals.findings)} violations"
    )


def _shrink(
    finding: PlanFinding, save: Path | None, progress: Progress
) -> tuple[PlanFinding, Path | None]:
    """Shrink a finding, and save it if a folder is given."""
    from lowu.consensus.simulation.shrink import shrink

    progress(f"shrinking {finding.text[:60]}: {finding.plan.faults} faults")
    small = shrink(finding)
    progress(f"shrunk to {small.plan.faults} faults, {len(small.plan.submissions)} transactions")
    path = None
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        path = save / f"{small.property_id}-{small.plan.seed}-{len(small.plan.members)}.json"
        path.write_text(dump_replay(small.plan, small.text), encoding="utf-8")
    return small, path


def _summarise(
    totals: Totals,
    elapsed_s: float,
    findings: list[tuple[PlanFinding, Path | None]],
    *,
    is_interrupted: bool,
    is_json: bool,
) -> None:
    figures = {
        "seeds": totals.seeds,
        "blocks": totals.blocks,
        "violations": len(totals.findings),
        "inputs": totals.inputs,
        "inputs_per_second": round(totals.inputs / elapsed_s),
        "virtual_seconds_per_second": round(totals.virtual_ms / 1000 / elapsed_s),
        "view_changes": totals.view_changes,
        "compared": totals.compared,
        "recovery_ms_max": totals.recovery_ms_max,
        "seconds": round(elapsed_s, 2),
    }
    coverage = sorted((kind, phase, count) for (kind, phase), count in totals.coverage.items())
    if is_json:
        emit_json(
            not totals.findings,
            figures,
            faults=dict(sorted(totals.faults.items())),
            coverage=[list(item) for item in coverage],
            findings=[_describe_finding(item, path) for item, path in findings],
            is_interrupted=is_interrupted,
        )
        return
    print_figures(figures, totals.faults)
    _print_coverage(coverage)
    for finding, path in findings[:FINDINGS_SHOWN]:
        _show_finding(finding, path)


def _print_coverage(coverage: list[tuple[str, str, int]]) -> None:
    phases = sorted({phase for _, phase, _ in coverage})
    counts = {(kind, phase): count for kind, phase, count in coverage}
    rows = [
        (kind, *(counts.get((kind, phase), 0) for phase in phases))
        for kind in sorted({kind for kind, _, _ in coverage})
    ]
    print_table("Inputs by the replica's phase", ("input", *phases), rows)


def _describe_finding(finding: PlanFinding, path: Path | None) -> dict[str, Any]:
    nodes = len(finding.plan.members)
    return {
        "seed": finding.plan.seed,
        "nodes": nodes,
        "violation": finding.text,
        "faults": finding.plan.faults,
        "replay": str(path) if path is not None else None,
        "repeat": f"lowu simulate --seeds 1 --first-seed {finding.plan.seed} --nodes {nodes}",
    }


def _show_finding(finding: PlanFinding, path: Path | None) -> None:
    from lowu.consensus.simulation.explore import TRACE_LINES_SHOWN, run_traced
    from lowu.consensus.simulation.world import World

    described = _describe_finding(finding, path)
    click.echo(f"\nseed {finding.plan.seed}, {described['nodes']} nodes: {finding.text}")
    click.echo("\n".join(run_traced(World(finding.plan, is_traced=True))[1][-TRACE_LINES_SHOWN:]))
    click.echo(f"repeat: {described['repeat']} --trace")
    if path is not None:
        click.echo(f"the shrunk run: lowu simulate --replay {path}")
    else:
        click.echo("to keep the shrunk run, add --save DIR")


# --- one plan -------------------------------------------------------------------------------


REPLAY_BYTES_MAX = 16 * 1024 * 1024


def dump_replay(plan: RunPlan, violation: str) -> str:
    """Return the text of a replay file."""
    from lowu.consensus.simulation.run_plan import plan_to_json

    return json.dumps({"violation": violation, "plan": plan_to_json(plan)}, indent=1) + "\n"


def load_replay(path: Path) -> RunPlan:
    """Return the plan in a replay file."""
    from lowu.consensus.simulation.run_plan import plan_from_json
    from lowu.institutions.files import read_given

    try:
        value = json.loads(read_given(path, REPLAY_BYTES_MAX))
        return plan_from_json(value["plan"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise click.UsageError(f"--replay {path}: not a replay file ({error})") from error


def _show_plan(plan: RunPlan, *, is_json: bool) -> None:
    """Run one plan with a trace; exit 1 if it breaks a property."""
    from lowu.consensus.simulation.explore import run_traced
    from lowu.consensus.simulation.world import World

    world = World(plan, is_traced=True)
    text, lines = run_traced(world)
    digest = world.trace.hexdigest()
    if is_json:
        emit_json(not text, {"faults": plan.faults}, violation=text, trace_hash=digest)
    else:
        click.echo("\n".join(lines))
        click.echo(f"{len(plan.members)} nodes, {plan.faults} faults: {text or 'no violation'}")
        click.echo(f"trace hash: {digest}")
    if text:
        sys.exit(1)
