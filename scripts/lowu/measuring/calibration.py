"""Finds what work costs on this machine, from what processes spend under a few loads.

Each load is offered to processes, whose CPU times are read, and in virtual time, where each piece
of work is counted. The costs are the non-negative ones that explain the CPU times best, relative to
each of them. What is counted depends a little on the costs, as blocks do on how fast they are made,
so this is done several times. How long a process takes to run, once something has come for it,
follows from the latency: it is what the median of all but the highest load lacks.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import trio

from lowu.commands.experiment.simulating import simulate_once
from lowu.experiments.load.planned.experiment_file import Experiment, parse_experiments
from lowu.experiments.load.run import GENERATOR, RELAYS, LoadRun, run_once
from lowu.measuring.bench_report import describe_machine
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.simulation.costs import CostModel, Work, WorkCost
from lowu.node.simulation.simulated_machine import Machine
from lowu.options import read_network
from lowu.output import Progress
from lowu.temporary import temporary_network_folder

RELAYED = '[[link]]\nbetween = ["SZ", "HK"]\ndelay_ms = 2\n'
LOADS = (
    ("2 a second", "load-4", 2, ""),
    ("25 a second", "load-4", 25, ""),
    ("150 a second", "load-4", 150, ""),
    ("300 a second", "load-4", 300, ""),
    ("100 a second over relays", "load-4", 100, RELAYED),
    ("20 a second on 10 nodes", "load-10", 20, ""),
)
"""Different enough to tell what a second, a block, a transaction and a message cost."""
QUIET = (1, 2, 4)
"""Those of the loads whose latency is that of hops, and not of queues."""
ROUNDS = 3
HOPS = 10
"""About how often a registration waits for a process to run, until it is seen in a block."""
FIRST_HOP_S = 0.001
WRITES = 200
STEPS = 20_000
PARTS = (Work.ADMISSION, Work.EXECUTION, Work.CONSENSUS, Work.STORAGE)
FIRST_COSTS = {
    Work.ADMISSION: WorkCost(0, 1.5e-4),
    Work.EXECUTION: WorkCost(5e-4, 2.5e-4),
    Work.CONSENSUS: WorkCost(1.5e-4),
    Work.STORAGE: WorkCost(2e-4, 5e-5),
    Work.LINK: WorkCost(7e-5),
    Work.REQUEST: WorkCost(2e-4, 3e-5),
    Work.OFFER: WorkCost(1e-4, 2e-5),
    Work.RELAY: WorkCost(8e-5),
    Work.BLOCK: WorkCost(1e-3),
    Work.IDLE: WorkCost(2e-3),
}
"""Where the search begins; what is found depends on it only through what is counted."""


@dataclass(frozen=True, slots=True)
class LoadCheck:
    """A load, as it was measured and as the model has it."""

    told: str
    measured: Mapping[str, float]
    simulated: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A cost model, and how well it explains what was measured."""

    model: CostModel
    cpu_miss: float
    """Mean of how much the model's CPU time differs from the measured one, as a share of it."""
    loads: tuple[LoadCheck, ...]
    """What the model of the round before the last says of the loads."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What a process has spent, and the pieces of work and the items that it did."""

    spent_s: float
    counts: tuple[float, ...]


def measure_costs(progress: Progress) -> Calibration:
    """Measure this machine, which should have nothing else to do."""
    wait_s = _measure_wait()
    progress(f"a durable write waits {wait_s * 1e3:.2f} ms for the disk")
    loads = [(told, _experiment(network, rate, links)) for told, network, rate, links in LOADS]
    measured = []
    for told, item in loads:
        progress(f"{told}, in processes")
        measured.append(_play(item))
    here = describe_machine()
    told = f"{here['cpu']}, {here['cores']} cores, Python {here['python']}"
    model = CostModel(count_cores(), _with_wait(FIRST_COSTS, wait_s), FIRST_HOP_S, told)
    cpu_miss, figures = math.nan, [run.summary.figures for run in measured]
    simulated: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        counted, simulated = [], []
        for told, item in loads:
            progress(f"{told}, in virtual time")
            machine = Machine(model)
            run = simulate_once(item, *read_network(item.network), machine)
            counted.append(machine)
            simulated.append(run.summary.figures)
        costs, cpu_miss = _fit(measured, counted)
        lacking_ms = fmean(figures[at]["p50_ms"] - simulated[at]["p50_ms"] for at in QUIET)
        hop_s = max(0.0, model.hop_s + lacking_ms / 1_000 / HOPS)
        model = CostModel(model.cores, _with_wait(costs, wait_s), hop_s, model.machine)
    checks = zip((told for told, _ in loads), figures, simulated, strict=True)
    return Calibration(model, cpu_miss, tuple(LoadCheck(*check) for check in checks))


