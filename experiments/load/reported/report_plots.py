"""The plots of a report, as data: the page draws them, and an export does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from lowu.experiments.load.observed import BlockTimes, Sample, list_phase_times
from lowu.experiments.load.outcomes import (
    DONE,
    SHARES,
    Records,
    list_seconds,
    median_figures,
    percentile,
)
from lowu.experiments.load.reported.results import StoredPoint

CDF_POINTS = 200
RATE = "load.arrival.rate"


def medians_of(point: StoredPoint) -> dict[str, float]:
    """Return the median of each figure over the runs of a point."""
    return median_figures(run.figures for run in point.runs)


def _plot(
    title: str,
    x: str,
    y: str,
    data: list[list[float | None]],
    series: list[str],
    **more: Any,
) -> dict[str, Any]:
    plain = [
        [None if value is None or math.isnan(value) else round(value, 3) for value in row]
        for row in data
    ]
    return {
        "title": title, "x": x, "y": y, "data": plain, "series": series,
        "bands": [], "dots": False, "dashed": [], "log_x": False, **more,
    }  # fmt: skip


def plots_of(point: StoredPoint) -> dict[str, dict[str, Any]]:
    """Return the plots of one point by name: of its first run over time, the latencies of all."""
    run = point.runs[0]
    records, load = run.read_records(), point.experiment.load
    seconds = list_seconds(records, load.deadline_s)
    times: list[float | None] = [float(item.at_s) for item in seconds]
    bands = [[item["begins_s"], item["ends_s"], item["kind"]] for item in run.told["faults"]]
    blocks = sorted((item for item in run.read_blocks() if item[1] >= 0), key=lambda item: item[1])
    found = {
        "throughput": _plot(
            "Throughput, first run", "s", "per second",
            [times, [float(i.due) for i in seconds], [float(i.done) for i in seconds]],
            ["due", "done"], bands=bands, dashed=[0],
        ),
        "latency": _plot(
            "Latency of what was due, first run", "s", "ms",
            [times, [i.p50_ms for i in seconds], [i.p99_ms for i in seconds]],
            ["p50", "p99"], bands=bands,
        ),
        "distribution": _plot_cdf(point),
        "blocks": _plot(
            "Block size, first run", "s", "transactions",
            [[item[1] for item in blocks], [float(item[2]) for item in blocks]],
            ["in a block"], bands=bands,
        ),
        "phases": _plot_phases(run.read_phases(), bands),
        **_plot_processes(run.read_samples(), bands),
    }  # fmt: skip
    return {name: plot for name, plot in found.items() if plot["series"]}


def _plot_phases(phases: Sequence[BlockTimes], bands: list[Any]) -> dict[str, Any]:
    """Return how long blocks took to each phase from the one before: medians by second."""
    by_second: dict[int, list[BlockTimes]] = {}
    for item in phases:
        if item.passed_s[0] is not None:
            by_second.setdefault(int(item.passed_s[0]), []).append(item)
    times = sorted(by_second)
    medians = [
        {
            name: median(found) * 1_000 if found else None
            for name, found in list_phase_times(by_second[at_s]).items()
        }
        for at_s in times
    ]
    names = list(medians[0]) if medians else []
    return _plot(
        "Phases of a block, medians, first run", "s", "ms from the phase before",
        [[float(at_s) for at_s in times], *([item[name] for item in medians] for name in names)],
        names, bands=bands,
    )  # fmt: skip


def _plot_processes(samples: Sequence[Sample], bands: list[Any]) -> dict[str, dict[str, Any]]:
    """Return the cores that each process used, and its memory, over time."""
    names = list(dict.fromkeys(item.process for item in samples))
    cores: dict[str, dict[float, float | None]] = {name: {} for name in names}
    memory: dict[str, dict[float, float | None]] = {name: {} for name in names}
    last: dict[str, Sample] = {}
    for item in samples:
        at_s = round(item.at_s)
        before = last.get(item.process)
        if before is not None and item.cpu_s >= before.cpu_s and item.at_s > before.at_s:
            cores[item.process][at_s] = (item.cpu_s - before.cpu_s) / (item.at_s - before.at_s)
        memory[item.process][at_s] = item.memory_bytes / 2**20 or None
        last[item.process] = item
    times = sorted({at_s for found in memory.values() for at_s in found})

    def draw(title: str, y: str, values: dict[str, dict[float, float | None]]) -> dict[str, Any]:
        shown = [name for name in names if any(values[name].values())]
        rows = [[values[name].get(at_s) for at_s in times] for name in shown]
        return _plot(title, "s", y, [list(times), *rows], shown, bands=bands)

    return {
        "cpu": draw("CPU by process, first run", "cores", cores),
        "memory": draw("Memory by process, first run", "MiB", memory),
    }


def list_latencies_ms(records: Records, warm_up_s: float) -> list[float]:
    """Return the latencies of what was committed or answered, in order; the rest has none."""
    return sorted(
        (records.ended_s[row] - records.due_s[row]) * 1_000
        for row in range(len(records))
        if records.due_s[row] >= warm_up_s and records.outcome[row] in DONE
    )


def _plot_cdf(point: StoredPoint) -> dict[str, Any]:
    """Return how many per cent of all that was due were done within a time, in all runs."""
    warm_up_s = point.experiment.load.warm_up_s
    latencies: list[float] = []
    due = 0
    for run in point.runs:
        records = run.read_records()
        latencies += list_latencies_ms(records, warm_up_s)
        due += sum(item >= warm_up_s for item in records.due_s)
    latencies.sort()
    steps = [number / CDF_POINTS for number in range(1, CDF_POINTS + 1)]
    shares = sorted({*steps, *SHARES.values()})
    x: list[float | None] = [max(0.1, percentile(latencies, share)) for share in shares]
    done = len(latencies) / due if due else 0.0
    y: list[float | None] = [share * done * 100 for share in shares]
    if not latencies:
        x, y = [], []
    return _plot(
        "Latency of all that was due, all runs", "ms", "per cent done", [x, y], ["within"],
        log_x=True,
    )  # fmt: skip


def plot_sweep(points: Sequence[StoredPoint]) -> dict[str, Any]:
    """Return latency along the axis of a sweep; against throughput if that is no single number."""
    axes = list(points[0].experiment.point)
    values = [point.experiment.point.get(axes[0]) if axes else None for point in points]
    is_plain = len(axes) == 1 and all(type(value) in (int, float) for value in values)
    if is_plain and axes[0] != RATE:
        title, x = "Latency along the sweep", axes[0]
    else:
        title, x = "Latency against throughput", "transactions per second"
        values = [medians_of(point).get("throughput_per_s") for point in points]
    rows = sorted(
        (float(value), figures.get("p50_ms"), figures.get("p99_ms"))
        for value, figures in zip(values, map(medians_of, points), strict=True)
        if value is not None
    )
    return _plot(
        title, x, "ms",
        [[row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]],
        ["p50", "p99"], dots=True,
    )  # fmt: skip
