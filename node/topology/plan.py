"""The plan: everything about a network that follows from its spec and port block.

Immutable. Keys are derived from the seed and labels, so the same seed gives the same node ids,
accounts and genesis on every machine. Such keys are public knowledge: use them only for
simulation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from lowu.consensus.window import fit_window
from lowu.contracts.named import Named
from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import Schema
from lowu.node.config import NodeConfig
from lowu.node.crypto import compute_address, compute_public_key
from lowu.node.genesis_config import GENESIS_FORMAT, GenesisConfig, OrgEntry, SchemaEntry
from lowu.node.identity import NodeKey
from lowu.node.topology.spec import Institution, NetworkSpec, NodeSpec

HOST = "127.0.0.1"


def derive_key(seed: int, label: str) -> bytes:
    """Return a private key (32 bytes, valid for secp256k1 and P-256) from a seed and a label."""
    digest = hashlib.sha512(f"lowu/1/{seed}/{label}".encode()).digest()
    # Both group orders exceed 2^255; staying below keeps the key valid for either curve.
    number = int.from_bytes(digest, "big") % (2**255 - 1) + 1
    return number.to_bytes(32, "big")


def document_public_key(private_key: bytes) -> bytes:
    """Return the 64-byte P-256 public key of a document-signing key."""
    key = ec.derive_private_key(int.from_bytes(private_key, "big"), ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class PortBlock:
    """First ports of a network; node i adds i to each."""

    p2p: int
    rpc: int
    web3: int

    def shifted(self, by: int) -> PortBlock:
        """Return the block moved up."""
        return PortBlock(self.p2p + by, self.rpc + by, self.web3 + by)


@dataclass(frozen=True, slots=True)
class JoinedNode:
    """A node that has joined the network since block 0."""

    institution: str
    side: Jurisdiction


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node: its owner, key, ports and folder name."""

    index: int
    spec: NodeSpec
    side: Jurisdiction
    key: NodeKey
    ports: PortBlock
    is_joined: bool = False
    """Whether it has joined since block 0."""

    @property
    def name(self) -> str:
        """Folder name and handle, ``node0`` and so on."""
        return f"node{self.index}"

    @property
    def url(self) -> str:
        """URL at which clients reach it."""
        return f"http://{HOST}:{self.ports.web3}"


@dataclass(frozen=True, slots=True)
class PlannedInstitution:
    """An institution with its on-chain number and its keys."""

    spec: Institution
    org_id: int
    account_key: bytes = field(repr=False)
    document_key: bytes = field(repr=False)
    node: PlannedNode
    """The node it talks to."""

    @property
    def address(self) -> str:
        """Its account address, 0x…."""
        return "0x" + compute_address(compute_public_key(self.account_key)).hex()


