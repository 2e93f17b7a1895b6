"""Changes of a network file: single settings set in its text, and how two files differ."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from lowu.contracts.schemas.document_schema import Schema
from lowu.node.errors import ConfigError
from lowu.node.settings import SETTINGS
from lowu.node.topology.spec import Institution, NetworkSpec

CHAIN_IDS = range(1_000_000, 2**31)
"""From which a network without a number draws one: none is a public chain's in wide use."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two network files say differently."""

    what: str
    held: str
    wanted: str
    is_fixed: bool
    """Whether a chain that has started keeps it for good."""

    def __str__(self) -> str:
        return f"{self.what}: {self.held} here, {self.wanted} in what was asked for"


def set_values(text: str, pairs: Sequence[str]) -> str:
    """Return a network file's text with settings ``key=value`` in its table [network].

    Raises:
        ConfigError: a pair has another form, its key is unknown, or the text is no TOML.
    """
    if not pairs:
        return text
    values = {}
    for pair in pairs:
        key, separator, value = (part.strip() for part in pair.partition("="))
        if not separator or key not in SETTINGS or not value.isprintable():
            close = get_close_matches(key, SETTINGS, 1)
            mend = f"did you mean {close[0]}?" if close else f"known: {', '.join(SETTINGS)}"
            raise ConfigError(f"--set {pair!r}: use key=value with a key of [network]; {mend}")
        values[key] = _read_value(key, value)
    return _write_values(text, values)


def _read_value(key: str, value: str) -> Any:
    """Return a value as TOML has it; what is no TOML is a text, or a list of one text."""
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except (ValueError, RecursionError):
        return [value] if SETTINGS[key].kind is list else value


def _write_values(text: str, values: Mapping[str, Any]) -> str:
    """Return a TOML text with values in its table [network], and all else as it was."""
    try:
        document = tomlkit.parse(text)
        network = document.setdefault("network", tomlkit.table())
        for key, value in values.items():
            network[key] = value
        written = tomlkit.dumps(document)
        before = tomllib.loads(text).get("network", {})
        if tomllib.loads(written)["network"] != {**before, **values}:
            raise ValueError("a value would not be what was given")
    except (TOMLKitError, ValueError, TypeError, AttributeError, RecursionError) as error:
        names = ", ".join(values)
        raise ConfigError(f"{names} cannot be put into the network file: {error}") from error
    return written


def with_chain_id(text: str) -> str:
    """Return a network file's text with a number of its own that transactions are signed for.

    Two networks on one machine are then never taken for each other. A file that names its number
    keeps it.
    """
    if _states(text, "web3_chain_id"):
        return text
    return _write_values(text, {"web3_chain_id": secrets.choice(CHAIN_IDS)})


def _states(text: str, key: str) -> bool:
    try:
        network = tomllib.loads(text).get("network", {})
    except (ValueError, RecursionError):
        return True  # it is refused when it is read
    return isinstance(network, dict) and key in network


def find_differences(held: NetworkSpec, wanted: NetworkSpec, wanted_text: str) -> list[Difference]:
    """Return how what is asked for differs from the network that a folder holds."""
    return [
        *_compare_settings(held, wanted, wanted_text),
        *_compare_named("institution", held.institutions, wanted.institutions, "id"),
        *_compare_named("node of", held.nodes, wanted.nodes, "institution"),
        *_compare_named("schema", held.schemas, wanted.schemas, "id"),
        *_compare_routes(held, wanted),
    ]


def _compare_settings(
    held: NetworkSpec, wanted: NetworkSpec, wanted_text: str
) -> Iterator[Difference]:
    for key, setting in SETTINGS.items():
        before, after = getattr(held.settings, key), getattr(wanted.settings, key)
        is_drawn = key == "web3_chain_id" and not _states(wanted_text, key)
        if before != after and not is_drawn:
            yield Difference(key, _tell(before), _tell(after), setting.is_fixed)


_NAMES = ("name", "name_zh")
"""What people call something: nothing on the chain follows from it."""


def _compare_named(
    kind: str, held: Sequence[Any], wanted: Sequence[Any], key: str
) -> Iterator[Difference]:
    before = {getattr(item, key): item for item in held}
    after = {getattr(item, key): item for item in wanted}
    if list(before) != list(after) and before.keys() == after.keys():
        yield Difference(f"order of each {kind}", ", ".join(before), ", ".join(after), True)
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in before or name not in after:
            there = ("not", "there") if name not in before else ("there", "not")
            yield Difference(f"{kind} {name}", *there, True)
            continue
        for part in fields(before[name]):
            one, other = getattr(before[name], part.name), getattr(after[name], part.name)
            if one != other:
                is_name = part.name in _NAMES and isinstance(before[name], (Institution, Schema))
                what = f"{part.name} of {kind} {name}"
                yield Difference(what, _tell(one), _tell(other), not is_name)


def _compare_routes(held: NetworkSpec, wanted: NetworkSpec) -> Iterator[Difference]:
    before, after = (
        ", ".join(sorted(f"{start.name} to {end.name}" for start, end in spec.routes)) or "none"
        for spec in (held, wanted)
    )
    if before != after:
        yield Difference("routes", before, after, True)


def _tell(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "…"
