"""``lowu simulate --stack full``: whole nodes in virtual time."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import Any

import click

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import (
    FINDINGS_SHOWN,
    Interruption,
    Stopwatch,
    list_tasks,
    print_figures,
    run_parallel,
)
from lowu.node.errors import root_causes
from lowu.node.simulation.stack.cluster import StackResult, run_stack
from lowu.node.simulation.virtual_time import check_private_names
from lowu.output import Progress

TWICE_EVERY = 20
"""Each seed divisible by this number is run twice, and both traces must be equal."""


def run_stack_seeds(options: dict[str, Any]) -> None:
    """Run seeds of the whole node; exit 1 if one breaks a property."""
    check_private_names()
    logging.disable(logging.CRITICAL)
    tasks = list_tasks(options)
    if options["trace"]:
        if options["seeds"] != 1:
            raise click.UsageError("--trace shows one seed: add --seeds 1")
        _show(*tasks[0], is_json=options["is_json"])
        return
    watch, progress = Stopwatch(), Progress(is_silent=options["is_json"])
    count = blocks = frames = compared = 0
    virtual_s = recovery_s = 0.0
    faults: Counter[str] = Counter()
    findings: list[dict[str, Any]] = []
    with Interruption() as interruption:
        for (seed, nodes), found in run_parallel(_run_task, tasks, options["jobs"]):
            count += 1
            if isinstance(found, str):
                findings.append({"seed": seed, "nodes": nodes, "violation": found})
            else:
                blocks += found.blocks
                frames += found.frames
                compared += seed % TWICE_EVERY == 0
                virtual_s += found.virtual_s
                recovery_s = max(recovery_s, found.recovery_s)
                faults.update(found.faults)
            if watch.is_due():
                rate = count / watch.elapsed_s
                progress(f"{count}/{len(tasks)} seeds, {rate:.1f}/s, {len(findings)} violations")
    elapsed_s = watch.elapsed_s
    figures = {
        "seeds": count,
        "blocks": blocks,
        "violations": len(findings),
        "frames": frames,
        "compared": compared,
        "virtual_seconds_per_second": round(virtual_s / elapsed_s, 1),
        "recovery_ms_max": round(recovery_s * 1000),
        "seconds": round(elapsed_s, 2),
    }
    is_interrupted, is_json = interruption.is_set, options["is_json"]
    _summarise(figures, faults, findings, is_interrupted=is_interrupted, is_json=is_json)
    interruption.finish(is_ok=not findings)


def _summarise(
    figures: dict[str, float],
    faults: Counter[str],
    findings: list[dict[str, Any]],
    *,
    is_interrupted: bool,
    is_json: bool,
) -> None:
    if is_json:
        emit_json(
            not findings, figures, faults=dict(sorted(faults.items())), findings=findings,
            is_interrupted=is_interrupted,
        )  # fmt: skip
        return
    print_figures(figures, faults)
    for item in findings[:FINDINGS_SHOWN]:
        click.echo(f"\nseed {item['seed']}: {item['violation']}")
        click.echo(
            "repeat: lowu simulate --stack full --seeds 1 --trace "
            f"--first-seed {item['seed']} --nodes {item['nodes']}"
        )


def _run_task(task: tuple[int, int]) -> tuple[tuple[int, int], StackResult | str]:
    """Run a seed, some twice; return its result or its violation."""
    seed, nodes = task
    try:
        result = run_stack(seed, nodes)
        if seed % TWICE_EVERY == 0 and run_stack(seed, nodes).trace_hash != result.trace_hash:
            return task, "P11 two runs of one seed differ"
    except Exception as error:  # noqa: BLE001  (any exception is a finding)
        return task, _explain(error)
    return task, result


def _explain(error: BaseException) -> str:
    error = root_causes(error)[0]
    text = str(error)
    return text if text[:1] == "P" and text[1:3].isdigit() else f"{type(error).__name__}: {text}"


def _show(seed: int, nodes: int, *, is_json: bool) -> None:
    trace: list[str] = []
    violation, digest = "", ""
    try:
        digest = run_stack(seed, nodes, trace).trace_hash
    except Exception as error:  # noqa: BLE001
        violation = _explain(error)
    if is_json:
        emit_json(not violation, {"events": len(trace)}, violation=violation, trace_hash=digest)
    else:
        click.echo("\n".join(trace))
        click.echo(f"seed {seed}, {nodes} nodes: {violation or 'no violation'}")
        click.echo(f"trace hash: {digest}")
    if violation:
        sys.exit(1)
