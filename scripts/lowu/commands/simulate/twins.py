"""``lowu simulate --twins``: scenarios in which one key runs twice."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from random import Random
from typing import Any

import click

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import (
    FINDINGS_SHOWN,
    Stopwatch,
    parse_sizes,
    print_figures,
    run_parallel,
)
from lowu.consensus.quorum import compute_fault_threshold
from lowu.consensus.simulation.explore import PlanFinding, run_traced
from lowu.consensus.simulation.twins import (
    TwinsScenario,
    TwinsWorld,
    enumerate_scenarios,
    parse_scenario,
    run_scenario,
    sample_scenario,
)
from lowu.output import Progress

EXHAUSTIVE_NODES = 4


def run_twins(options: dict[str, Any]) -> None:
    """Run one scenario, samples, or all; only with --control must a fork be found."""
    if options["scenario"]:
        _show(options["scenario"], is_json=options["is_json"])
        return
    is_control = options["control"]
    if is_control and options["exhaustive"]:
        raise click.UsageError("--control draws samples: leave out --exhaustive")
    watch, progress = Stopwatch(), Progress(is_silent=options["is_json"])
    count = heights = inputs = 0
    findings: list[tuple[TwinsScenario, PlanFinding]] = []
    for scenario, found in run_parallel(_run_task, _scenarios(options), options["jobs"], chunk=32):
        count += 1
        if isinstance(found, PlanFinding):
            findings.append((scenario, found))
        else:
            heights += found.heights
            inputs += found.inputs
        if watch.is_due():
            rate = count / watch.elapsed_s
            progress(f"{count} scenarios, {rate:.0f}/s, {len(findings)} violations")
    forks = sum(found.property_id == "P01" for _, found in findings)
    elapsed_s = watch.elapsed_s
    figures = {
        "scenarios": count,
        "violations": len(findings),
        "forks": forks,
        "blocks": heights,
        "inputs": inputs,
        "scenarios_per_second": round(count / elapsed_s, 1),
        "seconds": round(elapsed_s, 2),
    }
    is_ok = forks > 0 if is_control else not findings
    _summarise(figures, findings, is_ok=is_ok, is_json=options["is_json"])
    if not is_ok:
        sys.exit(1)


def _scenarios(options: dict[str, Any]) -> Iterable[TwinsScenario]:
    if options["exhaustive"]:
        part, parts = _parse_share(options["share"])
        return islice(
            enumerate_scenarios(EXHAUSTIVE_NODES, options["views"]), part - 1, None, parts
        )
    random = Random(options["first_seed"])  # noqa: S311  (repeatable, not secret)
    sizes = parse_sizes(options["nodes"])
    extra = 1 if options["control"] else 0
    return (
        sample_scenario(
            random,
            sizes[i % len(sizes)],
            options["views"],
            compute_fault_threshold(sizes[i % len(sizes)]) + extra,
        )
        for i in range(options["seeds"])
    )


def _parse_share(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(item) for item in text.split("/"))
    except ValueError as error:
        raise click.UsageError(f"--share {text}: expected I/N, such as 1/4") from error
    if not 1 <= part <= parts:
        raise click.UsageError(f"--share {text}: I must be 1 to N")
    return part, parts


def _run_task(scenario: TwinsScenario) -> Any:
    return scenario, run_scenario(scenario)


def _summarise(
    figures: dict[str, float],
    findings: list[tuple[TwinsScenario, PlanFinding]],
    *,
    is_ok: bool,
    is_json: bool,
) -> None:
    shown = [
        {
            "scenario": scenario.describe(),
            "violation": found.text,
            "repeat": f"lowu simulate --scenario {scenario.describe()} --trace",
        }
        for scenario, found in findings[:20]
    ]
    if is_json:
        emit_json(is_ok, figures, findings=shown)
        return
    print_figures(figures)
    for item in shown[:FINDINGS_SHOWN]:
        click.echo(f"\n{item['violation']}\nrepeat: {item['repeat']}")


def _show(text: str, *, is_json: bool) -> None:
    try:
        scenario = parse_scenario(text)
        world = TwinsWorld(scenario, is_traced=True)
    except (ValueError, IndexError) as error:
        raise click.UsageError(f"--scenario {text}: {error}") from error
    violation, lines = run_traced(world)
    if is_json:
        emit_json(not violation, {}, violation=violation, trace_hash=world.trace.hexdigest())
    else:
        click.echo("\n".join(lines))
        click.echo(f"{scenario.describe()}: {violation or 'no violation'}")
    if violation:
        sys.exit(1)
