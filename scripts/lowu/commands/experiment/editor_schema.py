"""A JSON Schema of experiment files, with which editors complete and check them.

It says less than `parse_experiments`, which knows the network too: bounds and names, no more.
"""

from __future__ import annotations

from typing import Any

from lowu.experiments.load.offered.mix import ALL_WORKLOADS
from lowu.experiments.load.planned.arrivals import KINDS, PROFILES
from lowu.experiments.load.planned.experiment_file import (
    FIGURES,
    GENERATORS_MAX,
    PROVIDERS,
    SIGNING,
)
from lowu.experiments.load.planned.fault_tables import FAULT_KINDS, LINK_PRESETS
from lowu.experiments.load.planned.random_faults import KINDS_DRAWN
from lowu.node.settings import SETTINGS
from lowu.node.topology.spec import LIES

_NUMBER = {"type": "number", "minimum": 0}
_NAMES = {
    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}
_ENDS = {"type": "array", "items": _NAMES, "minItems": 2, "maxItems": 2}


def build_editor_schema() -> dict[str, Any]:
    """Return the schema, as a JSON value."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lowu experiment",
        **_table(
            {
                "experiment": _experiment(),
                "network": _network(),
                "load": _load(),
                "link": {"type": "array", "items": _link()},
                "fault": {"type": "array", "items": _fault()},
                "random_faults": _random_faults(),
                "sweep": {"type": "object"},
                "expect": _table(
                    {name: {"type": ["number", "string"]} for name in FIGURES},
                ),
            },
            "experiment",
            "load",
        ),
    }


def _table(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**found, "required": list(required)} if required else found


def _experiment() -> dict[str, Any]:
    return _table(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 64},
            "network": {"type": "string", "description": "a bundled network, or a file"},
            "provider": {"enum": list(PROVIDERS)},
            "costs": {"type": "string", "description": "a file that `lowu calibrate` wrote"},
            "repetitions": {"type": "integer", "minimum": 1, "maximum": 1_000},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**32},
        },
        "name",
    )


def _random_faults() -> dict[str, Any]:
    kinds = {"type": "array", "items": {"enum": list(KINDS_DRAWN)}, "minItems": 1}
    return _table({"kinds": kinds, "every_s": _NUMBER, "for_s": _NUMBER})


def _network() -> dict[str, Any]:
    kinds = {bool: "boolean", int: "integer", str: "string", list: "array"}
    return _table(
        {
            key: {"type": kinds[setting.kind], "description": setting.meaning}
            for key, setting in SETTINGS.items()
        }
    )


def _load() -> dict[str, Any]:
    shares = _table(dict.fromkeys(ALL_WORKLOADS, _NUMBER))
    names = sorted({key for keys in KINDS.values() for key in keys} - {"file"})
    arrival = _table(
        {
            "kind": {"enum": list(KINDS)},
            "file": {"type": "string"},
            **dict.fromkeys(names, _NUMBER),
        },
        "kind",
    )
    times = ("warm_up_s", "duration_s", "deadline_s", "lag_bound_ms", "speed")
    return _table(
        {
            "workload": {"oneOf": [{"enum": list(ALL_WORKLOADS)}, shares]},
            "arrival": arrival,
            "profile": {"enum": list(PROFILES)},
            "generators": {"type": "integer", "minimum": 1, "maximum": GENERATORS_MAX},
            "signing": {"enum": list(SIGNING)},
            **dict.fromkeys(times, _NUMBER),
        }
    )


def _link() -> dict[str, Any]:
    return _table(
        {
            "between": _ENDS,
            "preset": {"enum": list(LINK_PRESETS)},
            "delay_ms": _NUMBER,
            "jitter_ms": _NUMBER,
            "trace": {"type": "string", "description": "a file with seconds,milliseconds a line"},
            "loss": {"type": "number", "minimum": 0, "maximum": 0.5},
            "bandwidth_mbit": _NUMBER,
            "one_way": {"type": "boolean"},
        },
        "between",
    )


def _fault() -> dict[str, Any]:
    return _table(
        {
            "at_s": _NUMBER,
            "at_height": {"type": "integer", "minimum": 0},
            "for_s": _NUMBER,
            "restart_after_s": _NUMBER,
            "delay_ms": _NUMBER,
            "ahead_ms": {"type": "integer"},
            "share": {"type": "number", "minimum": 0.01, "maximum": 0.99},
            "how": {"enum": list(LIES)},
            "one_way": {"type": "boolean"},
            **{kind: _ENDS if kind == "cut" else _NAMES for kind in FAULT_KINDS},
        }
    )
