"""Runs of experiments: each on a fresh network, in turns, with their results in a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lowu.cli import emit_json
from lowu.commands.experiment.live_view import RunView
from lowu.commands.experiment.providers import Provider
from lowu.commands.experiment.storing import (
    make_folder,
    write_json,
    write_manifest,
    write_report,
    write_run,
)
from lowu.experiments.load.outcomes import Summary, median_figures
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.run import LoadRun, describe_run
from lowu.output import print_table

SHOWN = {
    "scheduled": "due", "sent": "sent", "committed": "committed", "answered": "answered",
    "failed": "failed", "refused": "refused", "timed_out": "timed out",
    "throughput_per_s": "done/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms",
    "generator_lag_ms_max": "lag ms", "view_changes": "view changes",
}  # fmt: skip
"""Figures that are told, with the heads of their columns."""
SHOWN_IF_ANY = ("answered", "failed")
"""Those that are told only where they are not 0."""
SHOWN_OF_EACH = {
    "scheduled": "due", "committed": "committed", "answered": "answered", "failed": "failed",
    "refused": "refused", "timed_out": "timed out", "throughput_per_s": "done/s",
    "p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms",
}  # fmt: skip
"""Those that are told of each workload of a mix."""


@dataclass(slots=True)
class Point:
    """An experiment of a sweep, and its runs so far."""

    experiment: Experiment
    runs: list[LoadRun] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Return the median of each figure over the runs."""
        return median_figures(item.summary.figures for item in self.runs)

    def misses(self) -> list[str]:
        """Return what is not as expected, run by run."""
        found = []
        for number, item in enumerate(self.runs, start=1):
            for bound in self.experiment.expectations:
                value = item.summary.figures.get(bound.figure, math.nan)
                is_open = bound.figure in item.summary.is_bounded and bound.operator in ("<=", "<")
                if is_open or not bound.holds(value):
                    least = "at least " if bound.figure in item.summary.is_bounded else ""
                    found.append(f"run {number}: {bound} was expected, not {least}{value:g}")
        return found


def run_experiments(
    experiments: tuple[Experiment, ...],
    text: str,
    path: Path,
    out: Path | None,
    view: RunView,
    provider: Provider,
    *,
    is_json: bool,
) -> bool:
    """Run all, in turns; print and write what was found. Return whether all is as expected.

    An error ends it, after what was found until then is written and told.
    """
    folder = make_folder(experiments[0], out)
    points = [Point(item) for item in experiments]
    started = time.monotonic()
    manifest = write_manifest(folder, text, path, experiments, provider)
    try:
        with view.shown():
            is_complete = _play_all(points, folder, view, provider)
    except BaseException:
        with suppress(click.ClickException):
            summary = _describe(points, is_ok=False, is_complete=False)
            write_json(folder / "summary.json", {**summary, "manifest": manifest})
            write_report(folder)
        if not is_json and any(point.runs for point in points):
            _print(points, time.monotonic() - started)
            click.echo(f"not complete; what could be written is in {folder}")
        raise
    is_ok = is_complete and not any(
        point.misses() or any(item.flaws for item in point.runs) for point in points
    )
    summary = _describe(points, is_ok=is_ok, is_complete=is_complete)
    write_json(folder / "summary.json", {**summary, "manifest": manifest})
    page = write_report(folder)
    if is_json:
        emit_json(is_ok, _figures(points[0]), folder=str(folder), **summary)
    else:
        _print(points, time.monotonic() - started)
        click.echo(f"report: {page}; records and figures beside it")
    return is_ok


def _play_all(points: list[Point], folder: Path, view: RunView, provider: Provider) -> bool:
    """Play all runs, in turns, and write each down; return whether none was interrupted."""
    for number in range(max(point.experiment.repetitions for point in points)):
        for place, point in enumerate(points):
            if number >= point.experiment.repetitions:
                continue
            done = sum(len(item.runs) for item in points)
            view.tell(f"{_tell_run(point, number, len(points))}{_tell_total(points, done)}")
            result = provider.play(point.experiment, number, view)
            point.runs.append(result)
            write_run(folder / "runs" / f"{place + 1:03d}-{number + 1:03d}", result)
            if not result.is_complete:
                return False
    return True


