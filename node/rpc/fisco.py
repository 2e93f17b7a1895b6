"""The FISCO BCOS 3.x dialect: names, parameters and shapes of its JSON-RPC.

Parameters begin with group id and node name. Numbers are JSON integers. getConsensusStatus and
getSyncStatus answer with a JSON document inside a string, as FISCO BCOS does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from lowu.consensus.codec import encode_message
from lowu.contracts.system_config import SystemKey
from lowu.node.chain.block import encode_header
from lowu.node.chain.merkle import build_path
from lowu.node.chain.receipt import encode_receipt
from lowu.node.errors import BadInput
from lowu.node.rpc.json_values import parse_data, show
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.rpc_errors import (
    GROUP_NOT_FOUND,
    INVALID_PARAMS,
    NODE_NOT_FOUND,
    RpcError,
)
from lowu.node.rpc.status import NodeStatus
from lowu.node.rpc.waiter import CommitWaiter

CLOCK_AHEAD_MAX_MS = 86_400_000
DISK_DELAY_MAX_MS = 10_000
T = TypeVar("T")
PHASES_AT_ONCE = 50
"""Blocks whose phases one answer has: a call costs about as much as one for a block."""


class FiscoMethods:
    """Handlers of FISCO BCOS's methods; each takes the list of parameters."""

    def __init__(self, reader: ChainReader, status: NodeStatus, waiter: CommitWaiter) -> None:
        self._chain = reader
        self._status = status
        self._waiter = waiter

    def _check(self, group: object = "", node: object = "", *rest: object) -> None:
        """Refuse a call for another group, or for another node of it; "" means any."""
        if group not in ("", self._chain.genesis.group_id):
            raise RpcError(GROUP_NOT_FOUND, f"group {show(group)} does not exist on this node")
        name = self._status.config.name
        if node not in ("", name, self._status.node_id.hex()):
            raise RpcError(NODE_NOT_FOUND, f"node {show(node)} is not here; this is {name}")

    def getBlockNumber(self, *params: object) -> int:
        self._check(*params)
        return self._chain.height

    def getTotalTransactionCount(self, *params: object) -> dict[str, int]:
        self._check(*params)
        head = self._chain.head
        return {
            "blockNumber": head.number,
            "transactionCount": head.tx_count,
            "failedTransactionCount": head.failed_tx_count,
        }

    def getPendingTxSize(self, *params: object) -> int:
        self._check(*params)
        return self._waiter.pending_count

    def getPbftView(self, *params: object) -> int:
        self._check(*params)
        return self._status.consensus.view

    def getCpuTimes(self, *params: object) -> dict[str, float]:
        """CPU seconds of the node's process by part (an own method)."""
        self._check(*params)
        return self._status.cpu_times()

    def getBlockPhases(self, first: object, count: object = PHASES_AT_ONCE) -> list[Any]:
        """When blocks from `first` on passed each phase of consensus here (an own method).

        A row has the height and a list of times, in seconds of the machine's monotonic clock.
        """
        if type(first) is not int or type(count) is not int or not 0 <= count <= PHASES_AT_ONCE:
            raise RpcError(
                INVALID_PARAMS, f"a height, and how many blocks, at most {PHASES_AT_ONCE}"
            )
        return [list(row) for row in self._status.block_phases(first, count)]

    def setLies(self, names: object) -> list[str]:
        """Have the node lie so, until told otherwise, if it may (an own method)."""
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            raise RpcError(INVALID_PARAMS, "the lies are a list of names")
        self._order(self._status.set_lies, names)
        return sorted(names)

    def shiftClock(self, ahead_ms: object) -> int:
        """Have the node's clock be so far ahead, or behind, if it may (an own method)."""
        if type(ahead_ms) is not int or abs(ahead_ms) > CLOCK_AHEAD_MAX_MS:
            raise RpcError(INVALID_PARAMS, f"milliseconds, at most {CLOCK_AHEAD_MAX_MS}")
        return self._order(self._status.shift_clock, ahead_ms)

    def slowDisk(self, delay_ms: object) -> int:
        """Have each durable write take so much longer, if it may (an own method)."""
        if type(delay_ms) is not int or not 0 <= delay_ms <= DISK_DELAY_MAX_MS:
            raise RpcError(INVALID_PARAMS, f"milliseconds, at most {DISK_DELAY_MAX_MS}")
        return self._order(self._status.slow_disk, delay_ms)

    def failAt(self, order: object) -> str:
        """Have the node fail once, if it may, at a durable step; "" for no more (an own method)."""
        if not isinstance(order, str):
            raise RpcError(INVALID_PARAMS, "an order is a text, as vote:torn-half:leading")
        return self._order(self._status.fail, order)

    def _order(self, give: Callable[[T], None], value: T) -> T:
        try:
            give(value)
        except BadInput as error:
            raise RpcError(INVALID_PARAMS, str(error)) from error
        return value

    def getConsensusEvidence(self, *params: object) -> list[dict[str, Any]]:
        """Stored proofs of equivocation, each with both signed messages (an own method)."""
        self._check(*params)
        validators = self._chain.validators.validators
        return [
            {
                "nodeID": validators[record.evidence.accused].node_id.hex(),
                "kind": type(record.evidence.first).__name__,
                "first": "0x" + encode_message(record.evidence.first).hex(),
                "second": "0x" + encode_message(record.evidence.second).hex(),
            }
            for record in self._status.list_evidence()
        ]

    def getSealerList(self, *params: object) -> list[dict[str, Any]]:
        self._check(*params)
        return [
            {"nodeID": item.node_id.hex(), "weight": item.weight, "termWeight": 0}
            for item in self._chain.validators.validators
        ]

    def getObserverList(self, *params: object) -> list[str]:
        self._check(*params)
        return [node.hex() for node in self._chain.roster.observers]

    def getSystemConfigByKey(self, group: object, node: object, key: object) -> dict[str, Any]:
        """A setting's value, and the block from which it holds."""
        self._check(group, node)
        if not isinstance(key, str):
            raise RpcError(INVALID_PARAMS, f"the key must be a text, not {show(key)}")
        found = self._chain.find_setting(key)
        if found is None:
            known = ", ".join(SystemKey)
            raise RpcError(INVALID_PARAMS, f"there is no setting {show(key)}; there are {known}")
        value, enabled_height = found
        return {"blockNumber": enabled_height, "value": str(value)}

    def getGroupList(self, *params: object) -> dict[str, Any]:
        return {"code": 0, "msg": "success", "groupList": [self._chain.genesis.group_id]}

    def getGroupInfo(self, *params: object) -> dict[str, Any]:
        """What the chain is, as genesis says it; `genesisConfig` is a JSON text, as there."""
        self._check(*params)
        genesis = self._chain.genesis
        members = [item.node_id.hex() for item in self._chain.validators.validators]
        config = {
            "blockTxCountLimit": genesis.block_tx_count_limit,
            "consensusLeaderPeriod": genesis.leader_period,
            "consensusType": "pbft",
            "sealerList": self.getSealerList(*params),
            "txGasLimit": genesis.tx_gas_limit,
        }
        return {
            "chainID": genesis.chain_id,
            "groupID": genesis.group_id,
            "genesisConfig": json.dumps(config, sort_keys=True),
            "wasm": False,
            "smCryptoType": False,
            "nodeList": [*members, *genesis.observers],
        }

    def getTransactionProof(
        self, group: object, node: object, tx_hash: object
    ) -> dict[str, Any] | None:
        """All that shows, without a node, that a transaction was committed (an own method).

        None if it is not. `path` leads from the receipt to the header's receipt root: whether a
        sibling is on the left, and its hash. docs/PACKAGE.md says how to check it.
        """
        self._check(group, node)
        found = self._chain.find_transaction(parse_data(tx_hash, "transaction hash", 32))
        if found is None:
            return None
        number = found.header.number
        leaves = [encode_receipt(item.receipt) for item in self._chain.placed(number)]
        certificate = self._chain.certificate(number)
        return {
            "chainID": self._chain.genesis.chain_id,
            "groupID": self._chain.genesis.group_id,
            "epoch": self._chain.epoch(number),
            "transaction": "0x" + found.transaction.raw.hex(),
            "receipt": "0x" + leaves[found.index].hex(),
            "path": [
                [is_left, "0x" + sibling.hex()]
                for is_left, sibling in build_path(leaves, found.index)
            ],
            "header": "0x" + encode_header(found.header).hex(),
            "signatures": [
                [index, "0x" + signature.hex()] for index, signature in certificate.signatures
            ],
        }

    def getPeers(self, *params: object) -> dict[str, Any]:
        group = self._chain.genesis.group_id
        config = self._status.config

        def entry(node_id: str, endpoint: str) -> dict[str, Any]:
            return {
                "p2pNodeID": node_id,
                "endPoint": endpoint,
                "groupNodeIDInfo": [{"group": group, "nodeIDList": [node_id]}],
            }

        own = entry(self._status.node_id.hex(), f"{config.listen_host}:{config.p2p_port}")
        peers = sorted(node_id.hex() for node_id in self._status.connected)
        return {**own, "peers": [entry(node_id, "") for node_id in peers]}

    def getSyncStatus(self, *params: object) -> str:
        self._check(*params)
        head, highest = self._chain.height, self._status.known_highest
        genesis_hash = self._chain.genesis_hash.hex()
        connected = self._status.connected
        peers = [
            {
                "nodeID": node_id.hex(),
                "genesisHash": genesis_hash,
                "blockNumber": height,
                "latestHash": block_hash.hex(),
                "archivedBlockNumber": 0,
            }
            for node_id, (height, block_hash) in sorted(self._status.peer_heights.items())
            if node_id in connected
        ]
        status = {
            "isSyncing": self._status.is_syncing,
            "genesisHash": genesis_hash,
            "nodeID": self._status.node_id.hex(),
            "blockNumber": head,
            "archivedBlockNumber": 0,
            "latestHash": self._chain.header(head).hash.hex(),
            "knownHighestNumber": max(head, highest),
            "knownLatestHash": self._known_latest_hash(head),
            "peers": peers,
        }
        return json.dumps(status)

    def _known_latest_hash(self, head: int) -> str:
        heights = self._status.peer_heights.values()
        best = max(heights, default=(0, b""))
        return best[1].hex() if best[0] > head else self._chain.header(head).hash.hex()

    def getConsensusStatus(self, *params: object) -> str:
        self._check(*params)
        validators, head = self._chain.validators, self._chain.height
        consensus = self._status.consensus
        index = validators.index_of(self._status.node_id)
        connected = [
            item for item in self._status.connected if validators.index_of(item) is not None
        ]
        status = {
            "nodeID": self._status.node_id.hex(),
            "index": index if index is not None else -1,
            "leaderIndex": consensus.next_leader,
            "consensusNodesNum": len(validators),
            "maxFaultyQuorum": validators.fault_threshold,
            "minRequiredQuorum": validators.quorum,
            "isConsensusNode": consensus.is_validator,
            "blockNumber": head,
            "checkpointHeight": consensus.checkpoint_height,
            "hash": self._chain.header(head).hash.hex(),
            "timeout": consensus.phase == "changing",
            "changeCycle": consensus.failed_attempts,
            "view": consensus.view,
            "phase": consensus.phase,
            "abstainReason": self._status.lost_votes,
            "storageDamage": self._status.storage_damage,
            "clockBehindMs": self._status.clock_behind_ms,
            "connectedNodeList": len(connected),
            "consensusNodeList": [
                {
                    "nodeID": item.node_id.hex(),
                    "weight": item.weight,
                    "termWeight": 0,
                    "index": position,
                }
                for position, item in enumerate(validators.validators)
            ],
        }
        return json.dumps(status)
