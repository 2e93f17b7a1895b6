"""The network file: read, checked, and explained when wrong.

One TOML file describes institutions, nodes and settings. Every error names the file, the line,
the problem and the remedy; all errors of a file are reported at once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lowu.consensus.quorum import compute_quorum
from lowu.contracts.registry import Jurisdiction, Role
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import Schema
from lowu.contracts.schemas.schema_tables import read_schema, tell_value
from lowu.node.config import parse_rpc_host, parse_rpc_origin
from lowu.node.settings import SETTINGS, Kept
from lowu.node.topology.toml_reader import TomlReader, parse_toml, read_toml

NODES_MAX = 128
INSTITUTIONS_MAX = 200
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")
SCHEMAS_MAX = 200
ROUTES = (
    (Jurisdiction.SZ, Jurisdiction.HK), (Jurisdiction.HK, Jurisdiction.SZ),
    (Jurisdiction.SZ, Jurisdiction.MO), (Jurisdiction.MO, Jurisdiction.SZ),
)  # fmt: skip
"""Routes (from, to) for documents, in a file that names none; others need a vote."""
CHAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}\Z")
LIES = {
    "equivocate": "as leader, it proposes one block to some and another one to the others",
    "withhold": "as leader, it proposes nothing",
    "delay": "as leader, it proposes late",
    "wrong-result": "it reports another result of each block than its own",
    "censor": "as leader, it leaves out the transactions of every other account",
}
"""What nodes do that lie, where `allow_lies` is set (`node/simulation/byzantine.py`)."""


@dataclass(frozen=True, slots=True)
class Institution:
    """An organisation: its identity, its roles, and the node that it uses."""

    id: str
    side: Jurisdiction
    roles: Role
    schemas: tuple[str, ...]
    client_of: str
    """Institution whose node it uses; itself if it runs one."""
    name: str
    name_zh: str


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node: its owner, and whether it votes."""

    institution: str
    is_validator: bool
    weight: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a chain and its nodes."""

    name: str
    seed: int
    chain_id: str = "chain0"
    group_id: str = "group0"
    web3_chain_id: int = 20200
    genesis_time_ms: int = 1_700_000_000_000
    tx_gas_limit: int = 30_000_000
    block_tx_count_limit: int = 1_000
    leader_period: int = 1
    consensus_timeout_ms: int = 3_000
    min_seal_time_ms: int = 50
    pipeline_size: int = 50
    pool_limit: int = 15_000
    history_blocks: int = 256
    snapshot_blocks: int = 1_000
    scrub_s: int = 60
    keep_blocks: int = 0
    p2p_port: int = 30_300
    rpc_port: int = 20_200
    web3_port: int = 8_545
    rpc_hosts: tuple[str, ...] = ()
    rpc_origins: tuple[str, ...] = ()
    tap: bool = False
    allow_lies: bool = False
    allow_one_side_quorum: bool = False

    @property
    def kept(self) -> Kept:
        """What its nodes keep besides the chain."""
        return Kept(self.history_blocks, self.snapshot_blocks, self.scrub_s, self.keep_blocks)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A checked network file."""

    settings: Settings
    institutions: tuple[Institution, ...]
    nodes: tuple[NodeSpec, ...]
    schemas: tuple[Schema, ...] = ()
    """The file's own schemas, besides those that come with Lowu."""
    routes: tuple[tuple[Jurisdiction, Jurisdiction], ...] = ROUTES
    """From and to: where documents may be used at genesis, besides within one jurisdiction."""

    def institution(self, name: str) -> Institution:
        """Return an institution by id; KeyError if there is none."""
        for item in self.institutions:
            if item.id == name:
                return item
        raise KeyError(name)


_LIST_KEYS = {"rpc_hosts": parse_rpc_host, "rpc_origins": parse_rpc_origin}


