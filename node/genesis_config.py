"""The configuration that is the same on every node of a chain: what block 0 is made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lowu.consensus.validators import Validator, ValidatorSet
from lowu.contracts.group import GroupNode, NodeKind
from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.document_schema import Schema
from lowu.contracts.system_config import GroupSettings
from lowu.node.crypto import keccak256

GENESIS_FORMAT = 10
"""Of new chains. One of format 9 has no SystemConfig, and goes on without."""
GENESIS_FORMAT_MIN = 9


@dataclass(frozen=True, slots=True)
class OrgEntry:
    """An organisation that genesis enrols."""

    id: int
    name: str
    jurisdiction: int
    roles: int
    account: str
    """Address of its administrator, which signs its transactions, 0x…"""
    key: str
    """Public key that signs its documents, 128 hex digits."""
    schemas: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """A document schema that genesis registers."""

    number: int
    id: str
    version: int
    rules: str
    """Hash of its rules, 64 hex digits."""
    must_disclose: str
    """Hash of the paths that a holder may not hide, 64 hex digits."""
    jurisdiction: int
    """Of its issuers; 0 for any."""
    max_age_s: int
    min_witness: int
    is_cross_witnessed: bool
    sensitivity: int

    @classmethod
    def of(cls, schema: Schema) -> SchemaEntry:
        """Return the entry of a schema."""
        return cls(
            number=schema.number,
            id=schema.id,
            version=schema.version,
            rules=schema.digest.hex(),
            must_disclose=schema.must_disclose_digest.hex(),
            jurisdiction=0 if schema.jurisdiction is None else int(schema.jurisdiction),
            max_age_s=schema.max_age_s,
            min_witness=schema.witnesses,
            is_cross_witnessed=schema.is_cross_witnessed,
            sensitivity=schema.sensitivity,
        )


@dataclass(frozen=True, slots=True)
class GenesisConfig:
    """The configuration that is the same on every node of a chain."""

    chain_id: str
    group_id: str
    web3_chain_id: int
    timestamp_ms: int
    tx_gas_limit: int
    block_tx_count_limit: int
    leader_period: int
    sealers: tuple[tuple[str, int], ...]
    """Node id (128 hex digits) and weight."""
    observers: tuple[str, ...]
    governor: str
    orgs: tuple[OrgEntry, ...] = ()
    schemas: tuple[SchemaEntry, ...] = ()
    """Those that an organisation is accredited for must be among them."""
    routes: tuple[tuple[int, int], ...] = ()
    """Jurisdictions, from and to, between which documents may be used."""
    sides: tuple[tuple[str, int], ...] = ()
    """Node id, and jurisdiction of the institution that runs the node, as far as known."""
    allow_one_side_quorum: bool = False
    """Whether one jurisdiction's validators may be a quorum alone, until the group decides."""
    format: int = GENESIS_FORMAT
    """Which contracts block 0 has."""

    @property
    def has_system_config(self) -> bool:
        """Whether the group can change the settings while the chain runs."""
        return self.format >= 10

    @property
    def settings(self) -> GroupSettings:
        """The settings that hold until the group changes them."""
        return GroupSettings(self.block_tx_count_limit, self.leader_period, self.tx_gas_limit)

    @property
    def validators(self) -> ValidatorSet:
        """The validator set of the chain."""
        members = tuple(Validator(bytes.fromhex(node), weight) for node, weight in self.sealers)
        return ValidatorSet(members, self.leader_period)

    @property
    def nodes(self) -> list[GroupNode]:
        """The nodes of the group, as the ledger has them."""
        sides = {node: Jurisdiction(side) for node, side in self.sides}
        listed = [(node, NodeKind.SEALER, weight) for node, weight in self.sealers]
        listed += [(node, NodeKind.OBSERVER, 0) for node in self.observers]
        return [
            GroupNode(bytes.fromhex(node), kind, sides.get(node), weight)
            for node, kind, weight in listed
        ]

    @property
    def governor_address(self) -> bytes:
        """The account that may change the network, 20 bytes."""
        return bytes.fromhex(self.governor[2:])

    @property
    def digest(self) -> bytes:
        """Hash over everything here; the proposal digest of block 0."""
        values = asdict(self)
        if self.format == GENESIS_FORMAT_MIN:
            del values["format"]  # it did not exist
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return keccak256(b"lowu/1/genesis" + text.encode())
