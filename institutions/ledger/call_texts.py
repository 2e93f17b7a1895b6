"""What the calls of a proposal say: a voter reads them before voting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    GOVERNANCE_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    Jurisdiction,
    OrgStatus,
    Role,
    Suite,
)
from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.ledger.governance import Call

HEX_MAX = 2_000
"""Most digits that are shown of a call that cannot be read."""
_CONTRACTS = {
    ORG_REGISTRY_ADDRESS: "OrgRegistry",
    GOVERNANCE_ADDRESS: "Governance",
    CONSENSUS_ADDRESS: "Consensus",
}


def describe_call(call: Call) -> str:
    """Return a call as its function and the values; an unknown call as its bytes."""
    read = _read_call(call)
    if read is None:
        return _show_bytes(call)
    name, values = read
    return f"{name}({', '.join(_show(value) for value in values.values())})"


@dataclass(frozen=True, slots=True)
class KnownOrg:
    """What a reader knows of an organisation, to hold a proposal against."""

    name: str
    account: str = ""
    """The address of its account, 0x…; empty if it is not known."""
    public_key: bytes = b""
    """Its first document key; empty if it is not known."""


def tell_call(call: Call, orgs: Mapping[int, KnownOrg], schemas: Mapping[int, Schema]) -> str:
    """Return a call with the names of its parameters, and what their values stand for.

    `orgs` and `schemas` have what the reader knows, by number: the number is the proposer's choice,
    so that name, account, key and rules are told to be as here, or not.
    """
    read = _read_call(call)
    if read is None:
        return f"unknown: {_show_bytes(call)}"
    name, values = read
    schema = schemas.get(values.get("schema", 0))
    org = orgs.get(values.get("org", 0))
    is_first_key = values.get("keyId") == 1
    meanings: dict[str, Callable[[Any], str]] = {
        "org": lambda _: org.name if org else "unknown here",
        "metaHash": lambda name: _compare(name, keccak(text=org.name) if org else b""),
        "account": lambda account: _compare(account, org.account if org else ""),
        "publicKey": lambda key: _compare(key, org.public_key if org and is_first_key else b""),
        "schema": lambda _: schema.id if schema else "unknown here",
        "schemaHash": lambda rules: _compare(rules, schema.digest if schema else b"?"),
        "roles": lambda number: _name_of(Role, number),
        "status": lambda number: _name_of(OrgStatus, number),
        "suite": lambda number: _name_of(Suite, number),
        **dict.fromkeys(
            ("jurisdiction", "from", "to"),
            lambda number: _name_of(Jurisdiction, number) if number else "any",
        ),
    }
    told = (
        f"{key} {_show(value)}" + (f" ({meaning})" if meaning else "")
        for key, value in values.items()
        for meaning in [meanings[key](value) if key in meanings else ""]
    )
    return f"{name}: {', '.join(told)}"


def _compare(proposed: Any, known: bytes | str) -> str:
    """Return whether a value is the known one; nothing if none is known."""
    if not known:
        return ""
    return "as here" if proposed == known else "NOT here"


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
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, value))}]"
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def _show_bytes(call: Call) -> str:
    data = call[1].hex()
    more = f"… ({len(call[1])} bytes)" if len(data) > HEX_MAX else ""
    return f"0x{call[0].hex()} 0x{data[:HEX_MAX]}{more}"
