"""Results of an experiment for other programs: histograms, tables, plots and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lowu.experiments.load.outcomes import Ending
from lowu.experiments.load.reported.exports import render_hgrm, render_latex
from lowu.experiments.load.reported.report_page import render_summary
from lowu.experiments.load.reported.report_plots import list_latencies_ms, plot_sweep, plots_of
from lowu.experiments.load.reported.results import (
    StoredResults,
    StoredRun,
    read_results,
    reading,
)
from lowu.measuring.plots import draw_plot
from lowu.node.errors import ConfigError

FORMS = ("hgrm", "latex", "summary", "svg", "pdf", "parquet")


def export_results(folder: Path, out: Path, forms: tuple[str, ...]) -> list[Path]:
    """Write results in other forms to a new folder; return the files.

    Raises:
        ConfigError: a form needs a library that is not there.
    """
    results = read_results(folder)
    if "parquet" in forms:
        _load_parquet()
    try:
        out.mkdir(parents=True)
    except FileExistsError as error:
        raise click.UsageError(f"{out} is there already; name a new folder with --out") from error
    except OSError as error:
        raise click.UsageError(f"{out}: cannot be made ({error.strerror})") from error
    with reading(folder):
        return _export(results, out, forms)


def _export(results: StoredResults, out: Path, forms: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for form in forms:
        if form == "latex":
            found.append(_write(out / "table.tex", render_latex(results)))
        elif form == "summary":
            found.append(_write(out / "SUMMARY.txt", render_summary(results) + "\n"))
        elif form in ("svg", "pdf"):
            found += _draw(results, out, form)
        else:
            for name, run, warm_up_s in _runs(results):
                if form == "hgrm":
                    latencies_ms = list_latencies_ms(run.read_records(), warm_up_s)
                    found.append(_write(out / f"{name}.hgrm", render_hgrm(latencies_ms)))
                else:
                    found.append(_write_parquet(out / f"{name}.parquet", run))
    return found


def _runs(results: StoredResults) -> Iterator[tuple[str, StoredRun, float]]:
    for point in results.points:
        for run in point.runs:
            yield run.folder.name, run, point.experiment.load.warm_up_s


def _write(path: Path, text: str) -> Path:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _draw(results: StoredResults, out: Path, form: str) -> Iterator[Path]:
    if len(results.points) > 1:
        yield draw_plot(out / f"sweep.{form}", plot_sweep(results.points))
    for place, point in enumerate(results.points, start=1):
        if point.runs:
            for name, plot in plots_of(point).items():
                yield draw_plot(out / f"{place:03d}-{name}.{form}", plot)


def _load_parquet() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("parquet needs pyarrow: `pip install 'lowu[analysis]'`") from error
    return pa


def _write_parquet(path: Path, run: StoredRun) -> Path:
    pa, records = _load_parquet(), run.read_records()
    table = pa.table(
        {
            "due_s": pa.array(records.due_s, pa.float64()),
            "sent_s": pa.array(records.sent_s, pa.float64()),
            "ended_s": pa.array(records.ended_s, pa.float64()),
            "outcome": pa.array([Ending(item).name for item in records.outcome]),
            "height": pa.array([item or None for item in records.height], pa.int64()),
            "workload": pa.array([records.names[item] for item in records.kind]),
        }
    )
    try:
        pa.parquet.write_table(table, path)
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror})") from error
    return path
