"""What work costs: a model with a base and a price an item for each kind of work.

`lowu calibrate` measures a machine and writes the model to a file, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

from lowu.contracts.named import tell_unknown
from lowu.node.errors import ConfigError
from lowu.node.limits.json_limits import load_json
from lowu.node.metrics import Part

CORES_MAX = 4_096
COST_MAX_S = 60.0
FORM = 1


class Work(StrEnum):
    """Kinds of work. The first four are the parts that a node measures itself."""

    ADMISSION = Part.ADMISSION.value
    """Items are transactions, as of execution and storage."""
    EXECUTION = Part.EXECUTION.value
    CONSENSUS = Part.CONSENSUS.value
    """A message that is verified, or a step of the replica."""
    STORAGE = Part.STORAGE.value
    """A durable write."""
    LINK = "link"
    """A chunk of bytes that a node sends to another one, or receives; items are bytes."""
    REQUEST = "request"
    """An HTTP request to a node; items are the calls in it."""
    OFFER = "offer"
    """A request of the load generator; items are the calls in it."""
    RELAY = "relay"
    """A chunk of bytes that goes through a relay, as on links with a delay; items are bytes."""
    BLOCK = "block"
    """What a node does with a committed block besides; items are transactions."""
    IDLE = "idle"
    """A second of a node, whatever else happens in it."""


@dataclass(frozen=True, slots=True)
class WorkCost:
    """CPU seconds of one piece of work, and of each item in it; then seconds of waiting."""

    base_s: float = 0.0
    item_s: float = 0.0
    wait_s: float = 0.0
    """How long the node waits for its disk, leaving its core to others."""

    def of(self, items: int) -> float:
        """Return the CPU seconds of so many items."""
        return self.base_s + items * self.item_s


@dataclass(frozen=True, slots=True)
class CostModel:
    """What work costs on one machine."""

    cores: int
    """Number of cores that all processes share; 0 if each has a core of its own."""
    costs: Mapping[Work, WorkCost]
    hop_s: float = 0.0
    """How long it takes until a process, or a thread, runs for which something has come."""
    machine: str = ""
    """Which machine it was measured on."""

    def to_json(self) -> dict[str, Any]:
        """Return the model as a JSON value; times are in microseconds."""
        return {
            "form": FORM,
            "machine": self.machine,
            "cores": self.cores,
            "hop_us": round(self.hop_s * 1e6, 1),
            "costs_us": {
                work.value: {
                    "base": round(cost.base_s * 1e6, 4),
                    "item": round(cost.item_s * 1e6, 6),
                    "wait": round(cost.wait_s * 1e6, 1),
                }
                for work, cost in self.costs.items()
            },
        }


def average_models(first: CostModel, second: CostModel) -> CostModel:
    """Return the model halfway between two of one machine; `ConfigError` if the cores differ."""
    if first.cores != second.cores:
        raise ConfigError(
            f"costs for {first.cores} cores and for {second.cores} cannot be averaged: "
            "calibrate both on one machine"
        )
    costs = {
        work: WorkCost(*map(fmean, zip(astuple(cost), astuple(second.costs[work]), strict=True)))
        for work, cost in first.costs.items()
    }
    return CostModel(second.cores, costs, (first.hop_s + second.hop_s) / 2, second.machine)


def parse_costs(text: str, where: str) -> CostModel:
    """Return the model in a file's text; `ConfigError` says what is wrong with it."""
    try:
        raw = load_json(text.encode())
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; `lowu calibrate` writes a cost model") from error
    if not isinstance(raw, dict) or raw.get("form") != FORM:
        raise ConfigError(f"{where}: not a cost model of form {FORM}; `lowu calibrate` writes one")
    cores, table, hop = raw.get("cores"), raw.get("costs_us"), raw.get("hop_us", 0)
    if type(cores) is not int or not 0 <= cores <= CORES_MAX:
        raise ConfigError(f"{where}: cores must be a whole number in 0..{CORES_MAX}")
    hop_s = _read_time(hop, f"{where}: hop_us")
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: costs_us is missing")
    known = [item.value for item in Work]
    for name in table:
        if name not in known:
            raise ConfigError(f"{where}: {tell_unknown('kind of work', name, known)}")
    costs = {item: _read_cost(table.get(item.value), item, where) for item in Work}
    return CostModel(cores, costs, hop_s, str(raw.get("machine", "")))


def _read_cost(raw: object, work: Work, where: str) -> WorkCost:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: costs_us has no {work.value}")
    return WorkCost(
        *(
            _read_time(raw.get(key, 0.0), f"{where}: costs_us.{work.value}.{key}")
            for key in ("base", "item", "wait")
        )
    )


def _read_time(value: Any, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= COST_MAX_S * 1e6:
        raise ConfigError(f"{where} must be microseconds in 0..60,000,000")
    return float(value) / 1e6
