"""``lowu bench scale``: what more replicas cost, by part.

Every network gets the same load in blocks of the same size, so that what grows is what the number
of replicas makes grow. All processes share this machine: throughput falls as they are added, the
CPU time of one replica for one registration need not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import trio

from experiments.load import build_network, offer, offer_one_by_one
from lowu.bench import describe_machine, print_machine
from lowu.bench_latency import percentile
from lowu.bench_network import Running, Shares, plan_load, running_network, sign_for
from lowu.campaign import parse_sizes
from lowu.cli import emit_json
from lowu.output import Progress, print_table
from lowu.plots import check_plot, draw_lines
from node.client import RpcClient
from node.metrics import Part

IDLE_REGISTRATIONS = 60
REST = "rest"
"""Wire, HTTP and the event loop: what is in no other part."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network."""

    nodes: int
    per_second: float
    idle_p50_ms: float
    block_size: float
    """Registrations a block, on average."""
    cpu_us: dict[str, float]
    """CPU a registration of the median replica, by part and as a whole (`process`)."""


def run_scale(
    sizes_text: str, count: int, block_size: int, plot: Path | None, *, is_json: bool
) -> None:
    """Measure, and print."""
    progress = Progress(is_silent=is_json)
    check_plot(plot)
    found = []
    for nodes in parse_sizes(sizes_text):
        found.append(_measure(nodes, count, block_size))
        last = found[-1]
        progress(
            f"{nodes} nodes: {last.per_second:.0f} a second, {last.cpu_us['process']:.0f} µs of "
            f"CPU a registration on each"
        )
    _report(found, count, is_json=is_json)
    if plot is not None:
        series = {
            part: [(float(item.nodes), item.cpu_us[part]) for item in found]
            for part in (*Part, REST, "process")
        }
        draw_lines(plot, series, "replicas", "µs of CPU a registration on each")
        progress(f"plot in {plot}")


def _measure(nodes: int, count: int, block_size: int) -> Measured:
    plan = plan_load(nodes)
    work = Shares(sign_for(plan, IDLE_REGISTRATIONS + count, issuers=4))
    text = build_network(nodes, block_tx_count_limit=block_size)
    with running_network(text) as network:
        idle = trio.run(offer_one_by_one, work.take(IDLE_REGISTRATIONS), network.urls)
        before, height = _read(network)
        offered = trio.run(
            partial(offer, in_flight_max=4 * block_size), work.take(count), network.urls
        )
        after, top = _read(network)
    costs = [
        {part: (now[part] - then[part]) / offered.count * 1e6 for part in now}
        for now, then in zip(after, before, strict=True)
    ]
    cpu_us = {part: median(cost[part] for cost in costs) for part in costs[0]}
    cpu_us[REST] = cpu_us["process"] - sum(cpu_us[part] for part in Part)
    return Measured(
        nodes,
        offered.count / offered.commit_s,
        percentile(idle.latencies_ms, 50),
        offered.count / max(1, top - height),
        cpu_us,
    )


def _read(network: Running) -> tuple[list[dict[str, float]], int]:
    """Return every node's CPU times, and the height."""

    async def ask() -> tuple[list[dict[str, float]], int]:
        times = []
        for url in network.urls:
            async with RpcClient(url) as client:
                times.append(await client.call("getCpuTimes"))
                height = int(await client.call("eth_blockNumber"), 16)
        return times, height

    return trio.run(ask)


def _report(found: Sequence[Measured], count: int, *, is_json: bool) -> None:
    parts = (*Part, REST)
    first, last = found[0], found[-1]
    growth = last.cpu_us["process"] / first.cpu_us["process"] - 1
    figures: dict[str, float] = {"registrations": count, "cpu_growth": round(growth, 3)}
    for item in found:
        figures[f"per_second_{item.nodes}"] = round(item.per_second, 1)
        figures[f"idle_p50_ms_{item.nodes}"] = round(item.idle_p50_ms, 1)
        figures[f"cpu_us_{item.nodes}"] = round(item.cpu_us["process"], 1)
    if is_json:
        networks: list[dict[str, Any]] = [
            {
                "nodes": item.nodes,
                "block_size": round(item.block_size, 1),
                "cpu_us": {name: round(value, 1) for name, value in item.cpu_us.items()},
            }
            for item in found
        ]
        emit_json(True, figures, machine=describe_machine(), networks=networks)
        return
    columns = ("nodes", "a second", "idle p50 ms", "in a block", "CPU µs", *parts)
    rows = [
        (
            item.nodes,
            f"{item.per_second:.0f}",
            f"{item.idle_p50_ms:.0f}",
            f"{item.block_size:.0f}",
            f"{item.cpu_us['process']:.0f}",
            *(f"{item.cpu_us[part]:.0f}" for part in parts),
        )
        for item in found
    ]
    title = f"{count} registrations; CPU µs a registration on the median replica"
    print_table(title, columns, rows)
    print_machine(describe_machine())
