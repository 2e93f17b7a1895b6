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
from lowu.experiments.load.offered.mix import ALL_WORKLOADS
from lowu.experiments.load.planned.arrivals import (
    KINDS,
    PROFILES,
    ArrivalMistake,
    Arrivals,
    compress,
    read_offsets,
)
from lowu.experiments.load.planned.fault_tables import (
    TIME_MAX_S,
    PlannedFault,
    PlannedLink,
    read_fault,
    read_link,
)
from lowu.experiments.load.planned.file_table import FileTable
from lowu.experiments.load.planned.random_faults import RandomFaults, read_random_faults
from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError
from lowu.node.topology.toml_reader import TomlReader, parse_toml, read_toml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}\Z")
FAULTS_MAX = 100
LINKS_MAX = 100
TRACE_BYTES_MAX = 256 << 20
POINTS_MAX = 1_000
"""Most combinations of a sweep."""
RATE_MAX = 1_000_000.0
BOUND_MAX = 1e18
PROVIDERS = ("local", "sim")
GENERATORS_MAX = 64
SIGNING = ("ahead", "due")
"""When transactions are signed: before the load, or when they are due."""
OPERATORS = ("<=", ">=", "==", "<", ">")
FIGURES = (
    "scheduled", "sent", "committed", "answered", "failed", "refused", "timed_out", "uncommitted",
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
    generators: int = 1
    """How many processes offer it, in turns."""
    is_signed_ahead: bool = True
    """Whether what can be signed before the load is; else all is signed when it is due."""

    @property
    def offered_s(self) -> float:
        """How long transactions are due, the warm-up included."""
        return self.warm_up_s + self.duration_s


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
    links: tuple[PlannedLink, ...]
    faults: tuple[PlannedFault, ...]
    random_faults: RandomFaults | None
    expectations: tuple[Bound, ...]
    files: tuple[str, ...] = ()
    """Paths of the files that it names for its load and links, from its own folder on."""
    point: Mapping[str, Any] = field(default_factory=dict)
    """In a sweep: the values that are this combination's, by their paths."""


def parse_experiments(text: str, path: Path) -> tuple[Experiment, ...]:
    """Return the experiments of a file: one, or one for each combination of its sweep.

    Raises:
        ConfigError: every problem of the file, each with its line.
    """
    raw = parse_toml(text, path)
    reader = TomlReader(path, text)
    known = {
        "experiment", "network", "load", "link", "fault", "random_faults", "sweep", "expect",
    }  # fmt: skip
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
    table = FileTable(reader, "experiment", 0, raw.get("experiment"))
    table.only("name", "network", "provider", "costs", "repetitions", "seed")
    name = table.text("name", "")
    if "name" not in table.raw:
        table.tell("", 'name is missing; add name = "first"')
    elif not NAME.match(name):
        table.tell("name", "name must be 1 to 64 letters, digits, spaces, '.', '_' and '-'")
    provider = table.choice("provider", PROVIDERS, PROVIDERS[0])
    costs = table.text("costs", "")
    if costs and provider != "sim":
        table.tell("costs", 'costs are for provider = "sim": processes cost what they cost')
    load = _read_load(reader, raw.get("load"))
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
        load,
        tuple(
            read_link(FileTable(reader, "link", index, item))
            for index, item in enumerate(_list_tables(reader, raw, "link", LINKS_MAX))
        ),
        tuple(
            read_fault(FileTable(reader, "fault", index, item), load.offered_s)
            for index, item in enumerate(_list_tables(reader, raw, "fault", FAULTS_MAX))
        ),
        read_random_faults(FileTable(reader, "random_faults", 0, raw["random_faults"]))
        if "random_faults" in raw
        else None,
        tuple(_read_bounds(FileTable(reader, "expect", 0, raw.get("expect", {})))),
        tuple(_list_files(raw)),
        point,
    )


