"""``lowu bench scale``: how costs grow with the number of replicas, by part.

Every network gets the same load, all of it through its first node, so that the others are followers
at every size. Voting costs CPU time per block, so blocks must have the same size in every network:
under load a leader waits until a block is full (`SEAL_MS`); otherwise it would seal smaller blocks
as throughput falls. All processes share this machine: throughput falls as nodes are added, but the
CPU time of one follower for one registration need not rise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import click
import trio

from lowu.commands.simulate.campaign import parse_sizes
from lowu.experiments.load.offering import build_network, offer, offer_one_by_one
from lowu.measuring.bench_network import Running, Shares, plan_load, running_network
from lowu.measuring.bench_report import BenchReport, Spread, percentile
from lowu.measuring.plots import Points
from lowu.node.client import RpcClient
from lowu.node.metrics import Part
from lowu.output import Progress

IDLE_REGISTRATIONS = 60
BATCH = 50
"""Registrations per request: the first node's work on HTTP must not keep blocks small."""
POLL_S = 0.25
"""Long, because a network five times slower is polled five times as often per registration."""
WARM_REGISTRATIONS = 800
"""Sent before the measured ones, while contracts are compiled."""
BLOCKS_IN_FLIGHT = 20
"""More than the pipeline holds, so that waiting registrations fill the blocks at every size."""
IN_FLIGHT_MAX = 4_000
"""Registrations; fewer than the pool and a sender's window of nonces hold."""
SEAL_MS = 1_500
"""`min_seal_time`: longer than a block takes to fill, shorter than a leader's time-out."""
ISSUERS = 4
NODES_MIN = 2
REST = "rest"
"""A follower's remaining CPU time: wire, event loop, the disk's threads, and all else."""


@dataclass(slots=True)
class ScaleMeasurement:
    """Measurements of one network size, round by round."""

    per_second: list[float] = field(default_factory=list)
    idle_p50_ms: list[float] = field(default_factory=list)
    block_size: list[float] = field(default_factory=list)
    """Registrations per block, on average."""
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    """CPU µs per registration of the median follower, by part and in total (`process`)."""


def run_scale(
    sizes_text: str, rounds: int, count: int, block_size: int, plot: Path | None, *, is_json: bool
) -> None:
    """Measure and print."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    sizes = sorted(set(parse_sizes(sizes_text)))
    if sizes[0] < NODES_MIN:
        raise click.UsageError(f"--nodes {sizes_text}: a follower needs at least {NODES_MIN} nodes")
    found = {nodes: ScaleMeasurement() for nodes in sizes}
    for number in range(rounds):
        for nodes in sizes:
            item = found[nodes]
            _measure(item, nodes, count, block_size)
            progress(
                f"round {number + 1} of {rounds}, {nodes} nodes: {item.per_second[-1]:.0f} per "
                f"second, {item.cpu_us['process'][-1]:.0f} µs of CPU per registration on a follower"
            )
    _report(report, found, rounds, count)


def _measure(found: ScaleMeasurement, nodes: int, count: int, block_size: int) -> None:
    work = Shares(plan_load(nodes), issuers=min(nodes, ISSUERS))
    settings = {"block_tx_count_limit": block_size, "min_seal_time_ms": SEAL_MS}
    with running_network(build_network(nodes, **settings)) as network:
        entry = network.urls[:1]
        idle = trio.run(offer_one_by_one, work.take(IDLE_REGISTRATIONS), entry)
        in_flight_max = min(BLOCKS_IN_FLIGHT * block_size, IN_FLIGHT_MAX)
        send = partial(
            offer,
            watched=network.urls,
            batch=BATCH,
            in_flight_max=in_flight_max,
            poll_s=POLL_S,
        )
        trio.run(send, work.take(WARM_REGISTRATIONS), entry)
        before, height = _read(network)
        offered = trio.run(send, work.take(count), entry)
        after, top = _read(network)
    found.per_second.append(offered.count / offered.commit_s)
    found.idle_p50_ms.append(percentile(idle.latencies_ms, 50))
    found.block_size.append(offered.count / max(1, top - height))
    costs = []
    for then, now in list(zip(before, after, strict=True))[1:]:
        cost = {part: (now[part] - then[part]) / offered.count * 1e6 for part in now}
        costs.append({**cost, REST: cost["process"] - sum(cost[part] for part in Part)})
    for part in costs[0]:
        found.cpu_us.setdefault(part, []).append(median(cost[part] for cost in costs))


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


def _report(
    report: BenchReport, found: dict[int, ScaleMeasurement], rounds: int, count: int
) -> None:
    first, last = (list(found.values())[position].cpu_us["process"] for position in (0, -1))
    for nodes, item in found.items():
        report.add(f"per_second_{nodes}", item.per_second, 0)
        report.add(f"idle_p50_ms_{nodes}", item.idle_p50_ms)
        report.add(f"block_size_{nodes}", item.block_size, 0)
        for part in ("process", *Part, REST):
            name = "cpu_us" if part == "process" else f"cpu_us_{part}"
            report.add(f"{name}_{nodes}", item.cpu_us[part], 0)
    growth = [b / a - 1 for a, b in zip(first, last, strict=True)]
    report.add("cpu_growth", growth, 2)
    title = f"{count} registrations, CPU µs for each on the median follower, {rounds} rounds"
    report.emit(title, figures={"registrations": count})
    report.draw(_series(found), "replicas", "µs of CPU per registration on a follower")


def _series(found: dict[int, ScaleMeasurement]) -> dict[str, Points]:
    parts: Sequence[str] = ("process", *Part, REST)
    return {
        part: [
            (float(nodes), Spread(tuple(item.cpu_us[part])).median) for nodes, item in found.items()
        ]
        for part in parts
    }
