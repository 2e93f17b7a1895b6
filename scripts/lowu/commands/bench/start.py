"""``lowu bench start`` and ``memory``: the time to the first block, the memory of a node."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from lowu.measuring.bench_network import pss_mb, running_network, tell
from lowu.measuring.bench_report import BenchReport
from lowu.node.errors import NodeError
from lowu.options import read_network
from lowu.output import Progress
from lowu.temporary import temporary_network_folder

UP_S = 120.0


def run_start(network: str, rounds: int, plot: Path | None, *, is_json: bool) -> None:
    """Run ``lowu up`` as a user would, in an empty folder for each round."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    read_network(network)
    seconds: list[float] = []
    inside_s: list[float] = []
    for number in range(rounds):
        with temporary_network_folder("bench") as folder:
            started = time.monotonic()
            answer = _up(network, folder)
            seconds.append(time.monotonic() - started)
            inside_s.append(json.loads(answer)["figures"]["first_block_seconds"])
        tell(progress, number, rounds, f"first block after {seconds[-1]:.2f} s")
    report.add("first_block_seconds", seconds, 2)
    report.add("seconds_after_the_imports", inside_s, 2)
    report.emit(
        f"`lowu up {network}`: from the command to a block committed by a quorum, "
        f"median and range, rounds: {rounds}"
    )
    names = {
        "first_block_seconds": "from the command",
        "seconds_after_the_imports": "after imports",
    }
    report.draw_rounds(names, "seconds to the first block")


def _up(network: str, folder: Path) -> str:
    command = [sys.executable, "-m", "lowu", "up", network, "--dir", str(folder), "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=UP_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NodeError(f"lowu up {network}: no block within {UP_S:.0f} s") from error
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip()[-500:]
        raise NodeError(f"lowu up {network} failed: {text}")
    return done.stdout


def run_memory(network: str, rounds: int, plot: Path | None, *, is_json: bool) -> None:
    """Start a network and measure every node's proportional memory."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    text, _ = read_network(network)
    medians_mb: list[float] = []
    highest_mb: list[float] = []
    for number in range(rounds):
        with running_network(text) as running:
            found_mb = [pss_mb(pid) for pid in running.pids.values()]
        medians_mb.append(median(found_mb))
        highest_mb.append(max(found_mb))
        shown = f"{medians_mb[-1]:.1f} MB per node (median), at most {highest_mb[-1]:.1f}"
        tell(progress, number, rounds, shown)
    report.add("pss_mb_node", medians_mb)
    report.add("pss_mb_node_max", highest_mb)
    title = f"Memory (PSS) of a node after `lowu up {network}`, median and range, rounds: {rounds}"
    report.emit(title)
    names = {"pss_mb_node": "the median node", "pss_mb_node_max": "the largest node"}
    report.draw_rounds(names, "proportional memory, MB")
