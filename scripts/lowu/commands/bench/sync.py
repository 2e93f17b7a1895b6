"""``lowu bench sync``: how fast a node catches up with what it missed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import trio

from lowu.experiments.load.offering import SignedLoad, build_network, offer
from lowu.measuring.bench_network import (
    Shares,
    cpu_s,
    plan_load,
    running_network,
    sign_for,
    tell,
)
from lowu.measuring.bench_report import BenchReport, ratios
from lowu.node.client import ClientError, RpcClient
from lowu.node.errors import NodeError
from lowu.node.topology.control import Control
from lowu.output import Progress

SYNC_S = 300.0
POLL_S = 0.02
BEFORE_S = 15.0
"""How long the network is watched before the node is started."""
SENDERS = 8


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
            trio.run(wait_for_level, late.url, others[0])
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


@dataclass(frozen=True, slots=True)
class SyncSpeeds:
    """What one run has shown, in blocks per second."""

    before_per_s: float
    """Of the network, without the node."""
    during_per_s: float
    """Of the network, while the node catches up."""
    node_per_s: float
    """Of the node that catches up."""


def run_sync_under_load(
    nodes: int, behind: int, share: float, rounds: int, *, is_json: bool
) -> None:
    """Let a node miss blocks of one registration each, and catch up while the others go on."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=None)
    text = build_network(nodes, block_tx_count_limit=1, snapshot_blocks=0)
    found: list[SyncSpeeds] = []
    for number in range(rounds):
        with running_network(text) as network:
            control = Control(network.folder)
            late = network.up.plan.nodes[-1]
            control.order("kill", [late.name])
            shares = Shares(plan_load(nodes), issuers=1)
            others = [url for url in network.urls if url != late.url]
            missed = shares.take(behind)
            offered = trio.run(partial(offer, watched=others), missed, others[:1])
            rate = share * behind / offered.commit_s
            (more,) = shares.take(int(rate * (BEFORE_S + SYNC_S)))
            start = partial(control.order, "start", [late.name])
            found.append(trio.run(_catch_up, more, rate, others[0], late.url, start))
        tell(progress, number, rounds, f"{found[-1].node_per_s:.0f} blocks per second")
    before, during, node = zip(*map(astuple, found), strict=True)
    report.add("network_blocks_per_second", before, 1)
    report.add("network_blocks_per_second_meanwhile", during, 1)
    report.add("node_blocks_per_second", node, 1)
    report.add("node_to_network", ratios(node, during).values, 2)
    report.add("network_meanwhile_to_before", ratios(during, before).values, 3)
    report.emit(
        f"{behind} blocks missed by one of {nodes} nodes, which catches up while {share:.0%} of "
        f"the most that the network commits is offered; median and range, rounds: {rounds}"
    )


async def _catch_up(
    more: SignedLoad, rate: float, url: str, late: str, start: Callable[[], object]
) -> SyncSpeeds:
    """Offer a load, have the late node start after a while, and wait until it is level."""
    async with trio.open_nursery() as nursery, RpcClient(url) as client:
        nursery.start_soon(_offer_steadily, more, rate, url)
        heights = [(time.monotonic(), await _height(client))]
        await trio.sleep(BEFORE_S)
        heights.append((time.monotonic(), await _height(client)))
        await trio.to_thread.run_sync(start)
        first = await _height_once_up(late)
        await wait_for_level(late, url)
        heights.append((time.monotonic(), await _height(client)))
        nursery.cancel_scope.cancel()
    (began, low), (started, middle), (ended, high) = heights
    return SyncSpeeds(
        (middle - low) / (started - began),
        (high - middle) / (ended - started),
        (high - first) / (ended - started),
    )


async def _offer_steadily(load: SignedLoad, rate: float, url: str) -> None:
    """Send registrations at a rate, until cancelled or all are sent."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RpcClient(url)) for _ in range(SENDERS)]

        async def send(sender: int) -> None:
            for number in range(sender, len(load.raws), SENDERS):
                await trio.sleep_until(began + number / rate)
                await clients[sender].call("eth_sendRawTransaction", load.raws[number])

        for sender in range(SENDERS):
            nursery.start_soon(send, sender)


async def _height(client: RpcClient) -> int:
    return int(await client.call("eth_blockNumber"), 16)


async def _height_once_up(url: str) -> int:
    """Return the first height that a node tells."""
    while True:
        try:
            async with RpcClient(url) as client:
                return await _height(client)
        except ClientError:
            await trio.sleep(POLL_S)


async def wait_for_level(url: str, other: str) -> None:
    """Return once a node has reached the height of another."""
    with trio.move_on_after(SYNC_S):
        async with RpcClient(url) as client, RpcClient(other) as level:
            wanted = await _height(level)
            while True:
                try:
                    if await _height(client) >= wanted:
                        return
                except ClientError:
                    pass  # it is still starting
                await trio.sleep(POLL_S)
    raise NodeError(f"{url} did not catch up within {SYNC_S:.0f} s")
