"""``lowu experiment saturate``: the highest rate that a network sustains."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.commands.experiment.live_view import RunView
from lowu.commands.experiment.providers import Provider
from lowu.commands.experiment.running import Point
from lowu.commands.experiment.storing import (
    make_folder,
    write_json,
    write_manifest,
    write_report,
    write_run,
)
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.run import describe_run
from lowu.experiments.load.saturation import SaturationSearch, is_sustained
from lowu.output import print_table

WITH_A_RATE = ("constant", "poisson")
SHOWN = ("throughput_per_s", "p50_ms", "p99_ms", "uncommitted")


def run_saturation(
    experiments: tuple[Experiment, ...],
    text: str,
    path: Path,
    out: Path | None,
    view: RunView,
    provider: Provider,
    *,
    p99_ms: float,
    start: float,
    highest: float,
    is_json: bool,
) -> bool:
    """Search, print and write what was found. Return whether a sustained rate was found."""
    item = _find_only(experiments, path)
    folder = make_folder(item, out)
    write_manifest(
        folder, text, path, experiments, provider, saturation="the search was not finished"
    )
    search, points = SaturationSearch(start, highest), dict[float, Point]()
    started, is_complete = time.monotonic(), True
    while is_complete and (rate := search.next_rate()) is not None:
        load = replace(item.load, arrivals=replace(item.load.arrivals, rate=rate))
        point = points.setdefault(rate, Point(replace(item, load=load)))
        number = len(point.runs)
        view.tell(f"{rate:g} a second, run {number + 1}: starting the network")
        with view.shown():
            result = provider.play(point.experiment, number, view)
        point.runs.append(result)
        place = list(points).index(rate) + 1
        write_run(folder / "runs" / f"{place:03d}-{number + 1:03d}", result)
        is_complete = result.is_complete
        kept_up = is_sustained(
            result.summary.figures,
            duration_s=item.load.duration_s,
            p99_ms=p99_ms,
            is_valid=result.is_valid,
        )
        search.note(rate, is_sustained=kept_up)
        view.tell(f"{rate:g} a second: {'sustained' if kept_up else 'NOT sustained'}")
    told = _tell(search, p99_ms) if is_complete else "interrupted"
    sweep = f'\n\n[sweep]\n"load.arrival.rate" = {json.dumps(list(points))}\n'
    write_manifest(folder, text.rstrip() + sweep, path, experiments, provider, saturation=told)
    figures = {
        "sustained_per_s": search.low or 0.0,
        "not_sustained_per_s": search.high or 0.0,
        "runs": float(len(search.probes)),
    }
    runs = {rate: [describe_run(run) for run in point.runs] for rate, point in points.items()}
    write_json(folder / "summary.json", {"told": told, "figures": figures, "rates": runs})
    page, is_ok = write_report(folder), is_complete and search.low is not None
    if is_json:
        emit_json(is_ok, figures, folder=str(folder), told=told)
        return is_ok
    _print(search, points)
    click.echo(f"{told}\nall in {time.monotonic() - started:.0f} s; report: {page}")
    return is_ok


def _find_only(experiments: tuple[Experiment, ...], path: Path) -> Experiment:
    """Return the experiment of a file whose rate can be searched; `UsageError` if it cannot."""
    item = experiments[0]
    if len(experiments) > 1:
        raise click.UsageError(f"{path} has a [sweep]; a search varies the rate alone")
    if item.load.arrivals.kind not in WITH_A_RATE:
        raise click.UsageError(f"{path}: an arrival of kind {' or '.join(WITH_A_RATE)} is needed")
    return item


def _tell(search: SaturationSearch, p99_ms: float) -> str:
    if search.low is None:
        return f"no rate was sustained with a p99 below {p99_ms:g} ms"
    above = f"{search.high:g} was not" if search.high else "no higher rate was played"
    return f"{search.low:g} a second are sustained with a p99 below {p99_ms:g} ms; {above}"


def _print(search: SaturationSearch, points: dict[float, Point]) -> None:
    rows = []
    for rate, point in sorted(points.items()):
        figures = point.figures()
        kept_up = [probe.is_sustained for probe in search.probes if probe.rate == rate]
        rows.append(
            (
                f"{rate:g}",
                f"{sum(kept_up)} of {len(kept_up)}",
                *(f"{figures[name]:,.0f}" if name in figures else "-" for name in SHOWN),
            )
        )
    columns = ("rate, 1/s", "sustained in runs", *SHOWN)
    print_table(f"{next(iter(points.values())).experiment.name}, by rate", columns, rows)
