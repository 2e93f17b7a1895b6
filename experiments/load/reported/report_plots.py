"""The plots of a report, as data: the page draws them, and an export does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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


def plots_of(point: StoredPoint) -> list[dict[str, Any]]:
    """Return the plots of one point: over time of its first run, and the latencies of all."""
    run = point.runs[0]
    records, load = run.read_records(), point.experiment.load
    seconds = list_seconds(records, load.deadline_s)
    times: list[float | None] = [float(item.at_s) for item in seconds]
    bands = [[item["begins_s"], item["ends_s"], item["kind"]] for item in run.told["faults"]]
    blocks = sorted((item for item in run.read_blocks() if item[1] >= 0), key=lambda item: item[1])
    return [
        _plot(
            "Throughput, first run", "s", "per second",
            [times, [float(i.due) for i in seconds], [float(i.done) for i in seconds]],
            ["due", "done"], bands=bands, dashed=[0],
        ),
        _plot(
            "Latency of what was due, first run", "s", "ms",
            [times, [i.p50_ms for i in seconds], [i.p99_ms for i in seconds]],
            ["p50", "p99"], bands=bands,
        ),
        _plot_cdf(point),
        _plot(
            "Block size, first run", "s", "transactions",
            [[item[1] for item in blocks], [float(item[2]) for item in blocks]],
            ["in a block"], bands=bands,
        ),
    ]  # fmt: skip


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
