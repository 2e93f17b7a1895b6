"""Encoding and decoding of contract calls, from the committed artifacts.

A `Function` knows its selector and types, so callers pass and receive Python values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a contract."""

    name: str
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]
    selector: bytes

    def encode_call(self, *arguments: object) -> bytes:
        """Return the call data for these arguments; ValueError or TypeError if they do not fit."""
        return self.selector + encode(self.input_types, arguments)

    def decode_output(self, data: bytes) -> tuple[Any, ...]:
        """Return the values in a call's return data."""
        values: tuple[Any, ...] = decode(self.output_types, data)
        return values


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a contract."""

    name: str
    topic: bytes
    indexed_types: tuple[str, ...]
    data_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract."""

    name: str
    abi: Sequence[dict[str, Any]]
    bytecode: bytes
    functions: dict[str, Function]
    events: dict[str, Event]

    def encode_deploy(self, types: Sequence[str], arguments: Sequence[object]) -> bytes:
        """Return creation code followed by encoded constructor arguments."""
        return self.bytecode + encode(types, arguments)


def _types(parameters: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(collapse_if_tuple(item) for item in parameters)


def _signature(item: dict[str, Any]) -> bytes:
    return keccak(text=f"{item['name']}({','.join(_types(item['inputs']))})")


@cache
def load_artifact(name: str) -> Artifact:
    """Return the committed artifact of a contract, such as ``HashRegistry``."""
    text = (
        resources.files("lowu.contracts")
        .joinpath("artifacts", f"{name}.json")
        .read_text(encoding="utf-8")
    )
    raw = json.loads(text)
    functions, events = {}, {}
    for item in raw["abi"]:
        if item["type"] == "function":
            functions[item["name"]] = Function(
                item["name"],
                _types(item["inputs"]),
                _types(item["outputs"]),
                _signature(item)[:4],
            )
        elif item["type"] == "event":
            events[item["name"]] = Event(
                item["name"],
                _signature(item),
                _types([field for field in item["inputs"] if field["indexed"]]),
                _types([field for field in item["inputs"] if not field["indexed"]]),
            )
    bytecode = bytes.fromhex(raw["bytecode"][2:])
    return Artifact(name, raw["abi"], bytecode, functions, events)
