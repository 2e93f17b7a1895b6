"""``lowu bench sync``: how fast a node catches up with what it missed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import trio

from lowu.experiments.load.offering import build_network, offer
from lowu.measuring.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.measuring.bench_report import BenchReport
from lowu.node.client import ClientError, RpcClient
from lowu.node.errors import NodeError
from lowu.node.topology.control import Control
from lowu.output import Progress

SYNC_S = 300.0
POLL_S = 0.02


def run_sync(nodes: int, count: int, rounds: int, plot: Path | None, *, is_json: bool) -> None:
    """Let a node miss a load, start it again, and time how long it takes to catch up."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    issuers = sign_for(plan_load(nodes), count, issuers=1)
    speeds_per_s: list[float] = []
    costs_us: list[float] = []
    for number in range(rounds):
        with running_network(build_network(nodes)) as network:
            control = Control(network.folder)
            late = network.up.plan.nodes[-1]
            control.order("kill", [late.name])
            others = [url for url in network.urls if url != late.url]
            trio.run(partial(offer, watched=others), issuers, others[:1])
            started = time.monotonic()
            control.order("start", [late.name])
            trio.run(_wait_for_level, late.url, others[0])
            speeds_per_s.append(count / (time.monotonic() - started))
            (state,) = control.order("status", [late.name])
            costs_us.append(cpu_s(int(state["pid"])) / count * 1e6)
        tell(progress, number, rounds, f"{speeds_per_s[-1]:.0f} registrations per second")
    report.add("synced_per_second", speeds_per_s, 0)
    report.add("cpu_us_synced", costs_us, 0)
    report.emit(
        f"{count} registrations missed by one of {nodes} nodes, timed from the order to start it; "
        f"median and range, rounds: {rounds}"
    )
    report.draw_rounds({"synced_per_second": "caught up"}, "registrations per second")


async def _wait_for_level(url: str, other: str) -> None:
    """Return once a node has reached the height of another."""
    with trio.move_on_after(SYNC_S):
        async with RpcClient(url) as client, RpcClient(other) as level:
            wanted = int(await level.call("eth_blockNumber"), 16)
            while True:
                try:
                    if int(await client.call("eth_blockNumber"), 16) >= wanted:
                        return
                except ClientError:
                    pass  # it is still starting
                await trio.sleep(POLL_S)
    raise NodeError(f"{url} did not catch up within {SYNC_S:.0f} s")
