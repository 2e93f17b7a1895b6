"""``lowu crash-test``: kills processes at random, and prints what held."""

from __future__ import annotations

import time
from pathlib import Path

import click
import trio

from lowu.cli import emit_json
from lowu.commands.crash.command import open_folder
from lowu.experiments.crashes.consortium import open_processes
from lowu.experiments.crashes.kills import KillReport, KillTest
from lowu.options import read_network
from lowu.output import Progress


def run_kill_test(kills: int, seed: int, network: str, keep: Path | None, *, is_json: bool) -> None:
    """Kill so many processes, print what held, and exit with 1 if anything did not."""
    progress = Progress(is_silent=is_json)
    text, _ = read_network(network)
    started = time.monotonic()

    report = KillReport()
    is_interrupted = False

    async def main(folder: Path) -> None:
        progress(f"starting {network}")
        async with open_processes(text, folder / "network", {}) as consortium:
            await KillTest(consortium, seed, report, progress).run(kills)

    try:
        with open_folder(keep, "kills") as folder:
            trio.run(main, folder)
    except* KeyboardInterrupt:
        if not report.checked:
            raise
        is_interrupted = True
    figures = {
        "kills": report.kills,
        "pauses": report.pauses,
        "acknowledged": report.acknowledged,
        "lost": report.lost,
        "equivocations": report.equivocations,
        "manual_repairs": report.repairs,
        "longest_stall_seconds": round(report.longest_stall_s, 3),
        "seconds": round(time.monotonic() - started, 1),
    }
    is_ok = not report.problems
    if is_json:
        emit_json(
            is_ok, figures, seed=seed, blows=report.blows, problems=report.problems,
            stalled_after=report.stalled_after,
            is_interrupted=is_interrupted,
        )  # fmt: skip
    else:
        for problem in report.problems:
            click.echo(problem)
        blows = ", ".join(f"{kind} {count}" for kind, count in sorted(report.blows.items()))
        click.echo(
            f"{report.kills} kills and {report.pauses} pauses ({blows}): "
            f"{report.acknowledged} registrations acknowledged, {report.lost} lost, "
            f"{report.equivocations} equivocations, {report.repairs} nodes that did not come back, "
            f"at most {report.longest_stall_s:.1f} s without a registration while few enough were "
            f"down (after {report.stalled_after}); {figures['seconds']:.0f} s"
        )
    if is_interrupted:
        raise click.exceptions.Exit(130)
    if not is_ok:
        raise click.exceptions.Exit(1)
