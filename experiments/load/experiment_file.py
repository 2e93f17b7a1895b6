"""Experiment files: what is to be measured, in TOML, with every mistake told at its line.

docs/EXPERIMENTS.md describes the form. A sweep is written as paths into the file, each with its
values; every combination is an experiment of its own.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowu.contracts.named import tell_unknown
from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.schema_tables import tell_value
from lowu.experiments.load.arrivals import (
    KINDS,
    PROFILES,
    ArrivalMistake,
    Arrivals,
    compress,
    read_offsets,
)
from lowu.experiments.load.workloads import WORKLOADS
from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError
from lowu.node.topology.toml_reader import TomlReader, parse_toml, read_toml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}\Z")
FAULTS_MAX = 100
LINKS_MAX = 100
TRACE_BYTES_MAX = 256 << 20
POINTS_MAX = 1_000
"""Most combinations of a sweep."""
TIME_MAX_S = 7 * 86_400.0
RATE_MAX = 1_000_000.0
FAULT_KINDS = ("kill", "pause", "cut", "slow")
LINK_PRESETS = {
    "city": (0.5, 0.3),
    "line": (2.0, 0.5),
    "boundary": (8.0, 6.0),
    "wan": (80.0, 10.0),
}
"""Delay and jitter of one way, in ms. Round trips take up to 2 ms within a city, a few on a leased
line over the boundary, and 10 to 40 over the public network."""
PROVIDERS = ("local", "sim")
OPERATORS = ("<=", ">=", "==", "<", ">")
FIGURES = (
    "scheduled", "sent", "committed", "failed", "refused", "timed_out", "uncommitted",
    "throughput_per_s", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "mean_ms",
    "generator_lag_ms_max", "view_changes", "blocks",
)  # fmt: skip
"""The figures of a run that `[expect]` can hold to a bound."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is offered, and when. Times are seconds."""

    workload: Mapping[str, float]
    """Workloads by name, with the share of each."""
    arrivals: Arrivals
    warm_up_s: float
    duration_s: float
    deadline_s: float
    """From the time at which a transaction is due: uncommitted after it, it has timed out."""
    lag_bound_ms: float
    """A run whose generator ever lags by more behind its schedule is invalid."""

    @property
    def offered_s(self) -> float:
        """How long transactions are due, the warm-up included."""
        return self.warm_up_s + self.duration_s


@dataclass(frozen=True, slots=True)
class LinkShape:
    """How bytes travel between two sides, or from and to single nodes."""

    between: tuple[str, str]
    delay_ms: float
    jitter_ms: float


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault of a run. Times are seconds from the begin of the load, the warm-up included."""

    at_s: float
    kind: str
    targets: tuple[str, ...]
    """Nodes or institutions, ``leader`` or ``random``; the two sides of a cut."""
    for_s: float
    """How long it lasts; 0 if until the end of the run."""
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on a figure."""

    figure: str
    operator: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound."""
        match self.operator:
            case "<=":
                return value <= self.bound
            case ">=":
                return value >= self.bound
            case "<":
                return value < self.bound
            case ">":
                return value > self.bound
        return value == self.bound

    def __str__(self) -> str:
        return f"{self.figure} {self.operator} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment: a network, a load, faults, and what is expected."""

    name: str
    network: str
    """A bundled network, or the path of a network file."""
    changes: Mapping[str, Any]
    """Settings of the network that differ from its file."""
    repetitions: int
    seed: int
    provider: str
    """``local``: processes; ``sim``: virtual time, with a model of what work costs."""
    costs: Path | None
    """The file of that model; none for the one that comes with Lowu."""
    load: Load
    links: tuple[LinkShape, ...]
    faults: tuple[PlannedFault, ...]
    expectations: tuple[Bound, ...]
    point: Mapping[str, Any] = field(default_factory=dict)
    """In a sweep: the values that are this combination's, by their paths."""


