"""``lowu state-tests``: run the official state tests in both EVM engines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import FINDINGS_SHOWN, Stopwatch, print_figures, run_parallel
from lowu.measuring.bench_report import describe_machine, print_machine
from lowu.options import Number, json_option
from lowu.output import Progress

SHOWN_MAX = 100
"""Findings listed in the JSON object; the figures count all of them."""
JOIN_EVERY = 3
"""Branches are joined at every third hand-over. Otherwise tests of one contract that each take
another branch would recompile it every time, and the whole run would take twice as long."""


@click.command(name="state-tests")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--only", default="", help="Only files whose path contains this text.")
@click.option(
    "--jobs", type=click.IntRange(0, 256), default=0, help="Worker processes; 0 for one per core."
)
@click.option(
    "--cpu",
    "cpu_max_s",
    type=Number(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="Exclude, by name, tests that take an engine more CPU seconds than this.",
)
@json_option
def state_tests(folder: Path, only: str, jobs: int, cpu_max_s: float, is_json: bool) -> None:
    """Run a folder (or one file) of GeneralStateTests for Cancun in both EVM engines.

    Code is compiled at its first run. The log hash and the state root are compared with those of
    the test, and the compiled engine with the interpreter. Exits 1 on any difference.
    """
    from lowu.node.simulation.evm.state_tests import StateTestReport

    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    files = [path for path in files if only in str(path)]
    if not files:
        raise click.UsageError(
            f"{folder}: found no .json files{f' with {only!r} in their path' if only else ''}; "
            "give a folder of GeneralStateTests"
        )
    root = folder.parent if folder.is_file() else folder
    watch, progress, total = Stopwatch(), Progress(is_silent=is_json), StateTestReport()
    tasks = [(path, root, cpu_max_s) for path in files]
    for number, report in enumerate(run_parallel(_run_task, tasks, jobs, chunk=8), 1):
        total.add(report)
        if watch.is_due():
            progress(
                f"{number} of {len(files)} files, {total.subtests} subtests, "
                f"{len(total.findings)} findings"
            )
    _show(total, watch, progress, is_json=is_json)
    if total.findings or not total.subtests:
        sys.exit(1)


def _run_task(task: tuple[Path, Path, float]) -> Any:
    from lowu.node.execution.compiler.engine import CodeCache, WatchedCompiledComputation
    from lowu.node.simulation.evm.state_tests import run_file

    cache = CodeCache(gas_an_operation=0, join_every=JOIN_EVERY, is_watched=True)
    WatchedCompiledComputation.cache = cache
    return run_file(*task)


def _show(total: Any, watch: Stopwatch, progress: Progress, *, is_json: bool) -> None:
    figures = {
        "subtests": total.subtests,
        "engine_differences": len(total.engine_differences),
        "wrong_logs": len(total.wrong_logs),
        "wrong_roots": len(total.wrong_roots),
        "contained": len(total.contained),
        "excluded": len(total.excluded),
        "not_interpreted": total.not_interpreted,
        "seconds": round(watch.elapsed_s, 1),
    }
    if is_json:
        emit_json(
            not total.findings and total.subtests > 0,
            figures,
            findings=total.findings[:SHOWN_MAX],
            excluded=[{"name": name, "reason": reason} for name, reason in total.excluded],
            machine=describe_machine(),
        )
        return
    print_figures(figures)
    for reason in sorted({reason for _, reason in total.excluded}):
        count = sum(reason == item for _, item in total.excluded)
        click.echo(f"excluded: {count} subtests: {reason}")
    print_machine(describe_machine())
    for text in total.findings[:FINDINGS_SHOWN]:
        progress(text)
