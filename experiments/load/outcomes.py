"""What became of the work of a run, and the figures that follow.

Latency counts from the time at which a transaction was due, over all that were due: one that was
not committed has the deadline as its latency, at least. A mean or a percentile over successes alone
falls as a system fails.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from statistics import median

UNKNOWN = math.nan


class Ending(IntEnum):
    """What became of a transaction that was due."""

    WAITING = 0
    """Not at its end: only a run that was interrupted has it."""
    COMMITTED = 1
    FAILED = 2
    """Committed, and reverted; of a read, that its answer was not right by its deadline."""
    REFUSED = 3
    """No node had accepted it by its deadline, and the last answer was a refusal."""
    TIMED_OUT = 4
    """Not committed, or answered, by its deadline."""
    ANSWERED = 5
    """A read, answered as it had to be."""


DONE = (Ending.COMMITTED, Ending.ANSWERED)
"""The endings that count as success."""


@dataclass(slots=True)
class Records:
    """One row for each piece of work that was due, in the order of the times.

    Times are seconds from the begin of the load; NaN where there is none.
    """

    due_s: array[float] = field(default_factory=lambda: array("d"))
    sent_s: array[float] = field(default_factory=lambda: array("d"))
    """When the generator handed it on; of one that waited for a client, when it was taken up."""
    ended_s: array[float] = field(default_factory=lambda: array("d"))
    """When its block was seen, or its deadline passed."""
    height: array[int] = field(default_factory=lambda: array("q"))
    outcome: bytearray = field(default_factory=bytearray)
    kind: bytearray = field(default_factory=bytearray)
    """Of work, as its place in `names`."""
    names: list[str] = field(default_factory=lambda: ["register"])

    def __len__(self) -> int:
        return len(self.due_s)

    def add(self, due_s: float, kind: int = 0) -> int:
        """Add what is due; return its row."""
        self.due_s.append(due_s)
        self.sent_s.append(UNKNOWN)
        self.ended_s.append(UNKNOWN)
        self.height.append(0)
        self.outcome.append(Ending.WAITING)
        self.kind.append(kind)
        return len(self.due_s) - 1

    def copy(self, other: Records, row: int) -> None:
        """Add a row of records of the same kinds of work."""
        here = self.add(other.due_s[row], other.kind[row])
        self.sent_s[here] = other.sent_s[row]
        self.ended_s[here] = other.ended_s[row]
        self.height[here] = other.height[row]
        self.outcome[here] = other.outcome[row]

    def end(self, row: int, outcome: Ending, ended_s: float, height: int = 0) -> None:
        """Note the end of a transaction; the first one counts."""
        if self.outcome[row] == Ending.WAITING:
            self.outcome[row] = outcome
            self.ended_s[row] = ended_s
            self.height[row] = height

    def write(self, path: Path) -> None:
        """Write them as CSV, a row for each transaction."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["due_s", "sent_s", "ended_s", "outcome", "height", "workload"])
            for row in range(len(self)):
                writer.writerow(
                    [
                        f"{self.due_s[row]:.6f}",
                        _write_time(self.sent_s[row]),
                        _write_time(self.ended_s[row]),
                        Ending(self.outcome[row]).name,
                        self.height[row] or "",
                        self.names[self.kind[row]],
                    ]
                )


