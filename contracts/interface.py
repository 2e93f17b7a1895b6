"""Any contract by its ABI: arguments as people type them, results and reverts as they read them.

Artifacts of solc, Hardhat, Foundry and Truffle are read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from lowu.contracts.named import printable
from lowu.contracts.registry import decode_registry_error

DEPTH_MAX = 8
"""Most tuples within each other in an ABI."""
FIELDS_MAX = 200
"""Most members of a tuple, and inputs of a function."""
ITEMS_MAX = 10_000
"""Most items of an array of fixed size, with those of the arrays in it."""
DIGITS_MAX = 80
"""Most digits of an integer: 2^256 has 78."""
BITS_MAX = 256
BYTES_MAX = 32
NESTED_MAX = 500
"""Most lists and objects in one argument: deeper ones would exhaust the stack."""
SAFE_INTEGER = 2**53
"""From here on, a number is a text in JSON, as many readers round it."""
ERROR_SELECTOR = keccak(text="Error(string)")[:4]
PANIC_SELECTOR = keccak(text="Panic(uint256)")[:4]
PANICS = {
    0x00: "generic panic",
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "value outside an enumeration",
    0x22: "a storage byte array is encoded wrongly",
    0x31: "pop of an empty array",
    0x32: "index out of bounds",
    0x41: "too much memory",
    0x51: "call of an uninitialised function",
}
"""Solidity's panic codes."""
_INTEGER = re.compile(r"-?[0-9](_?[0-9])*\Z|-?0x[0-9a-fA-F]+\Z")
_ARRAY = re.compile(r"(.*)\[([0-9]*)\]\Z")
_TYPE = re.compile(r"(u?int|bytes)([0-9]+)\Z")
_KIND = re.compile(
    r"(address|bool|string|function|bytes|tuple|(?P<sized>u?int|bytes)(?P<size>[1-9][0-9]{0,2})"
    r"|u?fixed[1-9][0-9]{0,2}x[1-9][0-9]?)(?P<arrays>(\[([1-9][0-9]{0,4})?\]){0,8})\Z"
)

Resolve = Callable[[str], str]
"""Returns the address that a name stands for, or the text itself."""


class ContractMistake(ValueError):
    """A contract, function or argument that cannot be; the text says what would be right."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function, constructor, event or error of an ABI."""

    name: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    is_view: bool

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its inputs."""
        return tuple(collapse_if_tuple(item) for item in self.inputs)

    @property
    def signature(self) -> str:
        """Name and types, such as ``transfer(address,uint256)``."""
        return f"{self.name}({','.join(self.types)})"

    @property
    def usage(self) -> str:
        """The signature with the names of its inputs, for people."""
        named = zip(self.types, self.inputs, strict=True)
        told = (f"{kind} {item.get('name', '')}".strip() for kind, item in named)
        return f"{self.name}({', '.join(told)})"

    @property
    def topic(self) -> bytes:
        """Keccak-256 of the signature."""
        return keccak(text=self.signature)

    def encode_arguments(self, given: Sequence[str], resolve: Resolve) -> bytes:
        """Return arguments that a person typed, encoded; `ContractMistake` if one does not fit."""
        if len(given) != len(self.inputs):
            raise ContractMistake(
                f"{self.usage} takes {len(self.inputs)} arguments, and {len(given)} are given"
            )
        values = []
        for text, item in zip(given, self.inputs, strict=True):
            name = item.get("name") or "argument"
            try:
                values.append(_parse(text, item, resolve))
            except ContractMistake as error:
                raise ContractMistake(f"{self.usage}: {name}: {error}") from error
        try:
            return encode(self.types, values)
        except (EncodingError, ValueError, TypeError, OverflowError) as error:
            raise ContractMistake(f"{self.usage}: {error}") from error

    def decode_outputs(self, data: bytes) -> dict[str, Any]:
        """Return a call's results by name, or by number where they have none."""
        return _decode(self.outputs, data)


