"""``config.ini`` (this node) and ``config.genesis`` (the same on every node).

Both use FISCO BCOS's section and key names where these exist. Reading checks everything and
errors name the file, section and key; writing is the inverse of reading. Organisations enrolled
at genesis are in ``[registry]``, one JSON object a line.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from lowu.consensus.validators import WEIGHT_MAX
from lowu.contracts.registry import Jurisdiction
from lowu.node.errors import ConfigError
from lowu.node.genesis_config import (
    GENESIS_FORMAT,
    GENESIS_FORMAT_MIN,
    GenesisConfig,
    OrgEntry,
    SchemaEntry,
)
from lowu.node.settings import (
    BLOCK_GAS_MAX,
    BLOCK_TX_COUNT_MAX,
    SETTINGS,
    TX_GAS_LIMIT_MIN,
    Kept,
)

T = TypeVar("T")

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[A-Za-z0-9._\[\]:-]{1,253}")
"""Neither `*` nor `null`: they would match any page."""


class Engine(StrEnum):
    """The EVM that runs contracts. All give the same results."""

    COMPILED = "compiled"
    INTERPRETED = "interpreted"
    BOTH = "both"
    """Each message runs in both, and a difference stops the node."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The configuration of one node. Times are in milliseconds."""

    name: str
    folder: Path
    listen_host: str
    p2p_port: int
    rpc_port: int
    web3_port: int
    peers: tuple[tuple[str, int], ...]
    min_seal_time_ms: int = 50
    consensus_timeout_ms: int = 3_000
    pipeline_size: int = 50
    pool_limit: int = 15_000
    tx_expiration_s: int = 600
    kept: Kept = field(default_factory=Kept)
    evm: Engine = Engine.COMPILED
    rpc_hosts: tuple[str, ...] = ()
    """Names, besides those of this machine, under which JSON-RPC is served."""
    rpc_origins: tuple[str, ...] = ()
    """Origins whose pages may use JSON-RPC, such as http://localhost:3000."""
    tap: bool = False
    """Copy all bytes sent or received, unencrypted, to log/tap.bin."""
    allow_lies: bool = False
    """Whether clients may have this node lie, for experiments."""
    is_newcomer: bool = False
    """Whether the node is not in config.genesis, and waits until the group adds it."""
    log_level: str = "info"

    @property
    def data_path(self) -> Path:
        """Folder of the database."""
        return self.folder / "data"

    @property
    def conf_path(self) -> Path:
        """Folder of keys and certificates."""
        return self.folder / "conf"

    @property
    def log_path(self) -> Path:
        """Folder of logs."""
        return self.folder / "log"


