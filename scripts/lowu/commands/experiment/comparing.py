"""Two results of one experiment, held against each other."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.experiments.load.reported.comparison import COMPARED, FigureComparison, compare_figures
from lowu.experiments.load.reported.results import StoredPoint, read_results, reading
from lowu.output import print_table


def compare_results(first: Path, second: Path, threshold: float, *, is_json: bool) -> None:
    """Compare the points that both results have; print a verdict for each figure."""
    one, two = read_results(first), read_results(second)
    others = {point.name: point for point in two.points}
    pairs = [(point, others[point.name]) for point in one.points if point.name in others]
    if not pairs:
        raise click.UsageError(f"{first} and {second} have no point of a sweep in common")
    with reading(second):
        found = [(point.name, _compare(point, other, threshold)) for point, other in pairs]
    changed = sum(item.verdict in ("better", "worse") for _, figures in found for item in figures)
    if is_json:
        points = [
            {"point": name, "figures": {item.figure: _plain(item) for item in figures}}
            for name, figures in found
        ]
        emit_json(True, {"points": len(found), "changed": changed}, comparisons=points)
        return
    rows = [
        (
            name or "-",
            item.figure,
            _tell(item.first),
            _tell(item.second),
            _tell_ratio(item),
            item.verdict,
        )
        for name, figures in found
        for item in figures
    ]
    columns = ("point", "figure", "first", "second", "ratio (95 %)", "verdict")
    print_table(f"{two.name}: {second} against {first}", columns, rows)
    if not rows:
        click.echo("nothing to compare: no run of either is valid and was finished")
    elif any(item.verdict == "too few runs" for _, figures in found for item in figures):
        click.echo("a verdict needs three valid runs on each side (`repetitions` of the file)")
    if one.text != two.text:
        click.echo("note: the experiments' files differ")
    providers = [item.provider for item in (one, two)]
    if providers[0] != providers[1]:
        click.echo(f"note: one is of {providers[0]}, the other of {providers[1]}")


def _compare(first: StoredPoint, second: StoredPoint, threshold: float) -> list[FigureComparison]:
    found = []
    for figure in COMPARED:
        values = [
            [run.figures[figure] for run in point.runs if run.is_valid and figure in run.figures]
            for point in (first, second)
        ]
        if any(values):
            found.append(compare_figures(figure, *values, threshold=threshold))
    return found


def _plain(item: FigureComparison) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(item).items()
    }


def _tell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.1f}"


def _tell_ratio(item: FigureComparison) -> str:
    if math.isnan(item.low):
        return f"{item.ratio:.3f}"
    return f"{item.ratio:.3f} ({item.low:.3f} to {item.high:.3f})"
