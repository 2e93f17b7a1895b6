"""``lowu attack strangers``: random contracts and calls at a network of processes."""

from __future__ import annotations

import sys
import time
from random import Random
from typing import Any

import click
import psutil
import trio

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import print_figures
from lowu.experiments.attacks.strangers import Strangers, let_in
from lowu.measuring.bench_network import running_network
from lowu.measuring.bench_report import describe_machine, print_machine
from lowu.node.simulation.evm.programs import ADDRESSES, draw_program
from lowu.node.topology.control import Control
from lowu.options import read_network
from lowu.output import Progress

REPORT_S = 10.0
MEMORY_MAX_MB = 400.0
"""Memory that one node may use at the end, shared pages included; about 70 MB at the start."""
PAUSE_MAX_S = 60.0
"""Longest time without a block: one full of the costliest work takes every node 20 s of CPU."""


def run_strangers(network: str, minutes: float, seed: int, *, is_json: bool) -> None:
    """Start a network and let strangers use it; exit 1 if there is any finding."""
    progress = Progress(is_silent=is_json)
    text, _ = read_network(network)
    with running_network(text) as running:
        plan = running.up.plan
        progress(f"{len(plan.nodes)} nodes are up; strangers act for {minutes:g} minutes")
        shown_s = time.monotonic()

        def report(found: Strangers) -> None:
            nonlocal shown_s
            if time.monotonic() - shown_s >= REPORT_S:
                shown_s = time.monotonic()
                progress(
                    f"{found.transactions} transactions, {found.calls} calls, "
                    f"{found.blocks} blocks, {len(found.disagreements)} disagreements"
                )

        found = trio.run(
            let_in, running.urls, plan.genesis.web3_chain_id, minutes * 60, seed,
            _draw, ADDRESSES, report,
        )  # fmt: skip
        states = Control(running.folder).order("status")
        ended = [item["name"] for item in states if item["pid"] != running.pids[item["name"]]]
        memory_mb = [_rss_mb(pid) for name, pid in running.pids.items() if name not in ended]
    _show(found, ended, max(memory_mb, default=0.0), minutes, is_json=is_json)


def _draw(random: Random) -> tuple[bytes, ...]:
    return draw_program(random).codes


def _rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def _show(
    found: Strangers, ended: list[str], memory_mb: float, minutes: float, *, is_json: bool
) -> None:
    figures: dict[str, Any] = {
        "minutes": minutes,
        "transactions": found.transactions,
        "calls": found.calls,
        "unanswered": found.unanswered,
        "blocks": found.blocks,
        "deaths": len(ended),
        "disagreements": len(found.disagreements),
        "longest_pause_s": round(found.longest_pause_s, 1),
        "memory_mb": round(memory_mb, 1),
    }
    findings = [f"{name} stopped" for name in ended] + found.disagreements
    if memory_mb > MEMORY_MAX_MB:
        findings.append(f"a node uses {memory_mb:.0f} MB; the limit: {MEMORY_MAX_MB:.0f}")
    if found.longest_pause_s > PAUSE_MAX_S:
        findings.append(f"no block for {found.longest_pause_s:.0f} s; the limit: {PAUSE_MAX_S:.0f}")
    if not found.blocks:
        findings.append("no block was committed")
    if is_json:
        emit_json(
            not findings, figures, findings=findings, statuses=dict(found.statuses),
            machine=describe_machine(),
        )  # fmt: skip
    else:
        print_figures(figures)
        print_machine(describe_machine())
        for text in findings[:20]:
            click.echo(text)
    if findings:
        sys.exit(1)
