"""``lowu bench start`` and ``memory``: how long until the first block, how much a node holds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lowu.bench import Spread, describe_machine, print_machine
from lowu.bench_network import pss_mb, running_network, tell
from lowu.cli import emit_json
from lowu.options import read_network
from lowu.output import Progress, print_table
from node.errors import NodeError

UP_S = 120.0


def run_start(network: str, rounds: int, *, is_json: bool) -> None:
    """Run ``lowu up`` as a user would, again and again, each time in an empty folder."""
    progress = Progress(is_silent=is_json)
    read_network(network)
    seconds: list[float] = []
    inside: list[float] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="lowu-bench-") as name:
            folder = str(Path(name) / "nodes")
            started = time.monotonic()
            answer = _lowu("up", network, "--dir", folder, "--json")
            seconds.append(time.monotonic() - started)
            inside.append(json.loads(answer)["figures"]["first_block_seconds"])
            _lowu("down", "--dir", folder)
        tell(progress, number, rounds, f"first block after {seconds[-1]:.2f} s")
    spread = Spread(tuple(seconds))
    if is_json:
        figures = {
            "first_block_seconds": round(spread.median, 3),
            "first_block_seconds_max": round(max(seconds), 3),
            "seconds_after_the_imports": round(median(inside), 3),
        }
        emit_json(True, figures, machine=describe_machine(), rounds=seconds)
        return
    rows = [
        ("from the command to a block committed by a quorum", f"{spread.describe(2)} s"),
        ("of it after the command's own imports", f"{Spread(tuple(inside)).describe(2)} s"),
    ]
    print_table(f"`lowu up {network}`, median and range of {rounds}", ("what", "time"), rows)
    print_machine(describe_machine())


def _lowu(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lowu", *arguments],
        capture_output=True,
        text=True,
        timeout=UP_S,
        check=False,
    )
    if done.returncode != 0:
        raise NodeError(
            f"lowu {arguments[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}"
        )
    return done.stdout


def run_memory(network: str, rounds: int, *, is_json: bool) -> None:
    """Start a network and take every node's proportional memory."""
    progress = Progress(is_silent=is_json)
    text, _ = read_network(network)
    medians: list[float] = []
    highest: list[float] = []
    for number in range(rounds):
        with running_network(text) as running:
            found = [pss_mb(pid) for pid in running.pids.values()]
        medians.append(median(found))
        highest.append(max(found))
        tell(progress, number, rounds, f"{medians[-1]:.1f} MB a node, at most {highest[-1]:.1f}")
    spread = Spread(tuple(medians))
    if is_json:
        figures = {
            "pss_mb_node": round(spread.median, 1),
            "pss_mb_node_max": round(max(highest), 1),
        }
        emit_json(True, figures, machine=describe_machine(), rounds=medians)
        return
    rows = [
        ("a node, the median one", f"{spread.describe()} MB"),
        ("the largest node", f"{Spread(tuple(highest)).describe()} MB"),
    ]
    title = f"proportional memory after `lowu up {network}`, median and range of {rounds}"
    print_table(title, ("what", "memory"), rows)
    print_machine(describe_machine())
