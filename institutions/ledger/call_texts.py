"""What the calls of a proposal say: a voter reads them before voting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    Jurisdiction,
    OrgStatus,
    Role,
    Suite,
)
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.ledger.governance import Call

_CONTRACTS = {ORG_REGISTRY_ADDRESS: "OrgRegistry", GOVERNANCE_ADDRESS: "Governance"}


def describe_call(call: Call) -> str:
    """Return a call as its function and the values; an unknown call as its bytes."""
    read = _read_call(call)
    if read is None:
        return _show_bytes(call)
    name, values = read
    return f"{name}({', '.join(_show(value) for value in values.values())})"


def tell_call(call: Call, orgs: Mapping[int, str], schemas: Mapping[int, Schema]) -> str:
    """Return a call with the names of its parameters, and what their values stand for.

    `orgs` has the names of organisations, `schemas` what the reader knows, both by their number.
    """
    read = _read_call(call)
    if read is None:
        return f"unknown: {_show_bytes(call)}"
    name, values = read
    schema = schemas.get(values.get("schema", 0))
    meanings: dict[str, Callable[[Any], str]] = {
        "org": lambda number: orgs.get(number, "unknown here"),
        "schema": lambda _: schema.id if schema else "unknown here",
        "schemaHash": lambda rules: "as here" if schema and schema.digest == rules else "NOT here",
        "roles": lambda number: _name_of(Role, number),
        "status": lambda number: _name_of(OrgStatus, number),
        "suite": lambda number: _name_of(Suite, number),
        **dict.fromkeys(
            ("jurisdiction", "from", "to"),
            lambda number: _name_of(Jurisdiction, number) if number else "any",
        ),
    }
    told = (
        f"{key} {_show(value)}" + (f" ({meanings[key](value)})" if key in meanings else "")
        for key, value in values.items()
    )
    return f"{name}: {', '.join(told)}"


def _read_call(call: Call) -> tuple[str, dict[str, Any]] | None:
    """Return contract and function, and the values by parameter; None of an unknown call."""
    address, data = call
    contract = _CONTRACTS.get(address)
    if contract is None:
        return None
    artifact = load_artifact(contract)
    for function in artifact.functions.values():
        if data[:4] != function.selector:
            continue
        try:
            values = decode(function.input_types, data[4:])
        except (DecodingError, OverflowError, ValueError):
            return None
        if function.encode_call(*values) != data:
            return None  # what follows the values, or pads them, would not be shown
        (entry,) = (
            item
            for item in artifact.abi
            if item["type"] == "function" and item["name"] == function.name
        )
        names = [item["name"] for item in entry["inputs"]]
        return f"{contract}.{function.name}", dict(zip(names, values, strict=True))
    return None


def _name_of(kind: type[Enum], number: int) -> str:
    try:
        return kind(number).name or "none"
    except ValueError:
        return "unknown"


def _show(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def _show_bytes(call: Call) -> str:
    return f"0x{call[0].hex()} 0x{call[1].hex()}"
