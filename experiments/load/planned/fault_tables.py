"""The tables of an experiment file about what surrounds a network: its links and its faults."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from lowu.contracts.named import tell_unknown
from lowu.contracts.registry import Jurisdiction
from lowu.experiments.load.planned.file_table import FileTable
from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError
from lowu.node.topology.faults.link_shape import LinkShape
from lowu.node.topology.spec import LIES

TIME_MAX_S = 7 * 86_400.0
DELAY_MAX_MS = 600_000
HEIGHT_MAX = 2**53
FAULT_KINDS = ("kill", "pause", "throttle", "cut", "slow", "disk", "clock", "lie")
AHEAD_MAX_MS = 86_400_000
LASTS_LEAST_S = 0.01
_DELAYS = {"slow": (0.01, DELAY_MAX_MS), "disk": (1, 10_000)}
"""The least and the most delay of a kind of fault, in ms."""
TRACE_BYTES_MAX = 16 << 20
LINK_PRESETS = {
    "city": (0.5, 0.3),
    "line": (2.0, 0.5),
    "boundary": (8.0, 6.0),
    "wan": (80.0, 10.0),
}
"""Delay and jitter of one way, in ms. Round trips take up to 2 ms within a city, a few on a leased
line over the boundary, and 10 to 40 over the public network."""


Ends: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""What stands at the two ends of some links: sides, institutions or nodes."""


def tell_end(end: Iterable[str]) -> str:
    """Return what stands at an end, for people."""
    return "+".join(end)


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """How bytes travel between two ends, or within one."""

    between: Ends
    shape: LinkShape
    is_one_way: bool
    """Whether only bytes from the first to the second do."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault of a run. Times are seconds from the begin of the load, the warm-up included."""

    at_s: float
    at_height: int
    """The height of the chain at which it begins; 0 if it begins at a time."""
    kind: str
    targets: tuple[str, ...]
    """Nodes or institutions, ``leader`` or ``random``; of a cut, what stands at its two ends."""
    for_s: float
    """How long it lasts; 0 if until the end of the run."""
    delay_ms: float = 0.0
    share: float = 0.0
    """Of a core, that a throttled node keeps."""
    how: str = ""
    """What a node does that lies."""
    is_one_way: bool = False
    """Whether a cut lets bytes from the second end to the first pass."""
    ends: Ends = ((), ())
    """Of a cut."""
    ahead_ms: int = 0
    """By how much a clock is shifted."""


def read_link(table: FileTable) -> PlannedLink:
    """Return what a [[link]] says."""
    table.only(
        "between", "preset", "delay_ms", "jitter_ms", "trace", "loss", "bandwidth_mbit", "one_way"
    )
    ends = _read_ends(table, "between")
    delay = table.number("delay_ms", 0, 0, 60_000)
    jitter = table.number("jitter_ms", 0, 0, 60_000)
    if "preset" in table.raw:
        if "delay_ms" in table.raw or "jitter_ms" in table.raw:
            table.tell("preset", "give a preset, or delay_ms and jitter_ms, not both")
        delay, jitter = LINK_PRESETS[table.choice("preset", tuple(LINK_PRESETS), "city")]
    shape = LinkShape(
        delay / 1_000,
        jitter / 1_000,
        table.number("loss", 0, 0, 0.5),
        table.number("bandwidth_mbit", 0, 0, 1e6) * 1e6 / 8,
        _read_trace(table) if "trace" in table.raw else (),
    )
    if not set(table.raw) - {"between", "one_way"}:
        table.tell(
            "", "a link needs at least one of delay_ms, jitter_ms, trace, loss and bandwidth_mbit"
        )
    is_one_way = table.flag("one_way")
    if is_one_way and ends[0] == ends[1]:
        table.tell("one_way", f"a link within {tell_end(ends[0])} has no direction")
    return PlannedLink(ends, shape, is_one_way)


def _read_trace(table: FileTable) -> tuple[tuple[float, float], ...]:
    """Return the rows of a trace: seconds, and the delay of one way in ms from then on."""
    place = table.path("trace")
    found: list[tuple[float, float]] = []
    try:
        lines = read_given(place, TRACE_BYTES_MAX).decode().splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            at_s, delay_ms = (float(item) for item in line.split(","))
            is_later = found[-1][0] < at_s < math.inf if found else at_s == 0
            if not is_later or not 0 <= delay_ms <= DELAY_MAX_MS:
                raise ValueError(
                    f"line {number}: times begin with 0 and grow, and delays are ms up to "
                    f"{DELAY_MAX_MS}"
                )
            found.append((at_s, delay_ms / 1_000))
    except FormError as error:
        table.tell("trace", f"{place.parent / str(error)}")
    except (UnicodeDecodeError, ValueError) as error:
        table.tell("trace", f"{place}: each line is seconds,milliseconds ({error})")
    else:
        if len(found) > 1:
            return tuple(found)
        table.tell("trace", f"{place}: a trace has at least two lines, the last of which ends it")
    return ()


