"""Reads that miss nothing that anybody has been told.

A node answers from the blocks that it has committed, and may be behind the one that acknowledged a
registration to somebody else. A block is acknowledged once a quorum of validators has signed a
CHECKPOINT of it, so of any quorum that is asked afterwards, an honest validator has signed one: a
reader that waits until its own node has the highest block so named misses nothing (linearizable
reads by a read index, as in Raft, with a quorum that overlaps in honest nodes).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import trio

from lowu.institutions.ledger.responses import answers_of, read_fields, read_quantity
from lowu.institutions.package.forms import read_integer, read_list
from lowu.institutions.package.proof import VALIDATORS_MAX
from lowu.node.client import ClientError, RemoteError, RpcClient

POLL_S = 0.02
ASK_AGAIN_S = 0.1


class FreshReads:
    """Waits until a reader's node has all that was acknowledged before."""

    def __init__(self, own: RpcClient, others: Sequence[RpcClient]) -> None:
        """Take a client of the reader's node, and of the other validators' nodes."""
        self._own = own
        self._clients = [own, *others]

    async def catch_up(self) -> int:
        """Return the reader's height once it has every block acknowledged before this call.

        It waits as long as no quorum of validators answers, or the own node is behind: bound it
        with a time-out.

        Raises:
            ClientError: the own node cannot be asked.
        """
        wanted = await self._find_height()
        while True:
            with answers_of(self._own.url):
                height = read_quantity(await self._own.call("eth_blockNumber"), "block number")
            if height >= wanted:
                return height
            await trio.sleep(POLL_S)

    async def _find_height(self) -> int:
        """Return the highest block that any validator of some quorum has signed a CHECKPOINT of."""
        heights: dict[str, tuple[int, int]] = {}
        quorum = 0
        done = trio.Event()

        async def ask(client: RpcClient) -> None:
            nonlocal quorum
            while True:
                try:
                    with answers_of(client.url):
                        status = json.loads(await client.call("getConsensusStatus"))
                        node_id, weight, height, needed = _read_status(status)
                except (ClientError, RemoteError):
                    await trio.sleep(ASK_AGAIN_S)
                    continue
                heights[node_id] = (weight, height)
                quorum = max(quorum, needed)
                if sum(weight for weight, _ in heights.values()) >= quorum:
                    done.set()
                return

        async with trio.open_nursery() as nursery:
            for client in self._clients:
                nursery.start_soon(ask, client)
            await done.wait()
            nursery.cancel_scope.cancel()
        return max(height for _, height in heights.values())


def _read_status(status: object) -> tuple[str, int, int, int]:
    """Return a node's id, its weight, the height it has signed, and the quorum that it knows."""
    keys = ("nodeID", "checkpointHeight", "minRequiredQuorum", "consensusNodeList")
    node_id, height, quorum, listed = read_fields(status, keys, "status")
    weights = {}
    for row in read_list(listed, VALIDATORS_MAX, "validators"):
        member, weight = read_fields(row, ("nodeID", "weight"), "validator")
        weights[member] = read_integer(weight, "weight of a validator")
    found = read_integer(height, "checkpointHeight")
    return node_id, weights.get(node_id, 0), found, read_integer(quorum, "quorum")