def load_spec(path: Path) -> NetworkSpec:
    """Read and check a network file; `ConfigError` lists every problem with its line."""
    return parse_spec(read_toml(path), path)


def load_schemas(path: Path) -> tuple[Schema, ...]:
    """Read and check a file of ``[[schema]]`` tables, as a network file has them."""
    text = read_toml(path)
    raw = parse_toml(text, path)
    reader = TomlReader(path, text)
    reader.unknown_keys("", 0, raw, {"schema"})
    found = _read_schemas(reader, raw.get("schema", []))
    reader.finish()
    return found


def parse_spec(text: str, path: Path) -> NetworkSpec:
    """Check the text of a network file."""
    raw = parse_toml(text, path)
    reader = TomlReader(path, text)
    reader.unknown_keys("", 0, raw, {"network", "institution", "node", "schema", "route"})
    settings = _read_settings(reader, raw.get("network"))
    schemas = _read_schemas(reader, raw.get("schema", []))
    routes = _read_routes(reader, raw["route"]) if "route" in raw else ROUTES
    known = {**SCHEMAS, **{schema.id: schema for schema in schemas}}
    institutions = _read_institutions(reader, raw.get("institution"), known)
    told = len(reader.problems)
    nodes = _read_nodes(reader, raw.get("node"), {item.id for item in institutions})
    if len(reader.problems) == told:  # else clients of a misspelt node would be told of as well
        _check_clients(reader, institutions, {node.institution for node in nodes})
    reader.finish()
    _check_sides(reader, settings, institutions, nodes)
    _check_ports(reader, settings, len(nodes))
    reader.finish()
    return NetworkSpec(settings, institutions, nodes, schemas, routes)


def _read_settings(reader: TomlReader, raw: Any) -> Settings:
    if not isinstance(raw, dict):
        reader.problem("network", 0, "", "table [network] with name and seed is missing")
        return Settings("", 0)
    reader.unknown_keys("network", 0, raw, set(SETTINGS))
    for key in ("name", "seed"):
        if key not in raw:
            reader.problem("network", 0, "", f"{key} is missing; add {key} = …")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        kind = SETTINGS[key].kind if key in SETTINGS else None
        if kind is str:
            if not isinstance(value, str) or not CHAIN_NAME.match(value):
                reader.problem(
                    "network", 0, key, f"{key} must be 1 to 32 letters, digits, '.', '_' or '-'"
                )
            values[key] = value
        elif kind in (int, bool):
            values[key] = _read_number(reader, key, value)
        elif kind is list:
            values[key] = _read_names(reader, key, value)
    settings = Settings(**{"name": "", "seed": 0, **values})
    if problem := settings.kept.find_problem():
        reader.problem("network", 0, "keep_blocks", problem)
    return settings


def _read_number(reader: TomlReader, key: str, value: object) -> int:
    setting = SETTINGS[key]
    kind, low, high = setting.kind, setting.low, setting.high
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, int):
        wanted = "true or false" if kind is bool else "an integer"
        reader.problem("network", 0, key, f"{key} must be {wanted}, not {tell_value(value)}")
        return low
    if not low <= value <= high:
        reader.problem(
            "network", 0, key, f"{key} must be in {low}..{high}, not {tell_value(value)}"
        )
    return value