class _Section:
    """Reads one section with errors that name file, section and key."""

    def __init__(self, path: Path, parser: configparser.ConfigParser, name: str) -> None:
        self._where = f"{path}: [{name}]"
        if not parser.has_section(name):
            raise ConfigError(f"{path}: section [{name}] is missing")
        self.values = dict(parser[name])

    def error(self, key: str, problem: str) -> ConfigError:
        return ConfigError(f"{self._where} {key}: {problem}")

    def text(self, key: str) -> str:
        if key not in self.values:
            raise self.error(key, "is missing")
        return self.values[key]

    def address(self, key: str) -> str:
        """Read an IP address of this machine, or 0.0.0.0 for all."""
        try:
            return str(ip_address(self.text(key)))
        except ValueError as error:
            raise self.error(key, f"{self.values[key]!r} is not an IP address") from error

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        if key not in self.values and default is not None:
            return default
        try:
            value = int(self.text(key))
        except ValueError as error:
            raise self.error(key, f"{self.values[key]!r} is not an integer") from error
        if not low <= value <= high:
            raise self.error(key, f"{value} is outside {low}..{high}")
        return value

    def setting(self, name: str, default: int | None = None) -> int:
        """Return a setting, as `SETTINGS` describes it; the default, if the file is older."""
        known = SETTINGS[name]
        return self.integer(known.ini.partition(".")[2], known.low, known.high, default)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, "true" if default else "false")
        if value not in ("true", "false"):
            raise self.error(key, f"{value!r} is neither true nor false")
        return value == "true"

    def listed(self, prefix: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Return prefix.0, prefix.1, … parsed; a ValueError of `parse` is reported with the key."""
        found: list[T] = []
        while (key := f"{prefix}.{len(found)}") in self.values:
            try:
                found.append(parse(self.values[key]))
            except (ValueError, TypeError, KeyError) as error:
                raise self.error(key, f"cannot be read ({error})") from error
        return tuple(found)

    def names(self, key: str, parse: Callable[[str], str]) -> tuple[str, ...]:
        """Return a comma-separated list, parsed; () if the key is missing."""
        try:
            return tuple(parse(item) for item in self.values.get(key, "").replace(",", " ").split())
        except ValueError as error:
            raise self.error(key, str(error)) from error


def parse_rpc_host(text: str) -> str:
    """Return a host's name or address; ValueError if it is neither."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host's name or address, without a port")
    return text


def parse_rpc_origin(text: str) -> str:
    """Return an origin of web pages; ValueError if it is none."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError(f"{text!r} is not an origin such as http://localhost:3000")
    return text


def _read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not an INI file ({error})") from error
    return parser


def _parse_node_id(text: str) -> str:
    if len(bytes.fromhex(text)) != 64 or text != text.lower():
        raise ValueError("a node id is 128 lower-case hex digits")
    return text


def _parse_sealer(text: str) -> tuple[str, int]:
    node_id, _, weight = text.partition(":")
    number = int(weight or "1")
    if not 1 <= number <= WEIGHT_MAX:
        raise ValueError(f"weight {number} is outside 1..{WEIGHT_MAX}")
    return _parse_node_id(node_id), number


def _parse_org(text: str) -> OrgEntry:
    raw = json.loads(text)
    return OrgEntry(**{**raw, "schemas": tuple(raw["schemas"])})


def _parse_schema(text: str) -> SchemaEntry:
    return SchemaEntry(**json.loads(text))


def _parse_side(text: str) -> tuple[str, int]:
    node, side = json.loads(text)
    return _parse_node_id(node), int(Jurisdiction(side))


def _parse_route(text: str) -> tuple[int, int]:
    start, end = json.loads(text)
    return int(start), int(end)


def _read_format(chain: _Section) -> int:
    """Return the format of a genesis; one of the first that is read does not say so."""
    return chain.integer("format", GENESIS_FORMAT_MIN, GENESIS_FORMAT, GENESIS_FORMAT_MIN)


def read_genesis_format(path: Path) -> int:
    """Read only which contracts the block 0 of a ``config.genesis`` has."""
    return _read_format(_Section(path, _read(path), "chain"))


def load_genesis(path: Path) -> GenesisConfig:
    """Read and check a ``config.genesis``."""
    parser = _read(path)
    chain = _Section(path, parser, "chain")
    consensus = _Section(path, parser, "consensus")
    registry = _Section(path, parser, "registry")
    kind = consensus.text("consensus_type")
    if kind != "pbft":
        raise consensus.error("consensus_type", f"{kind!r} is not supported; use pbft")
    genesis = GenesisConfig(
        format=_read_format(chain),
        chain_id=chain.text("chain_id"),
        group_id=chain.text("group_id"),
        web3_chain_id=_Section(path, parser, "web3").integer("chain_id", 1, 2**53),
        timestamp_ms=chain.integer("timestamp_ms", 0, 2**53),
        tx_gas_limit=_Section(path, parser, "tx").integer(
            "gas_limit", TX_GAS_LIMIT_MIN, BLOCK_GAS_MAX
        ),
        block_tx_count_limit=consensus.integer("block_tx_count_limit", 1, BLOCK_TX_COUNT_MAX),
        leader_period=consensus.integer("leader_period", 1, 1_000_000),
        sealers=consensus.listed("node", _parse_sealer),
        observers=consensus.listed("observer", _parse_node_id),
        governor=registry.text("governor"),
        sides=registry.listed("side", _parse_side),
        allow_one_side_quorum=registry.flag("allow_one_side_quorum", False),
        orgs=registry.listed("org", _parse_org),
        schemas=registry.listed("schema", _parse_schema),
        routes=registry.listed("route", _parse_route),
    )
    try:
        _ = genesis.validators
    except ValueError as error:
        raise consensus.error("node.*", str(error)) from error
    return genesis


def _dump_list(key: str, values: Iterable[object]) -> list[str]:
    return [
        f"{key}.{i}={json.dumps(value, separators=(',', ':'))}" for i, value in enumerate(values)
    ]


def dump_genesis(genesis: GenesisConfig) -> str:
    """Return the text of a ``config.genesis``."""
    lines = [
        "[chain]",
        "sm_crypto=false",
        f"group_id={genesis.group_id}",
        f"chain_id={genesis.chain_id}",
        f"timestamp_ms={genesis.timestamp_ms}",
        *([f"format={genesis.format}"] if genesis.format > GENESIS_FORMAT_MIN else []),
        "",
        "[web3]",
        f"chain_id={genesis.web3_chain_id}",
        "",
        "[consensus]",
        "consensus_type=pbft",
        f"block_tx_count_limit={genesis.block_tx_count_limit}",
        f"leader_period={genesis.leader_period}",
        *(f"node.{i}={node}:{weight}" for i, (node, weight) in enumerate(genesis.sealers)),
        *(f"observer.{i}={node}" for i, node in enumerate(genesis.observers)),
        "",
        "[tx]",
        f"gas_limit={genesis.tx_gas_limit}",
        "",
        "[registry]",
        f"governor={genesis.governor}",
        f"allow_one_side_quorum={'true' if genesis.allow_one_side_quorum else 'false'}",
        *_dump_list("side", genesis.sides),
        *_dump_list("org", map(asdict, genesis.orgs)),
        *_dump_list("schema", map(asdict, genesis.schemas)),
        *_dump_list("route", genesis.routes),
    ]
    return "\n".join(lines) + "\n"


def load_node_config(folder: Path, name: str) -> NodeConfig:
    """Read and check ``config.ini`` and ``nodes.json`` of a node folder."""
    path = folder / "config.ini"
    parser = _read(path)
    p2p = _Section(path, parser, "p2p")
    rpc = _Section(path, parser, "rpc")
    consensus = _Section(path, parser, "consensus")
    pool = _Section(path, parser, "txpool")
    storage = _Section(path, parser, "storage")
    executor = _Section(path, parser, "executor")
    engine = executor.text("evm")
    if engine not in list(Engine):
        raise executor.error("evm", f"{engine!r} is not one of {', '.join(Engine)}")
    level = _Section(path, parser, "log").text("level")
    if level not in ("trace", "debug", "info", "warning", "error"):
        raise ConfigError(f"{path}: [log] level: {level!r} is not a log level")
    kept = Kept(
        storage.setting("history_blocks", Kept().history_blocks),
        storage.setting("snapshot_blocks", Kept().snapshot_blocks),
        storage.setting("scrub_s", Kept().scrub_s),
        storage.setting("keep_blocks", Kept().keep_blocks),
    )
    if problem := kept.find_problem():
        raise ConfigError(f"{path}: [storage] {problem}")
    return NodeConfig(
        name=name,
        folder=folder,
        listen_host=p2p.address("listen_ip"),
        p2p_port=p2p.integer("listen_port", 1, 65_535),
        rpc_port=rpc.integer("listen_port", 1, 65_535),
        web3_port=_Section(path, parser, "web3_rpc").integer("listen_port", 1, 65_535),
        peers=load_peers(folder / p2p.text("nodes_file")),
        min_seal_time_ms=consensus.setting("min_seal_time_ms"),
        consensus_timeout_ms=consensus.setting("consensus_timeout_ms"),
        pipeline_size=consensus.setting("pipeline_size"),
        pool_limit=pool.setting("pool_limit"),
        tx_expiration_s=pool.integer("txs_expiration_time", 1, 86_400),
        kept=kept,
        evm=Engine(engine),
        rpc_hosts=rpc.names("allowed_hosts", parse_rpc_host),
        rpc_origins=rpc.names("allowed_origins", parse_rpc_origin),
        tap=_Section(path, parser, "others").flag("tap", False),
        allow_lies=_Section(path, parser, "others").flag("allow_lies", False),
        is_newcomer=_Section(path, parser, "others").flag("newcomer", False),
        log_level=level,
    )


def load_peers(path: Path) -> tuple[tuple[str, int], ...]:
    """Read ``nodes.json``: ``{"nodes": ["host:port", …]}``."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        pairs = [entry.rsplit(":", 1) for entry in raw["nodes"]]
        return tuple((host, int(port)) for host, port in pairs)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f'{path}: expected {{"nodes": ["host:port", …]}} ({error})') from error


