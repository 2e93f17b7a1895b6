"""What is seen of a run's processes: CPU time, memory, and when blocks passed their phases."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import trio

from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.topology.control import Control
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import Plan, PlannedNode

MEASURE_S = 2.0
"""How long a node may take to say what it has spent."""
SAMPLE_S = 1.0
WHOLE = "process"
"""The part that is all of a node."""
PHASES = ("proposed", "prepared", "ordered", "executed", "certified", "durable")
"""Those that a validator notes of a block, in order; `node/metrics.py` says what they are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at_s: float
    """Seconds from the begin of the load."""
    process: str
    cpu_s: float
    """CPU time since the process began."""
    memory_bytes: int
    """Resident; 0 if it was not measured, as in virtual time."""


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """When one block passed each of `PHASES` at one node.

    Seconds from the begin of the load; None for a phase that it did not pass there.
    """

    node: str
    height: int
    passed_s: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of a run's processes."""

    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """By process: CPU time during the load; of a node that was restarted, since then. Besides the
    nodes, the generators, and the relays if there are some."""
    parts_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By node: its own count of CPU seconds by part."""
    samples: Sequence[Sample] = ()
    phases: Sequence[BlockTimes] = ()


async def find_pids(folder: Path) -> dict[str, int]:
    """Return the process ids of the nodes that run."""
    states = await trio.to_thread.run_sync(Control(folder).order, "status")
    return {item["name"]: int(item["pid"]) for item in states if item["pid"] is not None}


def _read_process(pid: int) -> tuple[float, int]:
    """Return a process's CPU seconds since its begin, and its resident bytes."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return times.user + times.system, int(process.memory_info().rss)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU times at one moment, in seconds since each process began."""

    pids: dict[str, int]
    nodes_s: dict[str, float]
    parts_s: dict[str, dict[str, float]]
    own_s: float
    """Of this process, in which the relays run."""

    def since(self, before: Spent) -> dict[str, float]:
        """Return by node what was spent since then, or since its restart."""
        return {
            name: spent_s - (before.nodes_s.get(name, 0.0) if self._is_same(name, before) else 0.0)
            for name, spent_s in self.nodes_s.items()
        }

    def parts_since(self, before: Spent) -> dict[str, dict[str, float]]:
        """Return the same by part."""
        found = {}
        for name, parts in self.parts_s.items():
            earlier = before.parts_s.get(name, {}) if self._is_same(name, before) else {}
            found[name] = {
                part: spent_s - earlier.get(part, 0.0)
                for part, spent_s in parts.items()
                if part != WHOLE
            }
        return found

    def _is_same(self, name: str, before: Spent) -> bool:
        return self.pids.get(name) == before.pids.get(name)


