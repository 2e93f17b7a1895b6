"""Results of one experiment over many days or commits: its figures, and where they changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.contracts.named import tell_unknown
from lowu.experiments.load.outcomes import median_figures
from lowu.experiments.load.planned.experiment_file import FIGURES
from lowu.experiments.load.reported.history import ChangePoint, find_changes
from lowu.experiments.load.reported.results import ResultsError, StoredPoint, read_results
from lowu.node.errors import ConfigError
from lowu.output import print_table

DEPTH_MAX = 4
"""How deep in folders results are looked for."""
RESULTS_MIN = 10
"""Fewer cannot show a change at the p-value of 0.01: there are too few orders of them."""
MOST_SHOWN = 12
"""How many characters of a commit are shown."""


LONGEST = 200
"""Results of a series that are looked at: the time for it grows with their square and more."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One point of one result."""

    folder: str
    begun: str
    """When it was run; empty in virtual time, where the day does not matter."""
    commit: str
    file: str
    """The hash of the experiment's file."""
    figures: dict[str, float]


def tell_history(
    folders: Sequence[Path], figures: Sequence[str], threshold: float, *, is_json: bool
) -> None:
    """Print the changes of figures over all results in some folders.

    Raises:
        click.UsageError: there are no results, or no such figure.
    """
    for figure in figures:
        if figure not in FIGURES:
            raise click.UsageError(tell_unknown("figure", figure, FIGURES))
    series: dict[tuple[str, str], list[_Entry]] = {}
    for folder in sorted({place for top in folders for place in _find_results(top, DEPTH_MAX)}):
        for name, point, entry in _read_entries(folder):
            series.setdefault((name, point), []).append(entry)
    if not series:
        where = ", ".join(map(str, folders))
        raise click.UsageError(f"{where}: no results of experiments here, or {DEPTH_MAX} deep")
    found = [
        (name, point, figure, entries, find_changes(values, threshold=threshold))
        for (name, point), all_entries in series.items()
        for figure in figures
        for entries, values in [_pick(all_entries, figure)]
        if values
    ]
    if is_json:
        told = [
            {
                "experiment": name,
                "point": point,
                "figure": figure,
                "values": [entry.figures[figure] for entry in entries],
                "results": [entry.folder for entry in entries],
                "changes": [
                    {**asdict(change), "at": entries[change.place].folder} for change in changes
                ],
            }
            for name, point, figure, entries, changes in found
        ]
        emit_json(True, {"changes": sum(len(item[-1]) for item in found)}, series=told)
        return
    _print(found)


def _print(
    found: Sequence[tuple[str, str, str, list[_Entry], list[ChangePoint]]],
) -> None:
    rows = []
    for name, point, figure, entries, changes in found:
        where = f"{name}, {point}" if point else name
        for change in changes:
            entry = entries[change.place]
            share = (change.after / change.before - 1) * 100 if change.before else math.inf
            rows.append(
                (
                    where,
                    figure,
                    f"{change.before:,.1f}",
                    f"{change.after:,.1f}",
                    f"{share:+.0f} %",
                    entry.folder,
                    entry.commit[:MOST_SHOWN] or "-",
                    f"{change.share:.3f}",
                )
            )
    columns = ("experiment", "figure", "before", "after", "change", "since", "commit", "p")
    if rows:
        print_table("Changes", columns, rows)
    for name, point in dict.fromkeys((item[0], item[1]) for item in found):
        counts = {len(item[3]) for item in found if (item[0], item[1]) == (name, point)}
        where = f"{name}, {point}" if point else name
        few = (
            f"; a change needs {RESULTS_MIN} at least to show" if max(counts) < RESULTS_MIN else ""
        )
        count = f"{max(counts)} result{'s' if max(counts) > 1 else ''}"
        click.echo(f"{where}: {count}{few}")
        files = {entry.file for item in found if item[:2] == (name, point) for entry in item[3]}
        if len(files) > 1:
            click.echo(f"note: their files differ, in {len(files)} ways")
    if not rows:
        click.echo("no change shown")


def _find_results(top: Path, depth: int) -> Iterator[Path]:
    if (top / "manifest.json").is_file():
        yield top
    elif depth and top.is_dir():
        for folder in sorted(top.iterdir()):
            if folder.is_dir() and not folder.is_symlink():
                yield from _find_results(folder, depth - 1)


def _read_entries(folder: Path) -> Iterator[tuple[str, str, _Entry]]:
    """Yield the points of a result that has valid runs, each with its experiment."""
    try:
        results = read_results(folder)
    except (ResultsError, ConfigError) as error:
        click.echo(f"left out: {error}", err=True)
        return
    manifest = results.manifest
    for point in results.points:
        runs = _valid_figures(point)
        if runs:
            is_local = results.provider == "local"
            name = results.name if is_local else f"{results.name} ({results.provider})"
            entry = _Entry(
                str(folder),
                str(manifest.get("begun", "")),
                str(manifest.get("commit") or ""),
                str(manifest.get("file_sha256", "")),
                median_figures(runs),
            )
            yield name, point.name, entry


def _valid_figures(point: StoredPoint) -> list[dict[str, float]]:
    return [run.figures for run in point.runs if run.is_valid]


def _pick(entries: Sequence[_Entry], figure: str) -> tuple[list[_Entry], list[float]]:
    """Return the newest entries that have a figure, in order of time, and its values."""
    chosen = [entry for entry in entries if _is_finite(entry.figures.get(figure))]
    chosen.sort(key=lambda entry: (entry.begun, entry.folder))
    chosen = chosen[-LONGEST:]
    return chosen, [entry.figures[figure] for entry in chosen]


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
