"""New members' own nodes: how one joins, gets a vote, and leaves again (of E14 and E15)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import trio

from lowu.contracts.group import consensus_function
from lowu.contracts.registry import CONSENSUS_ADDRESS, Jurisdiction
from lowu.experiments.actors.causal_client import CausalClient
from lowu.experiments.scenarios.stage import Stage
from lowu.institutions.ledger.governance import Call
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.topology.control import Control
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import PlannedNode
from lowu.node.topology.upkeep.growth import add_node, plan_node

LEVEL_S = 60.0
POLL_S = 0.1


def group_call(name: str, *arguments: object) -> Call:
    """Return a call of the group's contract."""
    return CONSENSUS_ADDRESS, consensus_function(name).encode_call(*arguments)


def plan_own_node(stage: Stage, institution: str, side: Jurisdiction) -> tuple[PlannedNode, Call]:
    """Return the node that an institution is to run, and the call that lets it in."""
    node = plan_node(stage.folder, institution, side)
    org_id = stage.actors.org_ids[institution]
    return node, group_call("addObserverOf", org_id, node.key.node_id.hex())


async def start_own_node(stage: Stage, institution: str, side: Jurisdiction) -> PlannedNode:
    """Give an institution a node that the group has let in; return once it has all blocks.

    From then on the institution acts through it.
    """
    node = add_node(stage.folder, institution, side)
    control = Control(stage.folder)
    await trio.to_thread.run_sync(control.start, [node.name])
    actors = stage.actors
    await _wait_until_level(stage, node)
    client = RpcClient(node.url, chain_id=actors.plan.genesis.web3_chain_id)
    actors.use_node(institution, CausalClient(client, actors.horizon))
    return node


async def stop_own_nodes(stage: Stage, nodes: Sequence[PlannedNode]) -> None:
    """Stop nodes that the group has removed; their owners act through them no more."""
    names = [node.name for node in nodes]
    control = Control(stage.folder)
    await trio.to_thread.run_sync(control.order, "stop", names)
    for node in nodes:
        await stage.actors.clients[node.spec.institution].aclose()


async def read_group_of(stage: Stage, node: PlannedNode) -> dict[str, Any]:
    """Return a node's own account of the group's validators, and of whether it is one."""
    await _wait_until_level(stage, node)
    async with RpcClient(node.url) as client:
        found = json.loads(await client.call("getConsensusStatus"))
    return {
        "validators": found["consensusNodesNum"],
        "quorum": found["minRequiredQuorum"],
        "votes": found["isConsensusNode"],
    }


async def _wait_until_level(stage: Stage, node: PlannedNode) -> None:
    """Wait until a node has every block of which an actor has seen a receipt."""
    with trio.fail_after(LEVEL_S):
        while True:
            if await _read_height(node) >= stage.actors.horizon.height:
                return
            await trio.sleep(POLL_S)


async def _read_height(node: PlannedNode) -> int:
    try:
        return int((await read_status(node))["height"])
    except (ClientError, RemoteError):
        return -1