def dump_node_config(config: NodeConfig) -> str:
    """Return the text of a node's ``config.ini``."""
    host = config.listen_host
    lines = [
        "[p2p]",
        f"listen_ip={host}",
        f"listen_port={config.p2p_port}",
        "nodes_file=nodes.json",
        "",
        "[rpc]",
        f"listen_ip={host}",
        f"listen_port={config.rpc_port}",
        f"allowed_hosts={','.join(config.rpc_hosts)}",
        f"allowed_origins={','.join(config.rpc_origins)}",
        "",
        "[web3_rpc]",
        f"listen_ip={host}",
        f"listen_port={config.web3_port}",
        "",
        "[consensus]",
        f"min_seal_time={config.min_seal_time_ms}",
        f"consensus_timeout={config.consensus_timeout_ms}",
        f"pipeline_size={config.pipeline_size}",
        "",
        "[txpool]",
        f"limit={config.pool_limit}",
        f"txs_expiration_time={config.tx_expiration_s}",
        "",
        "[storage]",
        f"history_blocks={config.kept.history_blocks}",
        f"snapshot_blocks={config.kept.snapshot_blocks}",
        f"scrub_s={config.kept.scrub_s}",
        f"keep_blocks={config.kept.keep_blocks}",
        "",
        "[executor]",
        f"evm={config.evm}",
        "",
        "[log]",
        f"level={config.log_level}",
        "",
        "[others]",
        f"tap={'true' if config.tap else 'false'}",
        *(["allow_lies=true"] if config.allow_lies else []),
        *(["newcomer=true"] if config.is_newcomer else []),
    ]
    return "\n".join(lines) + "\n"