async def measure_spent(plan: Plan, folder: Path) -> Spent:
    """Return what all nodes have spent; one that is down, or does not answer, is left out."""
    pids, nodes_s, parts_s = await find_pids(folder), {}, {}
    for node in plan.nodes:
        with suppress(psutil.NoSuchProcess, KeyError):
            nodes_s[node.name], _ = _read_process(pids[node.name])
        with suppress(ClientError, RemoteError):
            async with RpcClient(node.url, MEASURE_S) as client:
                parts_s[node.name] = await client.call("getCpuTimes")
    return Spent(pids, nodes_s, parts_s, time.process_time())


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node as a live view shows it."""

    name: str
    is_up: bool
    cores: float = 0.0
    """CPU time since the state before, per second."""
    memory_bytes: int = 0
    height: int = -1
    """-1 if it does not answer, as its view."""
    view: int = -1


async def watch_nodes(plan: Plan, folder: Path, note: Callable[[list[NodeState]], None]) -> None:
    """Tell the states of all nodes every second, until cancelled."""
    before: dict[str, tuple[int, float, float]] = {}
    while True:
        pids, found = await find_pids(folder), dict[str, NodeState]()

        async with trio.open_nursery() as nursery:
            for node in plan.nodes:
                nursery.start_soon(_read_state, node, pids, before, found)
        note([found[node.name] for node in plan.nodes])
        await trio.sleep(SAMPLE_S)


async def _read_state(
    node: PlannedNode,
    pids: Mapping[str, int],
    before: dict[str, tuple[int, float, float]],
    found: dict[str, NodeState],
) -> None:
    """Put the state of a node into `found`; `before` has its process, CPU time and when."""
    found[node.name] = NodeState(node.name, is_up=False)
    with suppress(psutil.Error, KeyError):
        pid, now_s = pids[node.name], time.monotonic()
        spent_s, memory = _read_process(pid)
        last_pid, last_s, at_s = before.get(node.name, (0, 0.0, 0.0))
        cores = (spent_s - last_s) / (now_s - at_s) if pid == last_pid else 0.0
        before[node.name] = pid, spent_s, now_s
        found[node.name] = NodeState(node.name, True, cores, memory)
    with suppress(ClientError, RemoteError), trio.move_on_after(SAMPLE_S):
        told = await read_status(node)
        height, view = int(told["height"]), int(told["view"])
        found[node.name] = replace(found[node.name], height=height, view=view)


async def take_samples(folder: Path, begin_s: float, found: list[Sample]) -> None:
    """Add a sample of each node every second, until cancelled; `begin_s` is of `monotonic`."""
    await trio.sleep(max(0.0, begin_s - time.monotonic()))
    while True:
        for name, pid in (await find_pids(folder)).items():
            with suppress(psutil.Error):
                spent_s, memory = _read_process(pid)
                found.append(Sample(time.monotonic() - begin_s, name, spent_s, memory))
        await trio.sleep(SAMPLE_S)


async def read_phases(plan: Plan, begin_s: float, first: int) -> list[BlockTimes]:
    """Return the phases of the blocks from height `first` on; nodes that are down have none."""
    found: list[BlockTimes] = []
    for node in plan.nodes:
        with suppress(ClientError, RemoteError):
            async with RpcClient(node.url, MEASURE_S) as client:
                start = first
                while rows := await client.call("getBlockPhases", start):
                    found += place_phases(node.name, rows, begin_s)
                    start = rows[-1][0] + 1
    return found


def place_phases(
    node: str, rows: Sequence[tuple[int, Sequence[float | None]]], begin_s: float
) -> list[BlockTimes]:
    """Return a node's rows with times from the begin of the load on."""
    return [
        BlockTimes(node, height, tuple(None if item is None else item - begin_s for item in times))
        for height, times in rows
    ]


async def read_views(plan: Plan) -> int:
    """Return the highest view of all nodes; 0 if none answers."""
    highest = 0
    for node in plan.nodes:
        try:
            highest = max(highest, int((await read_status(node))["view"]))
        except (ClientError, RemoteError):
            continue
    return highest


def list_phase_times(
    phases: Sequence[BlockTimes], is_counted: Callable[[float], bool] = lambda at_s: True
) -> dict[str, list[float]]:
    """Return, for each phase but the first, how long blocks took from the one before, in seconds.

    Over all nodes and blocks whose proposal's time counts.
    """
    found: dict[str, list[float]] = {phase: [] for phase in PHASES[1:]}
    for item in phases:
        first = item.passed_s[0]
        if first is None or not is_counted(first):
            continue
        for phase, before_s, at_s in zip(found, item.passed_s, item.passed_s[1:], strict=False):
            if before_s is not None and at_s is not None:
                found[phase].append(at_s - before_s)
    return found


# --- files --------------------------------------------------------------------------------------


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write samples as CSV."""
    rows = [
        (f"{item.at_s:.3f}", item.process, f"{item.cpu_s:.3f}", item.memory_bytes)
        for item in samples
    ]
    _write_rows(path, ("at_s", "process", "cpu_s", "memory_bytes"), rows)


def write_phases(path: Path, phases: Sequence[BlockTimes]) -> None:
    """Write phases as CSV; times are from the begin of the load."""
    rows = [
        (item.node, item.height, *("" if at_s is None else f"{at_s:.6f}" for at_s in item.passed_s))
        for item in phases
    ]
    _write_rows(path, ("node", "height", *(f"{phase}_s" for phase in PHASES)), rows)


def _write_rows(path: Path, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)


def read_samples_file(path: Path) -> list[Sample]:
    """Return the samples in a file; none if there is no such file."""
    return [
        Sample(float(row["at_s"]), row["process"], float(row["cpu_s"]), int(row["memory_bytes"]))
        for row in _read_rows(path)
    ]


def read_phases_file(path: Path) -> list[BlockTimes]:
    """Return the phases in a file; none if there is no such file."""
    return [
        BlockTimes(
            row["node"],
            int(row["height"]),
            tuple(float(at_s) if (at_s := row[f"{phase}_s"]) else None for phase in PHASES),
        )
        for row in _read_rows(path)
    ]


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