def _describe(points: list[Point], *, is_ok: bool, is_complete: bool) -> dict[str, Any]:
    return {
        "name": points[0].experiment.name,
        "as_expected": is_ok,
        "complete": is_complete,
        "invalid": sum(not item.is_valid for point in points for item in point.runs),
        "points": [
            {
                "point": dict(point.experiment.point),
                "median": _figures(point),
                "misses": point.misses(),
                "runs": [describe_run(item) for item in point.runs],
            }
            for point in points
        ],
    }


def _figures(point: Point) -> dict[str, float]:
    found = {name: round(value, 3) for name, value in point.figures().items()}
    return {**found, "invalid": sum(not item.is_valid for item in point.runs)}


def _tell_run(point: Point, number: int, points: int) -> str:
    where = ", ".join(f"{key} = {value}" for key, value in point.experiment.point.items())
    of = f" at {where}" if points > 1 else ""
    return f"run {number + 1} of {point.experiment.repetitions}{of}"


def _tell_total(points: list[Point], done: int) -> str:
    total = sum(point.experiment.repetitions for point in points)
    return f" ({done + 1} of {total} in all)" if len(points) > 1 else ""


def _print(points: list[Point], seconds: float) -> None:
    first = points[0].experiment
    rows = []
    shown = [
        name
        for name in SHOWN
        if name not in SHOWN_IF_ANY or any(point.figures().get(name) for point in points)
    ]
    for point in points:
        figures = point.figures()
        where = ", ".join(f"{value}" for value in point.experiment.point.values()) or "-"
        rows.append([where, str(len(point.runs)), *(_tell(point, figures, name) for name in shown)])
    swept = ", ".join(first.point) or "point"
    print_table(
        f"{first.name}, medians of the runs",
        (swept, "runs", *(SHOWN[name] for name in shown)),
        rows,
    )
    _print_workloads(points)
    for point in points:
        for number, item in enumerate(point.runs, start=1):
            for flaw in item.flaws:
                click.echo(f"INVALID run {number}: {flaw}")
            if item.summary.cause:
                click.echo(f"NOTHING DONE in run {number}: {item.summary.cause}")
            for fault, hangover in zip(item.faults, item.hangovers_s, strict=True):
                back = (
                    "was not back by the end"
                    if math.isnan(hangover)
                    else f"back after {hangover:.0f} s"
                )
                click.echo(
                    f"run {number}: {fault.kind} {', '.join(fault.nodes)} from "
                    f"{fault.begins_s:.1f} s to {fault.ends_s:.1f} s; p99 {back}"
                )
        for miss in point.misses():
            click.echo(f"NOT AS EXPECTED: {miss}")
    click.echo(f"all in {seconds:.0f} s")


def _print_workloads(points: list[Point]) -> None:
    """Print the figures of each workload, if there are several."""
    rows = []
    for point in points:
        where = ", ".join(f"{value}" for value in point.experiment.point.values()) or "-"
        for name in point.experiment.load.workload:
            runs = [item.by_workload[name] for item in point.runs if name in item.by_workload]
            figures = median_figures(item.figures for item in runs)
            cells = [_tell_value(runs, figures, key) for key in SHOWN_OF_EACH]
            if runs:
                rows.append([where, name, *cells])
    if rows:
        swept = ", ".join(points[0].experiment.point) or "point"
        print_table("by workload", (swept, "workload", *SHOWN_OF_EACH.values()), rows)


def _tell(point: Point, figures: dict[str, float], name: str) -> str:
    return _tell_value([item.summary for item in point.runs], figures, name)


def _tell_value(runs: Sequence[Summary], figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return "-"
    is_least = any(name in item.is_bounded for item in runs)
    return f"{'≥ ' if is_least else ''}{figures[name]:,.0f}"
