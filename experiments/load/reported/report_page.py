"""The report on an experiment: one HTML file that asks for nothing else, written from its results.

Its plots are drawn by uPlot (MIT), which is copied into the file.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from statistics import median
from typing import Any

from lowu.experiments.load.observed import PHASES
from lowu.experiments.load.offered.mix import tell_shares
from lowu.experiments.load.outcomes import median_figures
from lowu.experiments.load.planned.arrivals import Arrivals
from lowu.experiments.load.planned.fault_tables import tell_end
from lowu.experiments.load.reported.report_plots import medians_of, plot_sweep, plots_of
from lowu.experiments.load.reported.results import (
    StoredPoint,
    StoredResults,
    StoredRun,
    reading,
)

FIGURES = (
    ("scheduled", "due", 0), ("sent", "sent", 0), ("committed", "committed", 0),
    ("answered", "answered", 0), ("failed", "failed", 0), ("refused", "refused", 0),
    ("timed_out", "timed out", 0),
    ("throughput_per_s", "throughput, 1/s", 1), ("p50_ms", "p50, ms", 0), ("p90_ms", "p90, ms", 0),
    ("p99_ms", "p99, ms", 0), ("p999_ms", "p99.9, ms", 0), ("max_ms", "max, ms", 0),
    ("generator_lag_ms_max", "generator's lag, ms", 0), ("view_changes", "view changes", 0),
)  # fmt: skip
_OF_EACH = (
    "scheduled", "committed", "answered", "failed", "refused", "timed_out", "throughput_per_s",
    "p50_ms", "p90_ms", "p99_ms", "max_ms",
)  # fmt: skip
"""The figures that are told of each workload of a mix."""
_IF_ANY = ("answered", "failed", "refused", "timed_out", "view_changes")
"""Figures that are told only where one of them is not 0."""
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:68em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:right}
td:first-child,th:first-child{text-align:left}
pre{background:#f6f6f6;padding:1em;overflow:auto}
.bad{background:#fde2e2;border-left:4px solid #b00;padding:.6em 1em}
.good{background:#e4f5e4;border-left:4px solid #080;padding:.6em 1em}
.plots{display:flex;flex-wrap:wrap;gap:1em}
.u-title{font-size:15px}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#222}
td,th{border-color:#444}.bad{background:#402}.good{background:#042}
.u-wrap,.plots>div{background:#eee;color:#222}}
"""
_SCRIPT = """
for (const plot of JSON.parse(document.getElementById("plots").textContent)) {
  const bands = u => {
    for (const [from, to, name] of plot.bands) {
      const a = u.valToPos(from, "x", true), b = u.valToPos(to, "x", true);
      u.ctx.fillStyle = "rgba(200,60,60,.13)";
      u.ctx.fillRect(a, u.bbox.top, Math.max(2, b - a), u.bbox.height);
      u.ctx.fillStyle = "#a33";
      u.ctx.textAlign = "left";
      u.ctx.fillText(name, a + 4, u.bbox.top + 14);
    }
  };
  const colours = ["#1668b8", "#c2570c", "#2d8a3e", "#8a3ca0", "#777"];
  new uPlot({
    title: plot.title, width: 480, height: 280,
    scales: {
      x: {time: false, distr: plot.log_x ? 3 : 1},
      y: {range: (u, low, high) => [0, high * 1.05 || 1]},
    },
    axes: [{label: plot.x}, {label: plot.y, size: 64}],
    hooks: {drawClear: [bands]},
    series: [{label: plot.x}, ...plot.series.map((label, i) => ({
      label, stroke: colours[i % colours.length], width: 1.5, spanGaps: false,
      points: {show: plot.dots}, dash: plot.dashed.includes(i) ? [5, 4] : undefined,
    }))],
  }, plot.data, document.getElementById(plot.id));
}
"""


def render_report(results: StoredResults) -> str:
    """Return the report as a page of HTML.

    Raises:
        ResultsError: the results are damaged.
    """
    with reading(results.folder):
        return _render(results)


def _render(results: StoredResults) -> str:
    assets = resources.files("lowu.experiments.load.reported").joinpath("assets")
    library = assets.joinpath("uPlot.min.js").read_text(encoding="utf-8")
    style = assets.joinpath("uPlot.min.css").read_text(encoding="utf-8")
    plots: list[dict[str, Any]] = []
    body = [
        f"<h1>{_escape(results.name)}</h1>",
        _tell_provider(results.manifest),
        _tell_verdict(results),
        _tell_table(results),
    ]
    body.append(f"<pre>{_escape(render_summary(results))}</pre>")
    if len(results.points) > 1:
        body.append(_add(plots, plot_sweep(results.points)))
    for point in results.points:
        if not point.runs:
            continue
        if point.name:
            body.append(f"<h2>{_escape(point.name)}</h2>")
        body.append(_tell_workloads(point))
        body.append(_tell_faults(point))
        body.append('<div class="plots">')
        body += [_add(plots, plot) for plot in plots_of(point).values()]
        body.append("</div>")
        body.append(_tell_phases(point))
        body.append(_tell_cpu(point.runs[0]))
    body.append(_tell_manifest(results.manifest))
    data = json.dumps(plots, allow_nan=False).replace("<", "\\u003c")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_escape(results.name)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{style}{_STYLE}</style>"
        f"{''.join(body)}<script id=plots type=application/json>{data}</script>"
        f"<script>{library}</script><script>{_SCRIPT}</script></html>\n"
    )