def _experiment(network: str, rate: int, links: str) -> Experiment:
    text = (
        f'[experiment]\nname = "calibration"\nnetwork = "{network}"\n'
        '[load]\nworkload = "register"\n'
        f'arrival = {{ kind = "poisson", rate = {rate} }}\nwarm_up_s = 1\nduration_s = 8\n{links}'
    )
    return parse_experiments(text, Path("calibration.toml"))[0]


def _play(item: Experiment) -> LoadRun:
    text, origin = read_network(item.network)
    with temporary_network_folder("calibration") as folder:
        return trio.run(run_once, item, text, origin, folder)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_wait() -> float:
    """Return how long a small durable write waits for the disk, in seconds."""
    waits = []
    with tempfile.TemporaryDirectory() as folder:
        storage = RocksStorage(Path(folder) / "db")
        for number in range(WRITES):
            began, spent_s = time.perf_counter(), time.thread_time()
            storage.write({b"key %d" % number: bytes(500)})
            waits.append(time.perf_counter() - began - (time.thread_time() - spent_s))
        storage.close()
    return max(0.0, median(waits))


def _with_wait(costs: Mapping[Work, WorkCost], wait_s: float) -> dict[Work, WorkCost]:
    found = dict(costs)
    storage = found[Work.STORAGE]
    found[Work.STORAGE] = WorkCost(storage.base_s, storage.item_s, wait_s)
    return found


def _fit(
    measured: Sequence[LoadRun], counted: Sequence[Machine]
) -> tuple[dict[Work, WorkCost], float]:
    """Return the costs that explain the CPU times best, and by what share they miss them."""
    found: dict[Work, WorkCost] = {}
    misses: list[float] = []

    def solve(rows: Sequence[_Row], *works: Work) -> None:
        values = fit_costs([row.counts for row in rows], [row.spent_s for row in rows])
        for place, work in enumerate(works):
            found[work] = WorkCost(values[2 * place], values[2 * place + 1])
        for row in rows:
            told = sum(value * count for value, count in zip(values, row.counts, strict=True))
            misses.append(abs(told / row.spent_s - 1))

    pairs = list(zip(measured, counted, strict=True))
    nodes = [(run, machine, name) for run, machine in pairs for name in run.observed.parts_s]
    for part in PARTS:
        solve([_node_row(*node, (part,), part) for node in nodes], part)
    rest = (Work.LINK, Work.REQUEST, Work.BLOCK, Work.IDLE)
    solve([_node_row(*node, rest, None) for node in nodes], *rest)
    solve([_row(run, machine, GENERATOR, Work.OFFER) for run, machine in pairs], Work.OFFER)
    relayed = [(run, machine) for run, machine in pairs if RELAYS in run.observed.cpu_s]
    solve([_row(run, machine, RELAYS, Work.RELAY) for run, machine in relayed], Work.RELAY)
    return found, fmean(misses)


def _node_row(
    run: LoadRun, machine: Machine, name: str, works: Sequence[Work], part: Work | None
) -> _Row:
    """Return a node's row: of one part, or of what no part is."""
    parts_s = run.observed.parts_s[name]
    spent_s = (
        run.observed.cpu_s[name] - sum(parts_s.values()) if part is None else parts_s[part.value]
    )
    counts = (float(count) for work in works for count in machine.count(name, work))
    return _Row(spent_s, tuple(counts))


def _row(run: LoadRun, machine: Machine, name: str, work: Work) -> _Row:
    pieces, items = machine.count(name, work)
    return _Row(run.observed.cpu_s[name], (float(pieces), float(items)))


def fit_costs(counts: Sequence[Sequence[float]], spent: Sequence[float]) -> list[float]:
    """Return the non-negative costs of pieces of work that explain CPU times best.

    Least squares of the relative misses, by coordinate descent: each cost in turn is set to its
    best value, with the others as they are.

    Args:
        counts: for each measurement, how often each piece of work was done.
        spent: for each measurement, its CPU seconds.
    """
    columns = range(len(counts[0]))
    rows = [[item / total for item in row] for row, total in zip(counts, spent, strict=True)]
    costs = [0.0 for _ in columns]
    weights = [math.fsum(row[at] ** 2 for row in rows) for at in columns]
    left = [1.0 for _ in rows]
    for _ in range(STEPS):
        largest = 0.0
        for at in columns:
            if not weights[at]:
                continue
            step = math.fsum(row[at] * miss for row, miss in zip(rows, left, strict=True))
            value = max(0.0, costs[at] + step / weights[at])
            change, costs[at] = value - costs[at], value
            left = [miss - row[at] * change for row, miss in zip(rows, left, strict=True)]
            largest = max(largest, abs(change) * math.sqrt(weights[at]))
        if largest < 1e-9:
            break
    return costs