def _read_names(reader: TomlReader, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        reader.problem("network", 0, key, f'{key} must be a list such as ["…", "…"]')
        return ()
    try:
        return tuple(_LIST_KEYS[key](item) for item in value)
    except ValueError as error:
        reader.problem("network", 0, key, f"{key}: {error}")
        return ()


def _tables(reader: TomlReader, table: str, raw: object, count_max: int) -> list[dict[str, Any]]:
    if not isinstance(raw, list) or not raw or not all(isinstance(item, dict) for item in raw):
        reader.problem(table, 0, "", f"at least one [[{table}]] table is needed")
        return []
    if len(raw) > count_max:
        reader.problem(table, count_max, "", f"more than {count_max} [[{table}]] tables")
    return raw[:count_max]


def _read_schemas(reader: TomlReader, raw: object) -> tuple[Schema, ...]:
    found: list[Schema] = []
    for index, item in enumerate(_tables(reader, "schema", raw, SCHEMAS_MAX) if raw != [] else []):
        told = len(reader.problems)

        def tell(table: str, key: str, text: str, index: int = index) -> None:
            reader.problem(table, index, key, text)

        schema = read_schema(item, tell)
        if len(reader.problems) > told:
            found.append(schema)  # so that its id is known to its issuers; the file is refused
            continue
        for other in (*SCHEMAS.values(), *found):
            if other.id == schema.id:
                tell("schema", "id", f"id {schema.id!r} is taken; raise its version")
            elif other.number == schema.number:
                tell("schema", "number", f"number {schema.number} is that of {other.id}; change it")
        found.append(schema)
    return tuple(found)


def _read_routes(reader: TomlReader, raw: object) -> tuple[tuple[Jurisdiction, Jurisdiction], ...]:
    found: dict[tuple[Jurisdiction, Jurisdiction], None] = {}
    for index, item in enumerate(_tables(reader, "route", raw, len(Jurisdiction) ** 2)):
        reader.unknown_keys("route", index, item, {"from", "to"})
        ends = [item.get("from"), item.get("to")]
        names = set(Jurisdiction.__members__)
        wrong = [end for end in ends if not (isinstance(end, str) and end in names)]
        if None in ends:
            reader.problem("route", index, "", "name both from and to: SZ, HK, MO or SG")
        elif wrong:
            reader.problem(
                "route", index, "", f"from and to are SZ, HK, MO or SG, not {wrong[0]!r}"
            )
        elif ends[0] == ends[1]:
            reader.problem("route", index, "", f"within {ends[0]}, documents may always be used")
        else:
            found[Jurisdiction[str(ends[0])], Jurisdiction[str(ends[1])]] = None
    return tuple(found)


def _read_institutions(
    reader: TomlReader, raw: object, schemas: Mapping[str, Schema]
) -> tuple[Institution, ...]:
    found: list[Institution] = []
    known = {"id", "side", "roles", "schemas", "client_of", "name", "name_zh"}
    for index, item in enumerate(_tables(reader, "institution", raw, INSTITUTIONS_MAX)):
        reader.unknown_keys("institution", index, item, known)
        name = item.get("id")
        if not isinstance(name, str) or not NAME.match(name):
            reader.problem(
                "institution", index, "id", "id must be lower-case letters, digits and '-'"
            )
            continue
        if any(other.id == name for other in found):
            reader.problem("institution", index, "id", f"id {name!r} is used twice; rename one")
        found.append(_read_institution(reader, index, name, item, schemas))
    return tuple(found)


def _read_institution(
    reader: TomlReader, index: int, name: str, item: dict[str, Any], known: Mapping[str, Schema]
) -> Institution:
    side = str(item.get("side"))
    if side not in Jurisdiction.__members__:
        reader.problem(
            "institution", index, "side", f"side must be one of SZ, HK, MO, SG, not {side!r}"
        )
        side = "SZ"
    roles = Role(0)
    for role in _strings(reader, index, item, "roles"):
        if role not in Role.__members__:
            names = ", ".join(Role.__members__)
            reader.problem(
                "institution", index, "roles", f"role {role!r} is unknown; known: {names}"
            )
        else:
            roles |= Role[role]
    schemas = _strings(reader, index, item, "schemas")
    for schema in schemas:
        rules = known.get(schema)
        if rules is None:
            names = ", ".join(known)
            reader.problem(
                "institution", index, "schemas", f"schema {schema!r} is unknown; known: {names}"
            )
        elif rules.jurisdiction not in (None, Jurisdiction[side]):
            reader.problem(
                "institution",
                index,
                "schemas",
                f"{schema} is issued in {rules.jurisdiction.name} only, and {name} is of {side}",
            )
    if schemas and Role.ISSUER not in roles:
        reader.problem(
            "institution", index, "schemas", "only an ISSUER has schemas; add the role or drop them"
        )
    return Institution(
        id=name,
        side=Jurisdiction[side],
        roles=roles,
        schemas=tuple(schemas),
        client_of=str(item.get("client_of", name)),
        name=str(item.get("name", name)),
        name_zh=str(item.get("name_zh", "")),
    )


def _strings(reader: TomlReader, index: int, item: dict[str, Any], key: str) -> list[str]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        reader.problem("institution", index, key, f'{key} must be a list such as ["…", "…"]')
        return []
    return value


def _read_nodes(reader: TomlReader, raw: object, known: set[str]) -> tuple[NodeSpec, ...]:
    found: list[NodeSpec] = []
    for index, item in enumerate(_tables(reader, "node", raw, NODES_MAX)):
        reader.unknown_keys("node", index, item, {"institution", "kind", "weight"})
        owner = item.get("institution")
        if not isinstance(owner, str) or owner not in known:
            close = get_close_matches(str(owner), known, 1)
            mend = f"did you mean {close[0]!r}?" if close else "add an [[institution]] for it"
            reader.problem(
                "node", index, "institution", f"institution {owner!r} is unknown; {mend}"
            )
        if any(other.institution == owner for other in found):
            reader.problem("node", index, "institution", f"{owner!r} has two nodes; remove one")
        kind = item.get("kind", "consensus")
        if kind not in ("consensus", "observer"):
            reader.problem("node", index, "kind", "kind must be 'consensus' or 'observer'")
        weight = item.get("weight", 1)
        if type(weight) is not int or not 1 <= weight <= 10_000:
            reader.problem("node", index, "weight", "weight must be an integer in 1..10000")
            weight = 1
        found.append(NodeSpec(str(owner), kind == "consensus", weight))
    if found and not any(node.is_validator for node in found):
        reader.problem("node", 0, "kind", "no node votes; make at least one kind = 'consensus'")
    return tuple(found)


def _check_clients(
    reader: TomlReader, institutions: tuple[Institution, ...], with_node: set[str]
) -> None:
    for index, item in enumerate(institutions):
        if item.client_of not in with_node:
            mend = f"client_of must name one of {', '.join(sorted(with_node))}"
            reader.problem(
                "institution", index, "client_of", f"{item.id} has no node of its own; {mend}"
            )


def _check_ports(reader: TomlReader, settings: Settings, nodes: int) -> None:
    """Report ports that two kinds of listeners would take."""
    firsts = {key: getattr(settings, key) for key in ("p2p_port", "rpc_port", "web3_port")}
    for (key, first), (other, second) in itertools.combinations(firsts.items(), 2):
        if abs(first - second) < nodes:
            text = f"{other} {second} is within {nodes} of {key}: each node takes one more port"
            reader.problem("network", 0, other, text)


def _check_sides(
    reader: TomlReader,
    settings: Settings,
    institutions: tuple[Institution, ...],
    nodes: tuple[NodeSpec, ...],
) -> None:
    """Report a side of the boundary that could commit alone, unless the file allows that."""
    side_of = {item.id: item.side for item in institutions}
    weights: dict[Jurisdiction, int] = {}
    for node in nodes:
        if node.is_validator:
            side = side_of[node.institution]
            weights[side] = weights.get(side, 0) + node.weight
    quorum = compute_quorum(sum(weights.values()))
    for side, weight in weights.items():
        if weight >= quorum and not settings.allow_one_side_quorum:
            reader.problem(
                "node",
                0,
                "",
                f"the {side.name} side has weight {weight} and could reach the quorum of {quorum} "
                "alone; add validators on the other side, or set allow_one_side_quorum = true "
                "in [network]",
            )
