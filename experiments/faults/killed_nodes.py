"""Kills and restarts nodes under load, and checks that no acknowledged registration is lost.

Used by the demo and the network tests: registrations go on while the leader's process is killed
with SIGKILL; afterwards every node must have every acknowledged registration.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.topology.control import Control
from lowu.node.topology.network import build_probe, read_status
from lowu.node.topology.plan import Plan, PlannedInstitution, PlannedNode

POLL_S = 0.05
CATCH_UP_S = 60.0


@dataclass(slots=True)
class SteadyLoad:
    """One issuer's registrations, one after another.

    `times_s` holds the start and then the time of each acknowledgement.
    """

    issuer: PlannedInstitution
    acknowledged: list[bytes] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    _acknowledgement: trio.Event = field(default_factory=trio.Event)

    async def run(self, client: RpcClient) -> None:
        """Register new anchors until cancelled."""
        signer = Signer(client, self.issuer.account_key)
        schema = SCHEMAS[self.issuer.spec.schemas[0]].number
        self.times_s.append(trio.current_time())
        while True:
            anchor = secrets.token_bytes(32)
            call = encode_register_anchor(anchor, schema=schema)
            try:
                await signer.send(HASH_REGISTRY_ADDRESS, call)
            except (ClientError, RemoteError):
                await trio.sleep(POLL_S)
                continue
            self.acknowledged.append(anchor)
            self.times_s.append(trio.current_time())
            self._acknowledgement.set()
            self._acknowledgement = trio.Event()

    async def wait_for(self, count: int) -> None:
        """Return once `count` more registrations have been acknowledged."""
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            await self._acknowledgement.wait()

    @property
    def longest_gap_s(self) -> float:
        """The longest time between two acknowledgements."""
        pairs = zip(self.times_s, self.times_s[1:], strict=False)
        return max((later - earlier for earlier, later in pairs), default=0.0)


async def find_leader(plan: Plan, asked: int = 0) -> PlannedNode:
    """Return the node that leads the next height, according to the first node, or another."""
    async with RpcClient(plan.nodes[asked].url) as client:
        return leader_of(plan, json.loads(await client.call("getConsensusStatus")))


def leader_of(plan: Plan, status: Mapping[str, Any]) -> PlannedNode:
    """Return the node that leads the next height, from what `getConsensusStatus` answers."""
    node_id = status["consensusNodeList"][status["leaderIndex"]]["nodeID"]
    return next(node for node in plan.nodes if node.key.node_id.hex() == node_id)


async def wait_until_leading(plan: Plan, nodes: frozenset[str]) -> PlannedNode:
    """Send probe transactions until one of the named nodes leads; return it."""
    async with RpcClient(plan.nodes[0].url) as client:
        while True:
            leader = await find_leader(plan)
            if leader.name in nodes:
                return leader
            raw = "0x" + build_probe(plan).hex()
            await client.wait_for_receipt(await client.call("eth_sendRawTransaction", raw))


async def kill_node(directory: Path, node: PlannedNode) -> None:
    """Kill a node's process with SIGKILL."""
    await trio.to_thread.run_sync(Control(directory).order, "kill", [node.name])


async def start_node(directory: Path, node: PlannedNode) -> None:
    """Start a node again, and return once it answers."""
    await trio.to_thread.run_sync(Control(directory).start, [node.name])


async def wait_for_level(
    plan: Plan, timeout_s: float = CATCH_UP_S
) -> list[dict[str, object]] | None:
    """Wait until all nodes have the same head; return their statuses, or None on time-out."""
    with trio.move_on_after(timeout_s):
        while True:
            try:
                statuses = [await read_status(node) for node in plan.nodes]
            except (ClientError, RemoteError):
                statuses = []
            if statuses and len({item["hash"] for item in statuses}) == 1:
                return statuses
            await trio.sleep(POLL_S)
    return None


async def count_missing(plan: Plan, issuer: PlannedInstitution, anchors: list[bytes]) -> int:
    """Return the number of (node, anchor) pairs for which the node lacks the record."""
    missing = 0
    for node in plan.nodes:
        async with RpcClient(node.url) as client:
            missing += len(await list_missing(client, issuer, anchors))
    return missing


async def list_missing(
    client: RpcClient, issuer: PlannedInstitution, anchors: Sequence[bytes]
) -> list[bytes]:
    """Return those of an issuer's anchors for which a client's node lacks the record."""
    registry = Registry(client)
    records = [await registry.get_record(issuer.org_id, anchor) for anchor in anchors]
    pairs = zip(anchors, records, strict=True)
    return [anchor for anchor, record in pairs if record.state is AnchorState.NONE]
