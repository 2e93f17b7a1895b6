"""The tables of an experiment file about what surrounds a network: its links and its faults."""

from __future__ import annotations

from dataclasses import dataclass

from lowu.contracts.named import tell_unknown
from lowu.contracts.registry import Jurisdiction
from lowu.experiments.load.planned.file_table import FileTable
from lowu.node.topology.link_shape import LinkShape
from lowu.node.topology.spec import LIES

TIME_MAX_S = 7 * 86_400.0
DELAY_MAX_MS = 600_000
HEIGHT_MAX = 2**53
FAULT_KINDS = ("kill", "pause", "throttle", "cut", "slow", "lie")
LINK_PRESETS = {
    "city": (0.5, 0.3),
    "line": (2.0, 0.5),
    "boundary": (8.0, 6.0),
    "wan": (80.0, 10.0),
}
"""Delay and jitter of one way, in ms. Round trips take up to 2 ms within a city, a few on a leased
line over the boundary, and 10 to 40 over the public network."""


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """How bytes travel between two sides, or within one."""

    between: tuple[str, str]
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
    """Nodes or institutions, ``leader`` or ``random``; the two sides of a cut."""
    for_s: float
    """How long it lasts; 0 if until the end of the run."""
    delay_ms: float = 0.0
    share: float = 0.0
    """Of a core, that a throttled node keeps."""
    how: str = ""
    """What a node does that lies."""
    is_one_way: bool = False
    """Whether a cut lets bytes from the second side to the first pass."""


def read_link(table: FileTable) -> PlannedLink:
    """Return what a [[link]] says."""
    table.only("between", "preset", "delay_ms", "jitter_ms", "loss", "bandwidth_mbit", "one_way")
    names = table.names("between")
    if len(names) != 2:
        table.tell("between", 'between is two sides, such as ["SZ", "HK"]')
        names = ("SZ", "HK")
    for name in names:
        if name not in Jurisdiction.__members__:
            table.tell("between", tell_unknown("side", name, Jurisdiction.__members__))
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
    )
    if not set(table.raw) - {"between", "one_way"}:
        table.tell("", "a link without delay_ms, jitter_ms, loss or bandwidth_mbit is as it was")
    is_one_way = table.flag("one_way")
    if is_one_way and names[0] == names[1]:
        table.tell("one_way", f"a link within {names[0]} has no direction")
    return PlannedLink((names[0], names[1]), shape, is_one_way)


def read_fault(table: FileTable) -> PlannedFault:
    """Return what a [[fault]] says."""
    kinds = [key for key in FAULT_KINDS if key in table.raw]
    table.only(
        "at_s", "at_height", "for_s", "restart_after_s", "delay_ms", "share", "how", "one_way",
        *FAULT_KINDS,
    )  # fmt: skip
    if len(kinds) != 1:
        table.tell("", f"a fault has one of {', '.join(FAULT_KINDS)}")
    if ("at_s" in table.raw) == ("at_height" in table.raw):
        table.tell("", "a fault begins at_s seconds, or at_height: give one of them")
    kind = kinds[0] if kinds else FAULT_KINDS[0]
    lasting = "restart_after_s" if kind == "kill" else "for_s"
    _check_keys(table, kind, lasting)
    targets = table.names(kind) if kinds else ()
    if kind == "cut" and kinds and len(targets) != 2:
        table.tell("cut", 'cut is two sides, such as ["SZ", "HK"]')
    return PlannedFault(
        table.number("at_s", 0, 0, TIME_MAX_S),
        int(table.number("at_height", 0, 0, HEIGHT_MAX, is_whole=True)),
        kind,
        targets,
        table.number(lasting, 0, 0, TIME_MAX_S),
        table.number("delay_ms", 0, 0, DELAY_MAX_MS),
        table.number("share", 0, 0.01, 0.99) if kind == "throttle" else 0.0,
        table.choice("how", tuple(LIES), next(iter(LIES))) if kind == "lie" else "",
        table.flag("one_way"),
    )


_OWN_KEYS = {"slow": "delay_ms", "throttle": "share", "lie": "how"}
"""By kind: the key that it needs."""
_MEANINGS = {
    "delay_ms": "by how much the nodes are slowed",
    "share": "how much of a core the nodes keep, such as 0.2",
    "how": f"what the nodes do: {', '.join(LIES)}",
}


def _check_keys(table: FileTable, kind: str, lasting: str) -> None:
    other = "for_s" if kind == "kill" else "restart_after_s"
    if other in table.raw:
        table.tell(other, f"how long a {kind} lasts is {lasting}")
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
