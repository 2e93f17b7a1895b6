"""``lowu bench latency``: how long one registration takes, on a quiet network and on a busy one.

Each registration is timed from the moment it was due to its receipt, which a node gives once the
block is durable there. All that were sent count; what failed is told beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import trio

from experiments.load import Timed, build_network, offer, offer_one_by_one, offer_steadily
from lowu.bench import describe_machine, print_machine
from lowu.bench_network import Running, Shares, plan_load, running_network, sign_for
from lowu.cli import emit_json
from lowu.output import Progress, print_table
from lowu.plots import check_plot, draw_lines

WARM_UP = 40
SATURATING = 6_000
"""Registrations by which the highest rate is found."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]


def run_latency(
    nodes: int, idle_count: int, busy_s: float, plot: Path | None, *, is_json: bool
) -> None:
    """Measure, and print."""
    progress = Progress(is_silent=is_json)
    check_plot(plot)
    plan = plan_load(nodes)
    busy_max = int(busy_s * 5_000)
    progress("signing registrations")
    issuers = sign_for(plan, WARM_UP + idle_count + SATURATING + busy_max)
    work = Shares(issuers)
    with running_network(build_network(nodes)) as network:
        trio.run(offer_one_by_one, work.take(WARM_UP), network.urls)
        idle = trio.run(offer_one_by_one, work.take(idle_count), network.urls)
        progress(f"one at a time: {_brief(idle)}")
        rate_per_s = _saturate(network, work)
        progress(f"saturated at {rate_per_s:.0f} a second")
        chosen = work.take(min(busy_max, int(rate_per_s / 2 * busy_s)))
        busy = trio.run(partial(offer_steadily, rate_per_s=rate_per_s / 2), chosen, network.urls)
        progress(f"at half of that: {_brief(busy)}")
    _report(nodes, idle, busy, rate_per_s, is_json=is_json)
    if plot is not None:
        series = {"one at a time": _curve(idle), "at half of saturation": _curve(busy)}
        draw_lines(plot, series, "percentile", "milliseconds to the receipt")
        progress(f"plot in {plot}")


def _saturate(network: Running, work: Shares) -> float:
    offered = trio.run(offer, work.take(SATURATING), network.urls)
    return offered.count / offered.commit_s


def _brief(timed: Timed) -> str:
    if not timed.latencies_ms:
        return f"all failed, first with: {timed.failures[0]}"
    p50, p99 = (percentile(timed.latencies_ms, share) for share in (50, 99))
    failed = f", {len(timed.failures)} failed" if timed.failures else ""
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(timed.latencies_ms)}{failed}"


def _curve(timed: Timed) -> list[tuple[float, float]]:
    shares = [float(share) for share in range(1, 100)] + [99.9]
    return [(share, percentile(timed.latencies_ms, share)) for share in shares]


def _report(nodes: int, idle: Timed, busy: Timed, rate_per_s: float, *, is_json: bool) -> None:
    is_ok = not idle.failures and not busy.failures
    figures: dict[str, float] = {"nodes": nodes, "saturation_per_second": round(rate_per_s, 1)}
    rows = []
    for name, timed in (("idle", idle), ("half_load", busy)):
        figures[f"{name}_count"] = len(timed.latencies_ms)
        figures[f"{name}_failures"] = len(timed.failures)
        for share in PERCENTILES if timed.latencies_ms else ():
            key = f"{name}_p{share:g}_ms"
            figures[key] = round(percentile(timed.latencies_ms, share), 2)
        shown = [figures.get(f"{name}_p{share:g}_ms", "–") for share in PERCENTILES]
        counts = (len(timed.latencies_ms), len(timed.failures))
        rows.append((name.replace("_", " "), *counts, *shown))
    if is_json:
        failures = (idle.failures + busy.failures)[:20]
        emit_json(is_ok, figures, machine=describe_machine(), failures=failures)
    else:
        columns = ("load", "done", "failed", *(f"p{share:g} ms" for share in PERCENTILES))
        print_table(f"from due to the receipt, {nodes} nodes", columns, rows)
        print_machine(describe_machine())
    if not is_ok:
        raise click.exceptions.Exit(1)
