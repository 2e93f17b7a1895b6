"""``lowu bench latency``: how long one registration takes, on a quiet network and on a busy one.

Each registration is timed from the moment it was due until its receipt, which a node returns once
the block is durable there. All that were sent count; a failed one counts with the time limit.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import trio

from lowu.experiments.load.offering import (
    Timed,
    build_network,
    offer,
    offer_one_by_one,
    offer_steadily,
)
from lowu.measuring.bench_network import Shares, plan_load, running_network
from lowu.measuring.bench_report import BenchReport, percentile
from lowu.measuring.plots import Points
from lowu.output import Progress

WARM_UP = 40
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def run_latency(
    nodes: int,
    rounds: int,
    idle_count: int,
    busy_s: float,
    saturating: int,
    plot: Path | None,
    *,
    is_json: bool,
) -> None:
    """Measure and print; `saturating` registrations sent at once find the highest rate."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    found: dict[str, list[Timed]] = {"idle": [], "half_load": []}
    rates_per_s: list[float] = []
    for number in range(rounds):
        work = Shares(plan_load(nodes))
        with running_network(build_network(nodes)) as network:
            trio.run(offer_one_by_one, work.take(WARM_UP), network.urls)
            idle = trio.run(offer_one_by_one, work.take(idle_count), network.urls)
            progress(f"round {number + 1} of {rounds}, one at a time: {_brief(idle)}")
            offered = trio.run(offer, work.take(saturating), network.urls)
            rates_per_s.append(offered.count / offered.commit_s)
            half_per_s = rates_per_s[-1] / 2
            chosen = work.take(int(half_per_s * busy_s))
            send = partial(offer_steadily, rate_per_s=half_per_s)
            busy = trio.run(send, chosen, network.urls)
            progress(f"at {half_per_s:.0f} per second, half of saturation: {_brief(busy)}")
        found["idle"].append(idle)
        found["half_load"].append(busy)
    _report(report, nodes, found, rates_per_s)


def _brief(timed: Timed) -> str:
    p50, p99 = (percentile(timed.latencies_ms, share) for share in (50, 99))
    failed = f"; {len(timed.failures)} failed: {timed.failures[0]}" if timed.failures else ""
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, count {len(timed.latencies_ms)}{failed}"


def _report(
    report: BenchReport, nodes: int, found: dict[str, list[Timed]], rates_per_s: list[float]
) -> None:
    failures = [text for runs in found.values() for timed in runs for text in timed.failures]
    report.add("saturation_per_second", rates_per_s, 0)
    for name, runs in found.items():
        for share in PERCENTILES:
            values = [percentile(timed.latencies_ms, share) for timed in runs]
            report.add(f"{name}_p{share:g}_ms", values)
    figures: dict[str, float] = {"nodes": nodes, "failures": len(failures)}
    for name, runs in found.items():
        figures[f"{name}_count"] = sum(len(timed.latencies_ms) for timed in runs)
    title = (
        f"Time from due to receipt on {nodes} nodes, median and range of {len(rates_per_s)} rounds"
    )
    report.emit(title, is_ok=not failures, figures=figures, failures=failures[:20])
    series: dict[str, Points] = {}
    for name, runs in found.items():
        together = [value for timed in runs for value in timed.latencies_ms]
        shares = [float(share) for share in range(1, 100)] + [99.9]
        series[name.replace("_", " ")] = [(share, percentile(together, share)) for share in shares]
    report.draw(series, "percentile", "milliseconds to the receipt")
    if failures:
        raise click.exceptions.Exit(1)