def _list_files(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths in what has been read without a problem."""
    load = raw.get("load")
    arrival = load.get("arrival") if isinstance(load, dict) else None
    links = raw.get("link")
    shaped = links if isinstance(links, list) else []
    for table, key in ((arrival, "file"), *((item, "trace") for item in shaped)):
        if isinstance(table, dict) and isinstance(table.get(key), str):
            yield table[key]


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


def _read_load(reader: TomlReader, raw: object) -> Load:
    table = FileTable(reader, "load", 0, raw)
    table.only(
        "workload", "arrival", "profile", "speed", "warm_up_s", "duration_s", "deadline_s",
        "lag_bound_ms", "generators", "signing",
    )  # fmt: skip
    return Load(
        _read_workload(reader, table),
        _read_arrivals(reader, table),
        table.number("warm_up_s", 5, 0, TIME_MAX_S),
        table.number("duration_s", 60, 0.1, TIME_MAX_S),
        table.number("deadline_s", 20, 0.1, 86_400),
        table.number("lag_bound_ms", 250, 1, 60_000),
        int(table.number("generators", 1, 1, GENERATORS_MAX, is_whole=True)),
        table.choice("signing", SIGNING, SIGNING[0]) == SIGNING[0],
    )


def _read_workload(reader: TomlReader, load: FileTable) -> dict[str, float]:
    if not isinstance(load.raw.get("workload"), dict):
        return {load.choice("workload", tuple(ALL_WORKLOADS), "register"): 1.0}
    table = FileTable(reader, "load.workload", 0, load.raw["workload"])
    for name in table.raw:
        if name not in ALL_WORKLOADS:
            table.tell(name, tell_unknown("workload", name, ALL_WORKLOADS))
    shares = {name: table.number(name, 0, 0, 1e6) for name in table.raw if name in ALL_WORKLOADS}
    found = {name: share for name, share in shares.items() if share > 0}
    if not found:
        table.tell("", "a mix of workloads needs at least one share above 0")
    return found or {"register": 1.0}


def _read_arrivals(reader: TomlReader, load: FileTable) -> Arrivals:
    speed = load.number("speed", 1, 1e-6, 1e9)
    if "profile" in load.raw:
        if "arrival" in load.raw:
            load.tell("profile", "give a profile or an arrival, not both")
        return compress(PROFILES[load.choice("profile", tuple(PROFILES), "pilot")], speed)
    if "arrival" not in load.raw:
        load.tell("", 'arrival is missing; add arrival = { kind = "poisson", rate = 100 }')
        return Arrivals()
    table = FileTable(reader, "load.arrival", 0, load.raw["arrival"])
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


def _read_trace(reader: TomlReader, table: FileTable) -> tuple[float, ...]:
    place = table.path("file")
    try:
        return read_offsets(read_given(place, TRACE_BYTES_MAX).decode().splitlines())
    except UnicodeDecodeError as error:
        table.tell("file", f"{place}: cannot be read ({error})")
    except FormError as error:
        table.tell("file", f"{place.parent / str(error)}")
    except ArrivalMistake as error:
        table.tell("file", f"{place}: {error}")
    return ()


def _read_bounds(table: FileTable) -> Iterator[Bound]:
    for figure, value in table.raw.items():
        if figure not in FIGURES:
            table.tell(figure, tell_unknown("figure", figure, FIGURES))
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not abs(value) <= BOUND_MAX:
                table.tell(figure, f"{figure} is a number up to {BOUND_MAX:g}, or a bound")
                continue
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
    for place in found:
        if any(other.startswith(f"{place}.") for other in found):
            reader.problem("sweep", 0, place, f"{place} holds another path of the sweep")
            return {}
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
    if isinstance(here, list) and last.isdecimal() and int(last) < len(here):
        here[int(last)] = value
    elif isinstance(here, dict):
        here[last] = value


def load_experiments(path: Path) -> tuple[Experiment, ...]:
    """Read and check an experiment file; see `parse_experiments`."""
    return parse_experiments(read_toml(path), path)