def parse_experiments(text: str, path: Path) -> tuple[Experiment, ...]:
    """Return the experiments of a file: one, or one for each combination of its sweep.

    Raises:
        ConfigError: every problem of the file, each with its line.
    """
    raw = parse_toml(text, path)
    reader = TomlReader(path, text)
    known = {"experiment", "network", "load", "link", "fault", "sweep", "expect"}
    reader.unknown_keys("", 0, raw, known)
    sweep = _read_sweep(reader, raw)
    base = {key: value for key, value in raw.items() if key != "sweep"}
    found = [_read_experiment(reader, base, {})]
    reader.finish()
    if sweep:
        found = []
        for point in _list_points(sweep):
            changed = deepcopy(base)
            for place, value in point.items():
                _put(changed, place, value)
            found.append(_read_experiment(reader, changed, point))
        reader.finish()
    return tuple(found)


def _read_experiment(
    reader: TomlReader, raw: Mapping[str, Any], point: Mapping[str, Any]
) -> Experiment:
    table = _Table(reader, "experiment", 0, raw.get("experiment"))
    table.only("name", "network", "provider", "costs", "repetitions", "seed")
    name = table.text("name", "")
    if not NAME.match(name):
        table.tell("name", "name must be 1 to 64 letters, digits, spaces, '.', '_' and '-'")
    provider = table.choice("provider", PROVIDERS, PROVIDERS[0])
    costs = table.text("costs", "")
    if costs and provider != "sim":
        table.tell("costs", 'costs are for provider = "sim": processes cost what they cost')
    changes = raw.get("network", {})
    if not isinstance(changes, dict):
        reader.problem("", 0, "network", "[network] is a table of settings that differ")
        changes = {}
    return Experiment(
        name,
        table.text("network", "load-4"),
        changes,
        int(table.number("repetitions", 1, 1, 1_000, is_whole=True)),
        int(table.number("seed", 1, 0, 2**32, is_whole=True)),
        provider,
        reader.path.parent / costs if costs else None,
        _read_load(reader, raw.get("load")),
        tuple(
            _read_link(_Table(reader, "link", index, item))
            for index, item in enumerate(_list_tables(reader, raw, "link", LINKS_MAX))
        ),
        tuple(
            _read_fault(_Table(reader, "fault", index, item))
            for index, item in enumerate(_list_tables(reader, raw, "fault", FAULTS_MAX))
        ),
        tuple(_read_bounds(_Table(reader, "expect", 0, raw.get("expect", {})))),
        point,
    )


def _list_tables(
    reader: TomlReader, raw: Mapping[str, Any], name: str, count_max: int
) -> list[Any]:
    found = raw.get(name, [])
    if not isinstance(found, list):
        reader.problem(name, 0, "", f"write [[{name}]], as there may be several")
        return []
    if len(found) > count_max:
        reader.problem(name, count_max, "", f"more than {count_max} [[{name}]] tables")
    return found[:count_max]