@dataclass(frozen=True, slots=True)
class Interface:
    """What a contract offers, and the code that creates it."""

    name: str
    functions: tuple[Entry, ...]
    events: tuple[Entry, ...]
    errors: tuple[Entry, ...]
    constructor: Entry
    bytecode: bytes
    abi: tuple[dict[str, Any], ...]

    def find_function(self, name: str, count: int) -> Entry:
        """Return a function by name or signature; of several, the one with `count` inputs."""
        found = [item for item in self.functions if name in (item.name, item.signature)]
        if len(found) > 1:
            found = [item for item in found if len(item.inputs) == count] or found
        if len(found) == 1:
            return found[0]
        if found:
            choices = ", ".join(item.signature for item in found)
            raise ContractMistake(f"{self.name} has several {name}: name one of {choices}")
        names = sorted({item.name for item in self.functions})
        close = get_close_matches(name, names, 1)
        mend = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}"
        raise ContractMistake(f"{self.name} has no function {name!r}; {mend}")

    def explain_revert(self, data: bytes) -> str:
        """Return why a call was reverted: the text, the panic, or the error by its name."""
        if not data:
            return "reverted without a reason"
        known = decode_registry_error(data)
        if known is not None:
            return f"RegistryError {known.name} ({int(known)})"
        try:
            if data[:4] == ERROR_SELECTOR:
                return printable(str(decode(["string"], data[4:])[0]))
            if data[:4] == PANIC_SELECTOR:
                code = int(decode(["uint256"], data[4:])[0])
                return f"panic 0x{code:02x}: {PANICS.get(code, 'unknown')}"
            for item in self.errors:
                if data[:4] == item.topic[:4]:
                    values = _decode(item.inputs, data[4:])
                    shown = ", ".join(f"{name}={value}" for name, value in values.items())
                    return f"{item.name}({shown})"
        except (DecodingError, ValueError, OverflowError):
            pass
        return f"reverted with 0x{data.hex()}"

    def decode_event(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any] | None:
        """Return an event's name and values; None if the contract has no such event."""
        for item in self.events:
            if not topics or topics[0] != item.topic:
                continue
            indexed = [field for field in item.inputs if field.get("indexed")]
            plain = [field for field in item.inputs if not field.get("indexed")]
            try:
                values = _decode(plain, data)
                for field, topic in zip(indexed, topics[1:], strict=True):
                    values[field.get("name", "")] = _decode_topic(field, topic)
            except (DecodingError, ValueError, OverflowError):
                return None
            order = [field.get("name", "") for field in item.inputs]
            named = {name: values[name] for name in order if name in values}
            return {"event": item.name, "values": {**named, **values}}
        return None


def read_artifact(raw: Any, name: str) -> Interface:
    """Return the contract in an artifact, or a bare ABI, called `name` if it does not say.

    Args:
        raw: the JSON value; its nesting is bounded already.
        name: what it is called if it does not say.

    Raises:
        ContractMistake: it is no artifact.
    """
    abi = raw.get("abi") if isinstance(raw, dict) else raw
    if not isinstance(abi, list) or not all(isinstance(item, dict) for item in abi):
        raise ContractMistake("not an artifact: an object with abi and bytecode, or an ABI")
    said = raw.get("contractName") if isinstance(raw, dict) else None
    return _build(abi, _read_bytecode(raw), said if isinstance(said, str) and said else name)


def _build(abi: list[dict[str, Any]], bytecode: bytes, name: str) -> Interface:
    def list_entries(kind: str) -> tuple[Entry, ...]:
        return tuple(_read_entry(item) for item in abi if item.get("type", "function") == kind)

    built = next(iter(list_entries("constructor")), Entry("constructor", (), (), False))
    functions, events, errors = map(list_entries, ("function", "event", "error"))
    return Interface(name, functions, events, errors, built, bytecode, tuple(abi))


def _read_entry(item: dict[str, Any]) -> Entry:
    is_view = item.get("stateMutability") in ("view", "pure") or item.get("constant") is True
    name = item.get("name", "constructor")
    if not isinstance(name, str):
        raise ContractMistake("its ABI is damaged: a name is no text")
    inputs, outputs = item.get("inputs", []), item.get("outputs", [])
    for fields in (inputs, outputs):
        _check_fields(fields, name, 0)
    return Entry(name, tuple(inputs), tuple(outputs), is_view)


def _check_fields(fields: object, where: str, depth: int) -> None:
    """Refuse types that Solidity does not have: to decode them takes for ever, or fails oddly."""
    if not isinstance(fields, list) or len(fields) > FIELDS_MAX or depth > DEPTH_MAX:
        raise ContractMistake(
            f"its ABI is damaged: {where} has no list of at most {FIELDS_MAX} fields, or more than "
            f"{DEPTH_MAX} tuples within each other"
        )
    for item in fields:
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str) or not _is_type(kind):
            raise ContractMistake(
                f"its ABI is damaged: {where} has a field of type {str(kind)[:60]!r}"
            )
        if not isinstance(item.get("name", ""), str):
            raise ContractMistake(f"its ABI is damaged: {where} has a field whose name is no text")
        if kind.startswith("tuple"):
            _check_fields(item.get("components"), where, depth + 1)


def _is_type(kind: str) -> bool:
    found = _KIND.match(kind)
    if found is None:
        return False
    sized, size = found["sized"], int(found["size"] or 8)
    is_fit = size <= BYTES_MAX if sized == "bytes" else size <= BITS_MAX and size % 8 == 0
    items = math.prod(int(count) for count in re.findall("[0-9]+", found["arrays"]))
    return (is_fit or not sized) and items <= ITEMS_MAX


def _read_bytecode(raw: Any) -> bytes:
    """Return the creation code, wherever a compiler puts it; empty if there is none."""
    found = raw.get("bytecode", raw.get("evm")) if isinstance(raw, dict) else None
    for key in ("bytecode", "object"):
        if isinstance(found, dict):
            found = found.get(key, found)
    if not isinstance(found, str):
        return b""
    try:
        return bytes.fromhex(found.removeprefix("0x"))
    except ValueError as error:
        is_unlinked = "__" in found
        why = "it needs libraries that are not linked" if is_unlinked else "it is not hex"
        raise ContractMistake(f"its bytecode cannot be used: {why}") from error


