"""The FISCO BCOS 3.x dialect: names, parameters and shapes of its JSON-RPC.

Parameters begin with group id and node name. Numbers are JSON integers. getConsensusStatus and
getSyncStatus answer with a JSON document inside a string, as FISCO BCOS does.
"""

from __future__ import annotations

import json
from typing import Any

from consensus.codec import encode_message
from consensus.records import EvidenceRecord
from node.chain.block import encode_header
from node.chain.merkle import build_path
from node.chain.receipt import encode_receipt
from node.rpc.backend import Backend
from node.rpc.json_values import parse_data, show
from node.rpc.rpc_errors import GROUP_NOT_FOUND, NODE_NOT_FOUND, RpcError


class FiscoMethods:
    """Handlers of FISCO BCOS's methods; each takes the list of parameters."""

    def __init__(self, backend: Backend) -> None:
        self._node = backend

    def _check(self, group: object = "", node: object = "", *rest: object) -> None:
        """Refuse a call for another group, or for another node of it; "" means any."""
        if group not in ("", self._node.genesis.group_id):
            raise RpcError(GROUP_NOT_FOUND, f"group {show(group)} does not exist on this node")
        name = self._node.config.name
        if node not in ("", name, self._node.node_id.hex()):
            raise RpcError(NODE_NOT_FOUND, f"node {show(node)} is not here; this is {name}")

    def getBlockNumber(self, *params: object) -> int:
        self._check(*params)
        return self._node.height

    def getTotalTransactionCount(self, *params: object) -> dict[str, int]:
        self._check(*params)
        head = self._node.ledger.head
        return {
            "blockNumber": head.number,
            "transactionCount": head.tx_count,
            "failedTransactionCount": head.failed_tx_count,
        }

    def getPendingTxSize(self, *params: object) -> int:
        self._check(*params)
        return len(self._node.pool)

    def getPbftView(self, *params: object) -> int:
        self._check(*params)
        driver = self._node.driver
        return driver.replica.view if driver is not None else 0

    def getCpuTimes(self, *params: object) -> dict[str, float]:
        """CPU seconds of the node's process by part (an own method)."""
        self._check(*params)
        return self._node.cpu.read()

    def getConsensusEvidence(self, *params: object) -> list[dict[str, Any]]:
        """Stored proofs of equivocation, each with both signed messages (an own method)."""
        self._check(*params)
        validators = self._node.genesis.validators.validators
        return [
            {
                "nodeID": validators[record.evidence.accused].node_id.hex(),
                "kind": type(record.evidence.first).__name__,
                "first": "0x" + encode_message(record.evidence.first).hex(),
                "second": "0x" + encode_message(record.evidence.second).hex(),
            }
            for record in self._node.ledger.load_records()
            if isinstance(record, EvidenceRecord)
        ]

    def getSealerList(self, *params: object) -> list[dict[str, Any]]:
        self._check(*params)
        return [
            {"nodeID": item.node_id.hex(), "weight": item.weight, "termWeight": 0}
            for item in self._node.genesis.validators.validators
        ]

    def getObserverList(self, *params: object) -> list[str]:
        self._check(*params)
        return list(self._node.genesis.observers)

    def getGroupList(self, *params: object) -> dict[str, Any]:
        return {"code": 0, "msg": "success", "groupList": [self._node.genesis.group_id]}

    def getGroupInfo(self, *params: object) -> dict[str, Any]:
        """What the chain is, as genesis says it; `genesisConfig` is a JSON text, as there."""
        self._check(*params)
        genesis = self._node.genesis
        members = [item.node_id.hex() for item in genesis.validators.validators]
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
        found = self._node.find_transaction(parse_data(tx_hash, "transaction hash", 32))
        if found is None:
            return None
        number = found.header.number
        leaves = [encode_receipt(item.receipt) for item in self._node.placed(number)]
        certificate = self._node.certificate(number)
        return {
            "chainID": self._node.genesis.chain_id,
            "groupID": self._node.genesis.group_id,
            "epoch": self._node.epoch(number),
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
        group = self._node.genesis.group_id
        config = self._node.config

        def entry(node_id: str, endpoint: str) -> dict[str, Any]:
            return {
                "p2pNodeID": node_id,
                "endPoint": endpoint,
                "groupNodeIDInfo": [{"group": group, "nodeIDList": [node_id]}],
            }

        own = entry(self._node.node_id.hex(), f"{config.listen_host}:{config.p2p_port}")
        peers = sorted(node_id.hex() for node_id in self._node.gateway.connected)
        return {**own, "peers": [entry(node_id, "") for node_id in peers]}

    def getSyncStatus(self, *params: object) -> str:
        self._check(*params)
        head = self._node.ledger.head.number
        sync = self._node.sync
        genesis_hash = self._node.ledger.genesis_hash.hex()
        connected = self._node.gateway.connected
        peers = [
            {
                "nodeID": node_id.hex(),
                "genesisHash": genesis_hash,
                "blockNumber": height,
                "latestHash": block_hash.hex(),
                "archivedBlockNumber": 0,
            }
            for node_id, (height, block_hash) in sorted(sync.peer_heights.items())
            if node_id in connected
        ]
        status = {
            "isSyncing": sync.is_syncing,
            "genesisHash": genesis_hash,
            "nodeID": self._node.node_id.hex(),
            "blockNumber": head,
            "archivedBlockNumber": 0,
            "latestHash": self._node.header(head).hash.hex(),
            "knownHighestNumber": max(head, sync.known_highest),
            "knownLatestHash": self._known_latest_hash(head),
            "peers": peers,
        }
        return json.dumps(status)

    def _known_latest_hash(self, head: int) -> str:
        heights = self._node.sync.peer_heights.values()
        best = max(heights, default=(0, b""))
        return best[1].hex() if best[0] > head else self._node.header(head).hash.hex()

    def getConsensusStatus(self, *params: object) -> str:
        self._check(*params)
        validators = self._node.genesis.validators
        head = self._node.ledger.head.number
        driver = self._node.driver
        index = validators.index_of(self._node.node_id)
        connected = [
            item for item in self._node.gateway.connected if validators.index_of(item) is not None
        ]
        replica = driver.replica if driver is not None else None
        damage = self._node.ledger.damage
        status = {
            "nodeID": self._node.node_id.hex(),
            "index": index if index is not None else -1,
            "leaderIndex": replica.next_leader if replica is not None else -1,
            "consensusNodesNum": len(validators),
            "maxFaultyQuorum": validators.fault_threshold,
            "minRequiredQuorum": validators.quorum,
            "isConsensusNode": replica is not None,
            "blockNumber": head,
            "hash": self._node.header(head).hash.hex(),
            "timeout": replica is not None and replica.phase == "changing",
            "changeCycle": replica.failed_attempts if replica is not None else 0,
            "view": replica.view if replica is not None else 0,
            "phase": replica.phase if replica is not None else "observing",
            "abstainReason": self._node.ledger.lost_votes,
            "storageDamage": {"reads": damage.reads, "first": damage.first},
            "clockBehindMs": driver.clock_behind_ms if driver is not None else 0,
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