class _Table:
    """A table of the file, whose values are read with their bounds."""

    def __init__(self, reader: TomlReader, name: str, index: int, raw: object) -> None:
        self._reader, self._name, self._index = reader, name, index
        self.raw: dict[str, Any] = raw if isinstance(raw, dict) else {}
        if not isinstance(raw, dict):
            reader.problem(name, index, "", f"table [{name}] is missing")

    def tell(self, key: str, text: str) -> None:
        self._reader.problem(self._name, self._index, key, text)

    def only(self, *known: str) -> None:
        self._reader.unknown_keys(self._name, self._index, self.raw, set(known))

    def text(self, key: str, default: str) -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str):
            self.tell(key, f"{key} must be a text, not {tell_value(value)}")
            return default
        return value

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        value = self.text(key, default)
        if value not in choices:
            self.tell(key, tell_unknown(key, value, choices))
            return default
        return value

    def number(
        self, key: str, default: float, low: float, high: float, *, is_whole: bool = False
    ) -> float:
        value = self.raw.get(key, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or (is_whole and not isinstance(value, int)):
            what = "a whole number" if is_whole else "a number"
            self.tell(key, f"{key} must be {what}, not {tell_value(value)}")
            return default
        if math.isnan(value) or not low <= value <= high:
            self.tell(key, f"{key} must be in {low:g}..{high:g}, not {tell_value(value)}")
            return default
        return value if is_whole else float(value)

    def names(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key)
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            self.tell(key, f"{key} must be a name, or a list of names")
            return ()
        return tuple(value)


def _read_load(reader: TomlReader, raw: object) -> Load:
    table = _Table(reader, "load", 0, raw)
    table.only(
        "workload", "arrival", "profile", "speed", "warm_up_s", "duration_s", "deadline_s",
        "lag_bound_ms",
    )  # fmt: skip
    return Load(
        _read_workload(reader, table),
        _read_arrivals(reader, table),
        table.number("warm_up_s", 5, 0, TIME_MAX_S),
        table.number("duration_s", 60, 0.1, TIME_MAX_S),
        table.number("deadline_s", 20, 0.1, 86_400),
        table.number("lag_bound_ms", 250, 1, 60_000),
    )


def _read_workload(reader: TomlReader, load: _Table) -> dict[str, float]:
    if not isinstance(load.raw.get("workload"), dict):
        return {load.choice("workload", tuple(WORKLOADS), "register"): 1.0}
    table = _Table(reader, "load.workload", 0, load.raw["workload"])
    for name in table.raw:
        if name not in WORKLOADS:
            table.tell(name, tell_unknown("workload", name, WORKLOADS))
    shares = {name: table.number(name, 0, 0, 1e6) for name in table.raw if name in WORKLOADS}
    found = {name: share for name, share in shares.items() if share > 0}
    if not found:
        table.tell("", "a mix of workloads needs at least one share above 0")
    return found or {"register": 1.0}


def _read_arrivals(reader: TomlReader, load: _Table) -> Arrivals:
    speed = load.number("speed", 1, 1e-6, 1e9)
    if "profile" in load.raw:
        if "arrival" in load.raw:
            load.tell("profile", "give a profile or an arrival, not both")
        return compress(PROFILES[load.choice("profile", tuple(PROFILES), "pilot")], speed)
    if "arrival" not in load.raw:
        load.tell("", 'arrival is missing; add arrival = { kind = "poisson", rate = 100 }')
        return Arrivals()
    table = _Table(reader, "load.arrival", 0, load.raw["arrival"])
    if not isinstance(load.raw["arrival"], dict):
        return Arrivals()
    kind = table.choice("kind", tuple(KINDS), "constant")
    table.only("kind", *KINDS[kind])
    for key in KINDS[kind]:
        if key not in table.raw:
            table.tell("", f"an arrival of kind {kind} needs {key}")
    offsets: tuple[float, ...] = ()
    if kind == "replay" and "file" in table.raw:
        offsets = _read_trace(reader, table)
    found = Arrivals(
        kind,
        table.number("rate", 100, 0 if kind == "ramp" else 1e-6, RATE_MAX),
        table.number("to_rate", 100, 1e-6, RATE_MAX),
        table.number("burst_s", 1, 1e-3, TIME_MAX_S),
        table.number("pause_s", 1, 0, TIME_MAX_S),
        table.number("peak", 2, 1, 100),
        table.number("period_s", 86_400, 1e-3, TIME_MAX_S),
        int(table.number("clients", 1, 1, 1_000, is_whole=True)),
        offsets,
    )
    return compress(found, speed)


def _read_trace(reader: TomlReader, table: _Table) -> tuple[float, ...]:
    place = reader.path.parent / table.text("file", "")
    try:
        return read_offsets(read_given(place, TRACE_BYTES_MAX).decode().splitlines())
    except UnicodeDecodeError as error:
        table.tell("file", f"{place}: cannot be read ({error})")
    except FormError as error:
        table.tell("file", f"{place.parent / str(error)}")
    except ArrivalMistake as error:
        table.tell("file", f"{place}: {error}")
    return ()


def _read_link(table: _Table) -> LinkShape:
    table.only("between", "preset", "delay_ms", "jitter_ms")
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
    if not delay and not jitter:
        table.tell("", "a link without delay_ms and jitter_ms is as it was")
    return LinkShape((names[0], names[1]), delay, jitter)


def _read_fault(table: _Table) -> PlannedFault:
    kinds = [key for key in FAULT_KINDS if key in table.raw]
    table.only("at_s", "for_s", "restart_after_s", "delay_ms", *FAULT_KINDS)
    if len(kinds) != 1:
        table.tell("", f"a fault has one of {', '.join(FAULT_KINDS)}")
    if "at_s" not in table.raw:
        table.tell("", "at_s is missing: when the fault begins")
    kind = kinds[0] if kinds else FAULT_KINDS[0]
    lasting = "restart_after_s" if kind == "kill" else "for_s"
    other = "for_s" if kind == "kill" else "restart_after_s"
    if other in table.raw:
        table.tell(other, f"how long a {kind} lasts is {lasting}")
    if kind in ("pause", "slow", "cut") and lasting not in table.raw:
        table.tell("", f"{lasting} is missing: how long the {kind} lasts")
    targets = table.names(kind) if kinds else ()
    if kind == "cut" and kinds and len(targets) != 2:
        table.tell("cut", 'cut is two sides, such as ["SZ", "HK"]')
    if kind == "slow" and "delay_ms" not in table.raw:
        table.tell("", "delay_ms is missing: by how much the nodes are slowed")
    return PlannedFault(
        table.number("at_s", 0, 0, TIME_MAX_S),
        kind,
        targets,
        table.number(lasting, 0, 0, TIME_MAX_S),
        table.number("delay_ms", 0, 0, 600_000),
    )


def _read_bounds(table: _Table) -> Iterator[Bound]:
    for figure, value in table.raw.items():
        if figure not in FIGURES:
            table.tell(figure, tell_unknown("figure", figure, FIGURES))
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield Bound(figure, "==", float(value))
            continue
        text = value.strip() if isinstance(value, str) else ""
        operator = next((item for item in OPERATORS if text.startswith(item)), "")
        try:
            bound = float(text.removeprefix(operator)) if operator else math.nan
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            table.tell(figure, f'{figure} is a number, or a bound such as "<= 500"')
            continue
        yield Bound(figure, operator, bound)


# --- sweeps -------------------------------------------------------------------------------------


def _read_sweep(reader: TomlReader, raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    table = raw.get("sweep", {})
    if not isinstance(table, dict):
        reader.problem("sweep", 0, "", "[sweep] is a table of paths, each with a list of values")
        return {}
    found: dict[str, list[Any]] = {}
    for place, values in _flatten(table):
        if not isinstance(values, list) or not values:
            reader.problem("sweep", 0, place, f"{place} needs a list of values")
        elif not _is_there(raw, place):
            reader.problem(
                "sweep", 0, place,
                f"{place}: the file has nothing there; give the value of the first point in its "
                "own table",
            )  # fmt: skip
        else:
            found[place] = values
    if math.prod(len(values) for values in found.values()) > POINTS_MAX:
        reader.problem("sweep", 0, "", f"more than {POINTS_MAX} combinations")
        return {}
    return found


def _flatten(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _list_points(sweep: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _step(here: Any, step: str) -> Any:
    if isinstance(here, list) and step.isdecimal() and int(step) < len(here):
        return here[int(step)]
    return here.get(step) if isinstance(here, dict) else None


def _is_there(raw: Mapping[str, Any], place: str) -> bool:
    here: Any = raw
    for step in place.split("."):
        here = _step(here, step)
    return here is not None


def _put(raw: dict[str, Any], place: str, value: Any) -> None:
    *above, last = place.split(".")
    here: Any = raw
    for step in above:
        here = _step(here, step)
    if isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value


def load_experiments(path: Path) -> tuple[Experiment, ...]:
    """Read and check an experiment file; see `parse_experiments`."""
    return parse_experiments(read_toml(path), path)