def _write_time(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def read_records(path: Path) -> Records:
    """Return the records in a file that `Records.write` wrote; `ValueError` if it is none."""
    found, kinds = Records(names=[]), dict[str, int]()
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            kind = kinds.setdefault(line.get("workload") or "", len(kinds))
            row = found.add(float(line["due_s"]), kind)
            found.sent_s[row] = float(line["sent_s"] or UNKNOWN)
            found.ended_s[row] = float(line["ended_s"] or UNKNOWN)
            found.height[row] = int(line["height"] or 0)
            found.outcome[row] = Ending[line["outcome"]]
    found.names = list(kinds)
    return found


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run, over what was due in its measured window."""

    figures: dict[str, float]
    """By name; times are in milliseconds, as the names say."""
    is_bounded: frozenset[str]
    """Names of those latencies that are a lower bound: that many were never committed."""
    cause: str = ""
    """Why nothing was done, if nothing was."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of ordered values that at least a share of them do not exceed."""
    return ordered[rank(len(ordered), share) - 1] if ordered else UNKNOWN


def rank(count: int, share: float) -> int:
    """Return the least number of values, of so many, that are a share of them; at least one."""
    return max(1, math.ceil(count * share - 1e-9))


def median_figures(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the runs that have it."""
    values: dict[str, list[float]] = {}
    for figures in runs:
        for name, value in figures.items():
            if not math.isnan(value):
                values.setdefault(name, []).append(value)
    return {name: median(found) for name, found in values.items()}


SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999}


def summarise(
    records: Records,
    *,
    warm_up_s: float,
    duration_s: float,
    deadline_s: float,
    kind: int | None = None,
) -> Summary:
    """Return the figures of the work that was due after the warm-up, of one kind or of all.

    What has no end, as an interrupted run leaves it, is `waiting`, and counts in no other figure.
    Throughput counts what was committed or answered within the measured time, whenever it was due.
    """
    end_s = warm_up_s + duration_s
    all_rows = [row for row in range(len(records)) if kind is None or records.kind[row] == kind]
    due = [row for row in all_rows if warm_up_s <= records.due_s[row] < end_s]
    rows = [row for row in due if records.outcome[row] != Ending.WAITING]
    counts = Counter(records.outcome[row] for row in rows)
    latencies, lost = [], 0
    for row in rows:
        if records.outcome[row] in DONE:
            latencies.append(records.ended_s[row] - records.due_s[row])
        else:
            latencies.append(deadline_s)
            lost += 1
    latencies.sort()
    done_s = [records.ended_s[row] for row in all_rows if records.outcome[row] in DONE]
    within = sum(warm_up_s <= item < end_s for item in done_s)
    lags_ms = [
        (records.sent_s[row] - records.due_s[row]) * 1_000
        for row in all_rows
        if not math.isnan(records.sent_s[row])
    ]
    figures = {
        "scheduled": float(len(rows)),
        "sent": float(sum(not math.isnan(records.sent_s[row]) for row in rows)),
        "committed": float(counts[Ending.COMMITTED]),
        "answered": float(counts[Ending.ANSWERED]),
        "failed": float(counts[Ending.FAILED]),
        "refused": float(counts[Ending.REFUSED]),
        "timed_out": float(counts[Ending.TIMED_OUT]),
        "uncommitted": float(lost),
        "waiting": float(len(due) - len(rows)),
        "throughput_per_s": within / duration_s,
        "generator_lag_ms_max": max(lags_ms, default=0.0),
    }
    bounded: set[str] = set()
    if latencies:
        for name, share in SHARES.items():
            figures[name] = percentile(latencies, share) * 1_000
            if rank(len(latencies), share) > len(latencies) - lost:
                bounded.add(name)
        figures["mean_ms"] = math.fsum(latencies) / len(latencies) * 1_000
        figures["max_ms"] = latencies[-1] * 1_000
        bounded |= {"mean_ms", "max_ms"} if lost else set()
    return Summary(figures, frozenset(bounded))


def explain_nothing(figures: Mapping[str, float], refusal: str, faults: Sequence[str]) -> str:
    """Return why nothing of a run's load was done in the measured time; "" if something was.

    The figures are a summary's, with those of the whole run; `refusal` is what a node has said, and
    `faults` are what was done to nodes.
    """
    due = figures["scheduled"]
    if not due or figures["throughput_per_s"]:
        return ""
    if figures["refused"] * 2 > due:
        reason = refusal or "without a reason"
        return f"nodes refused {figures['refused']:,.0f} of {due:,.0f}: {reason}"
    if not figures["sent"]:
        return "nothing could be sent: no node took a connection"
    if figures["blocks"]:
        return (
            f"{figures['blocks']:,.0f} blocks came, without anything that was due: nodes that "
            "accept transactions do not pass them on, or others fill the blocks"
        )
    if faults:
        return f"no block came under the faults of the run: {'; '.join(faults)}"
    if figures["view_changes"]:
        return (
            f"no block came, and {figures['view_changes']:,.0f} views were given up: "
            "proposals came to no end in time. consensus_timeout_ms is too short for this network "
            "on this machine"
        )
    return "no block came, and the view did not change: too few validators were up, or linked"


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a run."""

    at_s: int
    due: int
    done: int
    """What was committed or answered in it, whenever it was due."""
    p50_ms: float
    """Of those that were due in it; NaN if none was, the deadline at least if it was not met."""
    p99_ms: float


def list_seconds(records: Records, deadline_s: float) -> list[Second]:
    """Return a run second by second, the warm-up and what was committed later included."""
    due: dict[int, list[float]] = {}
    done: Counter[int] = Counter()
    for row in range(len(records)):
        is_done = records.outcome[row] in DONE
        latency = records.ended_s[row] - records.due_s[row] if is_done else deadline_s
        due.setdefault(int(records.due_s[row]), []).append(latency)
        if is_done:
            done[int(records.ended_s[row])] += 1
    last = max((*due, *done), default=-1)
    found = []
    for at_s in range(last + 1):
        latencies = sorted(due.get(at_s, ()))
        found.append(
            Second(
                at_s,
                len(latencies),
                done[at_s],
                percentile(latencies, 0.5) * 1_000,
                percentile(latencies, 0.99) * 1_000,
            )
        )
    return found


def find_hangover(
    seconds: Iterable[Second], *, begins_s: float, ends_s: float, factor: float = 1.5
) -> float:
    """Return for how long after a fault the p99 stayed above its level before.

    NaN if it never came back, or there was no level.

    The level is the median p99 of the ten seconds before; back means three seconds in a row of at
    most `factor` times it. Times are seconds from the begin of the load.
    """
    rows = [item for item in seconds if item.due]
    before = sorted(item.p99_ms for item in rows if begins_s - 10 <= item.at_s < int(begins_s))
    if not before:
        return UNKNOWN
    level = before[len(before) // 2] * factor
    quiet = 0
    for item in rows:
        if item.at_s < int(ends_s):
            continue
        quiet = quiet + 1 if item.p99_ms <= level else 0
        if quiet == 3:
            return max(0.0, item.at_s - 2 - ends_s)
    return UNKNOWN