def _read_ends(table: FileTable, key: str) -> Ends:
    """Return two ends; a name in capitals is a side's, and others are known by the network."""
    ends = table.ends(key)
    for name in (*ends[0], *ends[1]):
        if name.isupper() and name not in Jurisdiction.__members__:
            table.tell(key, tell_unknown("side", name, Jurisdiction.__members__))
    return ends


def read_fault(table: FileTable, end_s: float) -> PlannedFault:
    """Return what a [[fault]] says; the load ends at `end_s`."""
    kinds = [key for key in FAULT_KINDS if key in table.raw]
    table.only(
        "at_s", "at_height", "for_s", "restart_after_s", "delay_ms", "ahead_ms", "share", "how",
        "one_way", *FAULT_KINDS,
    )  # fmt: skip
    if len(kinds) != 1:
        table.tell("", f"a fault has one of {', '.join(FAULT_KINDS)}")
    if ("at_s" in table.raw) == ("at_height" in table.raw):
        table.tell("", "a fault begins at_s seconds, or at_height: give one of them")
    at_s = table.number("at_s", 0, 0, TIME_MAX_S)
    if at_s >= end_s:
        table.tell("at_s", f"at_s = {at_s:g} is after the end of the load, at {end_s:g} s")
    kind = kinds[0] if kinds else FAULT_KINDS[0]
    lasting = "restart_after_s" if kind == "kill" else "for_s"
    _check_keys(table, kind, lasting)
    ends: Ends = _read_ends(table, "cut") if kind == "cut" else ((), ())
    if kind == "cut":
        targets = tuple(map(tell_end, ends))
        if set(ends[0]) & set(ends[1]):
            table.tell("cut", f"{tell_end(ends[0])} is not cut off from itself")
    else:
        targets = table.names(kind) if kinds else ()
    return PlannedFault(
        at_s,
        int(table.number("at_height", 0, 0, HEIGHT_MAX, is_whole=True)),
        kind,
        targets,
        table.number(lasting, 0, 0 if kind == "kill" else LASTS_LEAST_S, TIME_MAX_S),
        table.number("delay_ms", 0, *_DELAYS.get(kind, (0, DELAY_MAX_MS))),
        table.number("share", 0, 0.01, 0.99) if kind == "throttle" else 0.0,
        table.choice("how", tuple(LIES), next(iter(LIES))) if kind == "lie" else "",
        table.flag("one_way"),
        ends,
        _read_ahead(table) if kind == "clock" else 0,
    )


def _read_ahead(table: FileTable) -> int:
    found = int(table.number("ahead_ms", 0, -AHEAD_MAX_MS, AHEAD_MAX_MS, is_whole=True))
    if found == 0 and "ahead_ms" in table.raw:
        table.tell("ahead_ms", "a clock that is 0 ms ahead is as it was")
    return found


_OWN_KEYS = {
    "slow": "delay_ms", "disk": "delay_ms", "clock": "ahead_ms", "throttle": "share", "lie": "how"
}  # fmt: skip
"""By kind: the key that it needs."""
_MEANINGS = {
    "delay_ms": "by how much the nodes' links, or disks, are slowed",
    "ahead_ms": "by how much the nodes' clocks are ahead; below 0, behind",
    "share": "how much of a core the nodes keep, such as 0.2",
    "how": f"what the nodes do: {', '.join(LIES)}",
}


def _check_keys(table: FileTable, kind: str, lasting: str) -> None:
    other = "for_s" if kind == "kill" else "restart_after_s"
    if other in table.raw:
        table.tell(other, f"use {lasting}, not {other}, with {kind}")
    if kind != "kill" and lasting not in table.raw:
        table.tell("", f"{lasting} is missing: how long the {kind} lasts")
    own = _OWN_KEYS.get(kind)
    if own is not None and own not in table.raw:
        table.tell("", f"{own} is missing: {_MEANINGS[own]}")
    for key, meaning in _MEANINGS.items():
        if key in table.raw and key != own:
            table.tell(key, f"a {kind} has no {key} ({meaning})")
    if table.raw.get("one_way") and kind != "cut":
        table.tell("one_way", f"a {kind} has no direction")