def _escape(text: object) -> str:
    return html.escape(str(text))


def _add(plots: list[dict[str, Any]], plot: dict[str, Any]) -> str:
    """Add a plot's data to those of the page; return the place where it is drawn."""
    plot["id"] = f"plot{len(plots)}"
    plots.append(plot)
    return f"<div id={plot['id']}></div>"


# --- text ---------------------------------------------------------------------------------------


def render_summary(results: StoredResults) -> str:
    """Return a block of text as the field's papers print it, for the first point of a sweep."""
    point = results.points[0]
    load, figures = point.experiment.load, medians_of(point)
    faults = ", ".join(
        f"{item.kind} {' '.join(item.targets)} at "
        + (f"height {item.at_height}" if item.at_height else f"{item.at_s:g} s")
        for item in point.experiment.faults
    )
    links = ", ".join(
        f"{'-'.join(map(tell_end, item.between))} {item.shape.delay_s * 1_000:g} ms"
        + (f", {item.shape.loss:.1%} lost" if item.shape.loss else "")
        + (", a trace" if item.shape.trace else "")
        for item in point.experiment.links
    )
    if point.experiment.random_faults is not None:
        drawn = point.experiment.random_faults
        told = f"random ({', '.join(drawn.kinds)}), every {drawn.every_s:g} s for {drawn.for_s:g} s"
        faults = f"{faults}, {told}" if faults else told
    rows = [
        "-----------------------------------------",
        " SUMMARY:",
        "-----------------------------------------",
        " + CONFIG:",
        f" Network: {point.experiment.network}",
        f" Workload: {tell_shares(load.workload)}; {_tell_arrivals(load.arrivals)}",
        f" Links: {links or 'as they are'}",
        f" Faults: {faults or 'none'}",
        f" Warm-up: {load.warm_up_s:g} s",
        f" Duration: {load.duration_s:g} s",
        f" Deadline: {load.deadline_s:g} s",
        f" Runs: {len(point.runs)} (figures are medians)",
        *_tell_sweep(results),
        "",
        " + RESULTS:",
    ]
    rows += [
        f" {label}: {_tell(figures[name], digits)}{_tell_least(point.runs, name)}"
        for name, label, digits in FIGURES
        if name in figures
    ]
    return "\n".join([*rows, "-----------------------------------------"])


def _tell_arrivals(arrivals: Arrivals) -> str:
    if not arrivals.is_open:
        return f"closed, {arrivals.clients} clients"
    if arrivals.kind == "replay":
        return "replay"
    to = f" to {arrivals.to_rate:g}" if arrivals.kind == "ramp" else ""
    return f"{arrivals.kind}, {arrivals.rate:g}{to} per second"


def _tell_sweep(results: StoredResults) -> list[str]:
    if len(results.points) == 1:
        return []
    return [f" Point: {results.points[0].name}; the first of {len(results.points)} of a sweep"]


