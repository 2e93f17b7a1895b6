"""The nodes of the group on the ledger: FISCO BCOS's Consensus contract, its codes, its calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from lowu.contracts.abi import Function, load_artifact
from lowu.contracts.registry import Jurisdiction

NODE_ID_BYTES = 64


class NodeKind(IntEnum):
    """What a node of the group does."""

    SEALER = 1
    OBSERVER = 2


class ConsensusCode(IntEnum):
    """FISCO BCOS's return codes of changes to the group."""

    DONE = 0
    NOT_AUTHORISED = -50000
    BAD_NODE_ID = -51100
    LAST_SEALER = -51101
    ZERO_WEIGHT = -51102
    NO_SUCH_NODE = -51103
    NOT_OBSERVER = -51104


@dataclass(frozen=True, slots=True)
class GroupNode:
    """A node of the group."""

    node_id: bytes
    kind: NodeKind
    jurisdiction: Jurisdiction | None
    """Of the institution that runs it; None if the ledger does not know it."""
    weight: int
    """Weight of its vote; 0 while it observes."""
    enabled_height: int = 0
    """The first block to which this applies."""


def consensus_function(name: str) -> Function:
    """Return a function of Consensus."""
    return load_artifact("Consensus").functions[name]


def encode_begin(nodes: list[GroupNode], *, is_one_side_allowed: bool) -> bytes:
    """Return the call that genesis makes with its first nodes."""
    rows = [
        (
            item.node_id[:32],
            item.node_id[32:],
            int(item.kind),
            int(item.jurisdiction or 0),
            item.weight,
            item.enabled_height,
        )
        for item in nodes
    ]
    return consensus_function("begin").encode_call(rows, is_one_side_allowed)


def decode_nodes(data: bytes) -> list[GroupNode]:
    """Return the nodes in the answer of `getNodes`."""
    (rows,) = consensus_function("getNodes").decode_output(data)
    return [
        GroupNode(
            high + low,
            NodeKind(kind),
            Jurisdiction(side) if side else None,
            weight,
            enabled_height,
        )
        for high, low, kind, side, weight, enabled_height in rows
    ]