@dataclass(frozen=True, repr=False)
class Plan:
    """A network, ready to be built."""

    spec: NetworkSpec
    ports: PortBlock
    joined: tuple[JoinedNode, ...] = ()
    genesis_format: int = GENESIS_FORMAT
    """Of the Lowu that the network began with."""
    left: tuple[str, ...] = ()
    """Names of the nodes that the group has removed; they stay where they are, and do not run."""

    def __repr__(self) -> str:
        """Return its name and size: in full it fills pages of a failed test."""
        return f"<Plan {self.spec.settings.name}: {len(self.nodes)} nodes>"

    @cached_property
    def nodes(self) -> tuple[PlannedNode, ...]:
        """All nodes in the order of the file, then those that have joined, in that order."""
        seed = self.spec.settings.seed
        found = []
        for index, item in enumerate(self.spec.nodes):
            key = NodeKey.from_private(derive_key(seed, f"node/{item.institution}"))
            side = self.spec.institution(item.institution).side
            found.append(PlannedNode(index, item, side, key, self.ports.shifted(index)))
        for index, new in enumerate(self.joined, start=len(found)):
            key = NodeKey.from_private(derive_key(seed, f"node/{new.institution}/{index}"))
            spec, ports = NodeSpec(new.institution, False, 1), self.ports.shifted(index)
            found.append(PlannedNode(index, spec, new.side, key, ports, is_joined=True))
        return tuple(found)

    @property
    def members(self) -> tuple[PlannedNode, ...]:
        """The nodes but those that have left."""
        return tuple(node for node in self.nodes if node.name not in self.left)

    @property
    def first_nodes(self) -> tuple[PlannedNode, ...]:
        """The nodes of block 0."""
        return self.nodes[: len(self.spec.nodes)]

    @cached_property
    def institutions(self) -> tuple[PlannedInstitution, ...]:
        """All institutions in the order of the file; on-chain numbers begin with 1."""
        seed = self.spec.settings.seed
        nodes = {node.spec.institution: node for node in self.first_nodes}
        return tuple(
            PlannedInstitution(
                item,
                position,
                derive_key(seed, f"account/{item.id}"),
                derive_key(seed, f"document/{item.id}"),
                self._find_served(nodes[item.client_of]),
            )
            for position, item in enumerate(self.spec.institutions, start=1)
        )

    def _find_served(self, node: PlannedNode) -> PlannedNode:
        """Return a node, or the one that its clients use once it has left: of its side, if any."""
        members = self.members
        if node in members or not members:
            return node
        return next((item for item in members if item.side is node.side), members[0])

    def find_node(self, name: str) -> PlannedNode | None:
        """Return a node by ``nodeN``, or by an institution that runs it or is its client."""
        own = {node.spec.institution: node for node in self.first_nodes}
        named = {item.id: own[item.client_of] for item in self.spec.institutions}
        named |= {node.name: node for node in self.nodes}
        return named.get(name)

    def find_end(self, name: str) -> tuple[str, ...]:
        """Return the names of the nodes at an end of links, which is a side or a node's name.

        It is empty if there is no such end.
        """
        node = self.find_node(name)
        if node is not None:
            return (node.name,)
        return tuple(item.name for item in self.nodes if item.side.name == name)

    @property
    def node_names(self) -> str:
        """The names that `find_node` knows, as text for people."""
        users = {node.name: [node.spec.institution] for node in self.nodes}
        own = {node.spec.institution: node.name for node in self.first_nodes}
        for item in self.spec.institutions:
            if item.id not in users[own[item.client_of]]:
                users[own[item.client_of]].append(item.id)
        return "; ".join(f"{name} ({', '.join(ids)})" for name, ids in users.items())

    @cached_property
    def genesis(self) -> GenesisConfig:
        """The genesis configuration; the same for every port block."""
        settings = self.spec.settings
        governor = derive_key(settings.seed, "governor")
        return GenesisConfig(
            chain_id=settings.chain_id,
            group_id=settings.group_id,
            web3_chain_id=settings.web3_chain_id,
            timestamp_ms=settings.genesis_time_ms,
            tx_gas_limit=settings.tx_gas_limit,
            block_tx_count_limit=settings.block_tx_count_limit,
            leader_period=settings.leader_period,
            sealers=tuple(
                (node.key.node_id.hex(), node.spec.weight)
                for node in self.first_nodes
                if node.spec.is_validator
            ),
            observers=tuple(
                node.key.node_id.hex() for node in self.first_nodes if not node.spec.is_validator
            ),
            governor="0x" + compute_address(compute_public_key(governor)).hex(),
            sides=tuple((node.key.node_id.hex(), int(node.side)) for node in self.first_nodes),
            allow_one_side_quorum=settings.allow_one_side_quorum,
            orgs=tuple(self._org_entry(item) for item in self.institutions),
            schemas=tuple(SchemaEntry.of(schema) for schema in self._registered),
            routes=tuple((int(start), int(end)) for start, end in self.spec.routes),
            format=self.genesis_format,
        )

    @cached_property
    def schemas(self) -> Named[Schema]:
        """All document schemas that its institutions know, by id."""
        return Named("schema", {**SCHEMAS, **{item.id: item for item in self.spec.schemas}})

    @property
    def _registered(self) -> list[Schema]:
        """The schemas that genesis registers: its own, and those that its institutions issue."""
        used = {name for item in self.institutions for name in item.spec.schemas}
        own = {schema.id for schema in self.spec.schemas}
        found = [schema for name, schema in self.schemas.items() if name in used | own]
        return sorted(found, key=lambda schema: schema.number)

    def _org_entry(self, item: PlannedInstitution) -> OrgEntry:
        return OrgEntry(
            id=item.org_id,
            name=item.spec.id,
            jurisdiction=int(item.spec.side),
            roles=int(item.spec.roles),
            account=item.address,
            key=document_public_key(item.document_key).hex(),
            schemas=tuple(self.schemas[name].number for name in item.spec.schemas),
        )

    def node_config(self, node: PlannedNode, folder: Path) -> NodeConfig:
        """Return a node's configuration."""
        settings = self.spec.settings
        return NodeConfig(
            name=node.name,
            folder=folder,
            listen_host=HOST,
            p2p_port=node.ports.p2p,
            rpc_port=node.ports.rpc,
            web3_port=node.ports.web3,
            peers=tuple((HOST, other.ports.p2p) for other in self.nodes),
            min_seal_time_ms=settings.min_seal_time_ms,
            consensus_timeout_ms=settings.consensus_timeout_ms,
            # Of many validators, a NEW-VIEW holds fewer blocks.
            pipeline_size=fit_window(settings.pipeline_size, len(self.genesis.sealers)),
            pool_limit=settings.pool_limit,
            kept=settings.kept,
            rpc_hosts=settings.rpc_hosts,
            rpc_origins=settings.rpc_origins,
            tap=settings.tap,
            allow_lies=settings.allow_lies,
            is_newcomer=node.is_joined,
        )


def build_plan(spec: NetworkSpec, ports: PortBlock | None = None) -> Plan:
    """Return the plan of a new network, on `ports` or on those of the spec."""
    settings = spec.settings
    own = PortBlock(settings.p2p_port, settings.rpc_port, settings.web3_port)
    return Plan(spec, ports if ports is not None else own)
