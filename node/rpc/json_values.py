"""Hex strings in and out of JSON, with errors that name the parameter."""

from __future__ import annotations

import re
from typing import Any

from lowu.node.rpc.rpc_errors import invalid_params

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")


def _from_hex(text: str) -> bytes | None:
    """Return the bytes in 0x…, None if it is anything else."""
    try:
        found = bytes.fromhex(text[2:])
    except ValueError:
        return None
    # Spaces between bytes are skipped there; then it is shorter than the text says.
    return found if text.startswith("0x") and 2 * len(found) + 2 == len(text) else None


def to_quantity(number: int) -> str:
    """Return a number as hex without leading zeros."""
    return hex(number)


def to_data(data: bytes) -> str:
    """Return bytes as hex."""
    return "0x" + data.hex()


def parse_quantity(value: object, what: str) -> int:
    """Return the number in a hex quantity (leading zeros are accepted, as clients send them)."""
    if not isinstance(value, str) or not _QUANTITY.match(value):
        raise invalid_params(f"{what}: expected a hex quantity such as 0x1, got {show(value)}")
    return int(value, 16)


def parse_data(value: object, what: str, size: int | None = None) -> bytes:
    """Return the bytes in a hex string, of a given size if one is given."""
    found = _from_hex(value) if isinstance(value, str) else None
    if found is None:
        raise invalid_params(f"{what}: expected hex data such as 0x1234, got {show(value)}")
    if size is not None and len(found) != size:
        raise invalid_params(f"{what}: expected {size} bytes, got {len(found)}")
    return found


def parse_address(value: object, what: str = "address") -> bytes:
    """Return the 20 bytes of an address."""
    return parse_data(value, what, 20)


def parse_flag(value: object, what: str) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise invalid_params(f"{what}: expected true or false, got {show(value)}")
    return value


def show(value: Any) -> str:
    """Return a client's value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
