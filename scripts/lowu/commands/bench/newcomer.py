"""``lowu bench sync --lengths``: a node without a disk takes a state, or all blocks, of a chain.

The chains differ in length and not in state: their blocks are transfers of nothing from an account
to itself. So time that grows with the length shows as such.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import trio

from lowu.commands.bench.state import parse_counts
from lowu.commands.bench.sync import wait_for_level
from lowu.contracts.account import Account
from lowu.experiments.load.offering import SignedLoad, build_network, offer
from lowu.measuring.bench_network import Running, cpu_s, running_network, tell
from lowu.measuring.bench_report import BenchReport
from lowu.measuring.plots import Points
from lowu.node.client import RemoteError, RpcClient
from lowu.node.errors import NodeError
from lowu.node.topology.control import Control
from lowu.node.topology.plan import PlannedNode
from lowu.node.topology.tree import node_folder
from lowu.output import Progress

TRANSFER_GAS = 21_000
TOLD_BLOCKS = 1_000


@dataclass(frozen=True, slots=True)
class _Times:
    """Of one length: seconds from the order to start a node until it is level, and its CPU."""

    state_s: list[float] = field(default_factory=list)
    blocks_s: list[float] = field(default_factory=list)
    state_cpu_s: list[float] = field(default_factory=list)
    blocks_cpu_s: list[float] = field(default_factory=list)


def run_newcomers(
    nodes: int, lengths_text: str, rounds: int, plot: Path | None, *, is_json: bool
) -> None:
    """Time a node with an empty disk on chains of these lengths, by a state and by blocks."""
    lengths = parse_counts("--lengths", lengths_text, 100)
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    period = min(1_000, lengths[0] // 2)
    found = {length: _Times() for length in lengths}
    text = build_network(nodes, block_tx_count_limit=1, snapshot_blocks=period)
    with running_network(text) as network:
        control, late = Control(network.folder), network.up.plan.nodes[-1]
        control.order("kill", [late.name])
        grown = 0
        for length, times in found.items():
            while grown < length:
                count = min(TOLD_BLOCKS, length - grown)
                _grow(network, late, count, grown)
                grown += count
                progress(f"{grown:,} of {lengths[-1]:,} blocks")
            for number in range(rounds):
                _time(network, late, period, times.state_s, times.state_cpu_s)
                _time(network, late, 0, times.blocks_s, times.blocks_cpu_s)
                took = f"{times.state_s[-1]:.1f} s by a state, {times.blocks_s[-1]:.1f} s by blocks"
                tell(progress, number, rounds, f"{length:,} blocks, {took}")
    for length, times in found.items():
        report.add(f"state_s_{length}", times.state_s, 2)
        report.add(f"blocks_s_{length}", times.blocks_s, 2)
        report.add(f"state_cpu_s_{length}", times.state_cpu_s, 2)
        report.add(f"blocks_cpu_s_{length}", times.blocks_cpu_s, 2)
    report.emit(
        f"a node of {nodes} without a disk, on chains of {', '.join(map(str, lengths))} blocks and "
        f"one state, timed from the order to start it; a state every {period} blocks; median and "
        f"range, rounds: {rounds}"
    )
    series: dict[str, Points] = {
        "by a state": [(n, median(times.state_s)) for n, times in found.items()],
        "by blocks": [(n, median(times.blocks_s)) for n, times in found.items()],
    }
    report.draw(series, "blocks", "seconds")


def _grow(network: Running, late: PlannedNode, count: int, first: int) -> None:
    """Add blocks of one transfer each."""
    issuer = network.up.plan.institutions[0]
    account, raws = Account(issuer.account_key), []
    for nonce in range(first, first + count):
        raw, _ = account.sign_transaction(
            to=bytes.fromhex(account.address[2:]),
            data=b"",
            gas=TRANSFER_GAS,
            nonce=nonce,
            chain_id=network.up.plan.genesis.web3_chain_id,
        )
        raws.append("0x" + raw.hex())
    others = [url for url in network.urls if url != late.url]
    load = SignedLoad(account.address, first, tuple(raws))
    trio.run(partial(offer, watched=others), [load], others[:1])


def _time(
    network: Running, late: PlannedNode, period: int, taken_s: list[float], cpu: list[float]
) -> None:
    """Start a node with an empty disk, which takes states or none; kill it once it is level.

    Raises:
        NodeError: it has taken a state although it must not, or none although it could.
    """
    control, folder = Control(network.folder), node_folder(network.folder, late)
    shutil.rmtree(folder / "data", ignore_errors=True)
    config = (folder / "config.ini").read_text(encoding="utf-8").splitlines()
    lines = [
        f"snapshot_blocks={period}" if line.startswith("snapshot_blocks=") else line
        for line in config
    ]
    (folder / "config.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    other = next(url for url in network.urls if url != late.url)
    started = time.monotonic()
    control.order("start", [late.name])
    trio.run(wait_for_level, late.url, other)
    taken_s.append(time.monotonic() - started)
    (state,) = control.order("status", [late.name])
    cpu.append(cpu_s(int(state["pid"])))
    has_first = trio.run(_has_first_block, late.url)
    control.order("kill", [late.name])
    if has_first == bool(period):
        raise NodeError(f"{late.name} took {'blocks' if has_first else 'a state'}: not measured")


async def _has_first_block(url: str) -> bool:
    async with RpcClient(url) as client:
        try:
            await client.call("eth_getBlockByNumber", "0x1", False)
        except RemoteError:
            return False
        return True
