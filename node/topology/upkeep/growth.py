"""Growing a network that runs: a further node's folder, keys and certificates.

The nodes of the network file are those of block 0. A node that joins later is listed beside it, in
``.lowu/joined.json``; the group lets it in by a vote, which is not done here. The list is written
last: until then, the folder of the new node means nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lowu.contracts.registry import Jurisdiction
from lowu.node.errors import ConfigError, MachineRefuses
from lowu.node.topology.plan import JoinedNode, Plan, PlannedNode
from lowu.node.topology.ports import is_port_free
from lowu.node.topology.spec import NODES_MAX
from lowu.node.topology.tree import load_tree, node_folder, write_joined, write_joined_node


def _grow(directory: Path, institution: str, side: Jurisdiction) -> Plan:
    held = load_tree(directory)
    if len(held.nodes) >= NODES_MAX:
        raise ConfigError(f"{directory}: it has {len(held.nodes)} nodes, the most there may be")
    return replace(held, joined=(*held.joined, JoinedNode(institution, side)))


def plan_node(directory: Path, institution: str, side: Jurisdiction) -> PlannedNode:
    """Return the next node to join, run by an institution.

    Raises:
        ConfigError: the network is as large as it may be.
        MachineRefuses: a port of the new node is taken.
    """
    node = _grow(directory, institution, side).nodes[-1]
    for port in (node.ports.p2p, node.ports.rpc, node.ports.web3):
        if not is_port_free(port):
            raise MachineRefuses(
                f"port {port}, which would be {node.name}'s, is taken; stop what uses it, or move "
                "the network: `lowu up` after `lowu down` chooses free ports for all its nodes"
            )
    return node


def add_node(directory: Path, institution: str, side: Jurisdiction) -> PlannedNode:
    """Write the folder of the next node to join, and list it; return the node.

    Raises:
        ConfigError: the network is as large as it may be, or its certificates cannot be read.
        MachineRefuses: the folder cannot be written.
    """
    plan = _grow(directory, institution, side)
    node = plan.nodes[-1]
    folder = node_folder(directory, node)
    try:
        if folder.exists():  # of an attempt that was interrupted before it was listed
            shutil.rmtree(folder)
        write_joined_node(plan, node, directory)
        write_joined(plan, directory)
    except OSError as error:
        raise MachineRefuses(f"{folder}: cannot be written ({error.strerror})") from error
    return node