# --- values ---------------------------------------------------------------------------------------


def _parse(value: Any, field: dict[str, Any], resolve: Resolve) -> Any:
    """Return a value, typed by a person or from JSON, as its type needs it."""
    kind = field["type"]
    array = _ARRAY.match(kind)
    if array is not None:
        items = _read_json(value, "a JSON list, such as [1, 2]")
        if not isinstance(items, list) or (array[2] and len(items) != int(array[2])):
            raise ContractMistake(f"{kind} is a JSON list{' of ' + array[2] if array[2] else ''}")
        return [_parse(item, {**field, "type": array[1]}, resolve) for item in items]
    if kind == "tuple":
        return _parse_tuple(value, field, resolve)
    text = value if isinstance(value, str) else json.dumps(value)
    return _parse_plain(text, kind, resolve)


def _parse_tuple(value: Any, field: dict[str, Any], resolve: Resolve) -> tuple[Any, ...]:
    parts = field["components"]
    given = _read_json(value, "a JSON list or object of its members")
    if isinstance(given, dict):
        names = [part.get("name", "") for part in parts]
        if set(given) != set(names):
            raise ContractMistake(f"an object with {', '.join(names)}")
        given = [given[name] for name in names]
    if not isinstance(given, list) or len(given) != len(parts):
        raise ContractMistake(f"a tuple of {len(parts)} members")
    return tuple(_parse(item, part, resolve) for item, part in zip(given, parts, strict=True))


def _parse_plain(text: str, kind: str, resolve: Resolve) -> Any:
    size = _TYPE.match(kind)
    if kind == "string":
        return text
    if kind == "bool":
        if text not in ("true", "false"):
            raise ContractMistake(f"{text!r} is neither true nor false")
        return text == "true"
    if kind == "address":
        found = resolve(text)
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", found):
            raise ContractMistake(f"{text!r} is no address and no institution")
        return found.lower()
    if kind == "bytes" or (size is not None and size[1] == "bytes"):
        return _parse_bytes(text, kind, int(size[2]) if size is not None else None)
    if size is not None:
        return _parse_integer(text, size[1], int(size[2]))
    raise ContractMistake(f"type {kind} cannot be given here")


def _parse_bytes(text: str, kind: str, size: int | None) -> bytes:
    data: bytes | None
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = None
    if not text.startswith("0x") or data is None or (size is not None and len(data) != size):
        long = f"{size} bytes" if size is not None else "bytes"
        raise ContractMistake(f"{kind} is {long} in hex, such as 0x{'00' * (size or 2)}")
    return data


def _parse_integer(text: str, sign: str, bits: int) -> int:
    if not _INTEGER.match(text):
        raise ContractMistake(f"{text!r} is no whole number, such as 1000 or 0x3e8")
    digits = text.replace("_", "")
    number = int(digits, 0 if "x" in digits else 10) if len(digits) <= DIGITS_MAX else None
    low, high = (0, 2**bits) if sign == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if number is None or not low <= number < high:
        raise ContractMistake(f"{text[:DIGITS_MAX]} is outside the range of {sign}{bits}")
    return number


def _read_json(value: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    if value.count("[") + value.count("{") > NESTED_MAX:
        raise ContractMistake(f"more than {NESTED_MAX} lists and objects")
    try:
        return json.loads(value, parse_float=str)
    except ValueError as error:
        raise ContractMistake(f"{value!r} is not {what}") from error


def _decode(fields: Iterable[dict[str, Any]], data: bytes) -> dict[str, Any]:
    kinds = list(fields)
    values = decode([collapse_if_tuple(item) for item in kinds], data)
    shown: dict[str, Any] = {}
    for position, (item, value) in enumerate(zip(kinds, values, strict=True)):
        name = item.get("name") or str(position)
        shown[name if name not in shown else f"{name}_{position}"] = _show(value, item)
    return shown


def _show(value: Any, field: dict[str, Any]) -> Any:
    """Return a decoded value as JSON has it."""
    if isinstance(value, (list, tuple)):
        array = _ARRAY.match(field["type"])
        if array is not None:
            return [_show(item, {**field, "type": array[1]}) for item in value]
        parts = field.get("components", [])
        return {
            part.get("name") or str(place): _show(item, part)
            for place, (part, item) in enumerate(zip(parts, value, strict=True))
        }
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= SAFE_INTEGER:
        return str(value)
    return value


def _decode_topic(field: dict[str, Any], topic: bytes) -> Any:
    """Return an indexed value; of what has no fixed size, a topic is the hash."""
    if _is_dynamic(collapse_if_tuple(field)):
        return "0x" + topic.hex()
    return _decode([{**field, "name": "value"}], topic)["value"]


def _is_dynamic(kind: str) -> bool:
    return kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("(")
