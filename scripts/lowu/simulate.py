"""``lowu simulate``: the consensus core in virtual time, under faults drawn from each seed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import click

from consensus.errors import ConsensusError
from consensus.simulation.checkers import Violation
from consensus.simulation.explore import (
    TRACE_LINES_SHOWN,
    Finding,
    Totals,
    campaign,
    run_seed,
)
from consensus.simulation.world import RunResult, World
from lowu.cli import emit_json
from lowu.options import json_option

PROGRESS_S = 1.0


def _parse_sizes(text: str) -> list[int]:
    try:
        sizes = [int(item) for item in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--nodes {text}: expected numbers such as 4,7") from error
    if not all(1 <= size <= 31 for size in sizes):
        raise click.UsageError(f"--nodes {text}: each must be 1 to 31")
    return sizes


@click.command()
@click.option("--seeds", default=200, show_default=True, help="How many seeds to run.")
@click.option("--first-seed", default=0, show_default=True, help="The first seed.")
@click.option("--nodes", default="4,7", show_default=True, help="Network sizes, in turn.")
@click.option("--jobs", default=0, help="Processes; 0 for one a core.")
@click.option("--trace", is_flag=True, help="Print the events of the last seed.")
@json_option
def simulate(
    seeds: int, first_seed: int, nodes: str, jobs: int, trace: bool, is_json: bool
) -> None:
    """Run seeds with crashes, partitions, loss, duplication and reordering; check everything."""
    sizes = _parse_sizes(nodes)
    if seeds < 1:
        raise click.UsageError(f"--seeds {seeds}: at least 1")
    if trace and seeds == 1:
        _show_trace(first_seed, sizes[0])
        return
    started = time.monotonic()
    totals = Totals()
    shown_s = started
    for totals in _run(range(first_seed, first_seed + seeds), sizes, jobs):
        now = time.monotonic()
        if not is_json and now - shown_s >= PROGRESS_S:
            shown_s = now
            _show_progress(totals, seeds, now - started)
    elapsed_s = time.monotonic() - started
    _summarise(totals, elapsed_s, is_json)
    if totals.findings:
        sys.exit(1)


def _run(seeds: range, sizes: list[int], jobs: int) -> Iterator[Totals]:
    import multiprocessing
    import os

    count = jobs or os.cpu_count() or 1
    if count == 1 or len(seeds) < 20:
        yield from campaign(seeds, sizes)
        return
    tasks = [(seed, sizes[position % len(sizes)]) for position, seed in enumerate(seeds)]
    with multiprocessing.get_context("fork").Pool(count) as pool:
        results = pool.imap(_run_task, tasks, chunksize=4)
        yield from campaign(seeds, sizes, lambda seed, size: next(results))


def _run_task(task: tuple[int, int]) -> RunResult | Finding:
    return run_seed(*task)


def _show_progress(totals: Totals, seeds: int, elapsed_s: float) -> None:
    click.echo(
        f"  {totals.seeds}/{seeds} seeds, {totals.seeds / elapsed_s:.0f}/s, "
        f"{totals.blocks} blocks, {totals.view_changes} view changes, "
        f"{len(totals.findings)} violations",
        err=True,
    )


def _summarise(totals: Totals, elapsed_s: float, is_json: bool) -> None:
    figures = {
        "seeds": totals.seeds,
        "blocks": totals.blocks,
        "violations": len(totals.findings),
        "inputs": totals.inputs,
        "inputs_per_second": round(totals.inputs / elapsed_s),
        "view_changes": totals.view_changes,
        "virtual_seconds": totals.virtual_ms // 1000,
        "recovery_ms_max": totals.recovery_ms_max,
        "seconds": round(elapsed_s, 2),
    }
    if is_json:
        details = [
            {"seed": f.seed, "nodes": f.nodes, "violation": f.text, "repeat": f.command}
            for f in totals.findings
        ]
        emit_json(not totals.findings, figures, findings=details)
        return
    for name, value in figures.items():
        click.echo(f"{name.replace('_', ' '):<20} {value}")
    for finding in totals.findings[:3]:
        click.echo(f"\nseed {finding.seed}, {finding.nodes} nodes: {finding.text}")
        click.echo("\n".join(finding.trace[-TRACE_LINES_SHOWN:]))
        click.echo(f"repeat: {finding.command}")


def _show_trace(seed: int, nodes: int) -> None:
    world = World(seed, nodes)
    try:
        world.run()
        text = "no violation"
    except (Violation, ConsensusError) as error:
        text = f"{type(error).__name__}: {error}"
    click.echo("\n".join(world.trace.lines))
    click.echo(f"seed {seed}, {nodes} nodes, {world.trace.count} events: {text}")
    click.echo(f"faults: {world.faults}")
    click.echo(f"trace hash: {world.trace.hexdigest()}")
    if text != "no violation":
        sys.exit(1)