def _tell(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _tell_least(runs: Iterable[StoredRun], name: str) -> str:
    is_least = any(name in run.told["at_least"] for run in runs)
    return " or more" if is_least else ""


def _tell_provider(manifest: Mapping[str, Any]) -> str:
    """Say what the experiment ran on, if it was not a network of processes."""
    match manifest.get("provider"):
        case {"name": "sim", "costs": {"machine": machine}}:
            told = _escape(machine) or "some machine"
            return f"<p>In <b>virtual time</b>, with the costs of work on {told}.</p>"
        case {"name": "target", "urls": urls}:
            return f"<p>On the system at {_escape(urls)}.</p>"
    return ""


def _tell_verdict(results: StoredResults) -> str:
    flaws = [
        f"{point.name} run {number}: {flaw}".strip()
        for point in results.points
        for number, run in enumerate(point.runs, start=1)
        for flaw in run.told["flaws"]
    ]
    missing = sum(point.experiment.repetitions - len(point.runs) for point in results.points)
    saturation = results.manifest.get("saturation")
    if saturation is not None:
        return f"<p class=good>{_escape(saturation)}</p>"
    if missing > 0:
        flaws.append(f"{missing} runs are missing: the experiment was not finished")
    causes = [
        f"{point.name} run {number}: {cause}".strip()
        for point in results.points
        for number, run in enumerate(point.runs, start=1)
        if (cause := run.told.get("cause"))
    ]
    if not flaws and not causes:
        return "<p class=good>All runs are valid.</p>"
    return _tell_bad("INVALID", flaws) + _tell_bad("NOTHING DONE", causes)


def _tell_bad(head: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<div class=bad><b>{head}</b><br>{'<br>'.join(map(_escape, lines))}</div>"


def _tell_table(results: StoredResults) -> str:
    known = [medians_of(point) for point in results.points]
    shown = [
        item for item in FIGURES if item[0] not in _IF_ANY or any(f.get(item[0]) for f in known)
    ]
    heads = "".join(f"<th>{_escape(label)}" for _, label, _ in shown)
    rows = []
    for point, figures in zip(results.points, known, strict=True):
        cells = []
        for name, _, digits in shown:
            least = "≥ " if _tell_least(point.runs, name) else ""
            cells.append(f"{least}{_tell(figures[name], digits)}" if name in figures else "–")
        first = point.name or ("one run" if len(point.runs) == 1 else f"{len(point.runs)} runs")
        rows.append(f"<tr><td>{_escape(first)}<td>{'<td>'.join(cells)}")
    return (
        "<p>Latency counts from the time at which a transaction was due, over all that were due; "
        "medians of the runs.</p>"
        f"<div style='overflow:auto'><table><tr><th>point{heads}{''.join(rows)}</table></div>"
    )


def _tell_workloads(point: StoredPoint) -> str:
    """Return the figures of each workload, if there are several; of old results, none."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in point.runs:
        for name, told in run.told.get("workloads", {}).items():
            found.setdefault(name, []).append(told)
    shown = [item for item in FIGURES if item[0] in _OF_EACH]
    rows = []
    for name, runs in found.items():
        figures = median_figures(
            {key: value for key, value in told["figures"].items() if value is not None}
            for told in runs
        )
        bounded = {key for told in runs for key in told["at_least"]}
        cells = [
            f"{'≥ ' if key in bounded else ''}{_tell(figures[key], digits)}"
            if key in figures
            else "–"
            for key, _, digits in shown
        ]
        rows.append(f"<tr><td>{_escape(name)}<td>{'<td>'.join(cells)}")
    heads = "".join(f"<th>{_escape(label)}" for _, label, _ in shown)
    return f"<table><tr><th>workload{heads}{''.join(rows)}</table>" if rows else ""


def _tell_faults(point: StoredPoint) -> str:
    rows = []
    for number, run in enumerate(point.runs, start=1):
        for fault in run.told["faults"]:
            hangover = fault["hangover_s"]
            back = "not by the end" if hangover is None else f"{hangover:.0f} s"
            rows.append(
                f"<tr><td>{number}<td>{_escape(fault['kind'])} {_escape(' '.join(fault['nodes']))}"
                f"<td>{fault['begins_s']:.1f}<td>{fault['ends_s']:.1f}<td>{back}"
            )
    if not rows:
        return ""
    return (
        f"<table><tr><th>run<th>fault<th>from, s<th>to, s<th>p99 back after{''.join(rows)}</table>"
    )


def _tell_phases(point: StoredPoint) -> str:
    """Return how long blocks took from phase to phase: medians over the runs."""
    rows = []
    told = [run.told.get("phases_ms", {}) for run in point.runs]
    for name in [name for name in PHASES if any(name in item for item in told)]:
        cells = [
            f"{median(item[name][share] for item in told if name in item):,.1f}"
            for share in ("p50", "p99")
        ]
        rows.append(f"<tr><td>{_escape(name)}<td>{'<td>'.join(cells)}")
    return (
        f"<table><tr><th>a block, from the phase before<th>p50, ms<th>p99, ms{''.join(rows)}"
        "</table>"
        if rows
        else ""
    )


def _tell_cpu(run: StoredRun) -> str:
    parts_s = run.told.get("cpu_parts_s", {})
    parts = list(dict.fromkeys(part for found in parts_s.values() for part in found))
    rows, most = [], dict[str, int]()
    for item in run.read_samples():
        if item.memory_bytes:
            most[item.process] = max(most.get(item.process, 0), item.memory_bytes >> 20)
    for name, spent_s in run.told["cpu_s"].items():
        cells = [parts_s.get(name, {}).get(part, "") for part in parts]
        told = "".join(
            f"<td>{_escape(cell)}"
            for cell in (spent_s, *([most.get(name, "")] if most else []), *cells)
        )
        rows.append(f"<tr><td>{_escape(name)}{told}")
    heads = "".join(f"<th>{_escape(part)}" for part in parts)
    head = "<th>most memory, MiB" if most else ""
    heads = f"<th>process<th>CPU time, s{head}{heads}"
    return f"<p>The first run's processes.</p><table><tr>{heads}{''.join(rows)}</table>"


def _tell_manifest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    return f"<h2>To repeat it</h2><pre>{_escape(text)}</pre>"
