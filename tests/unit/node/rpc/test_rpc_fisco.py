"""FISCO-like methods that a running network cannot easily be brought to show."""

from types import SimpleNamespace

import pytest

from lowu.consensus.codec import decode_message
from lowu.consensus.messages import Evidence, Prepare
from lowu.consensus.records import EvidenceRecord, ViewRecord
from lowu.node.core.membership import Membership
from lowu.node.rpc.fisco import FiscoMethods
from lowu.node.rpc.reader import ChainReader
from lowu.node.rpc.rpc_errors import RpcError
from lowu.node.rpc.status import NodeStatus
from tests.unit import consensus_kit
from tests.unit import node_kit as kit


def test_evidence_is_shown_with_both_signed_messages():
    chain = kit.Chain()
    pair = [
        consensus_kit.vote(Prepare, consensus_kit.proposal(text=text), 2) for text in (b"a", b"b")
    ]
    chain.ledger.save_records([EvidenceRecord(1, Evidence(2, *pair)), ViewRecord(1, 0, 0)])
    membership = Membership(kit.GENESIS, chain.ledger)
    reader = ChainReader(kit.GENESIS, chain.ledger, membership, None, None)
    gateway = SimpleNamespace(node_id=b"\x01" * 64)
    config = SimpleNamespace(name="node0")
    status = NodeStatus(config, chain.ledger, gateway, None, None, None, None, None, None)
    (shown,) = FiscoMethods(reader, status, None).getConsensusEvidence("group0", "")
    accused = kit.GENESIS.validators.validators[2].node_id
    assert shown["nodeID"] == accused.hex() and shown["kind"] == "Prepare"
    both = [decode_message(bytes.fromhex(shown[name][2:])) for name in ("first", "second")]
    assert both == pair


def test_another_group_or_node_is_refused_with_the_codes_of_fisco_bcos():
    """N-R16: an unknown group was -32001, an unknown node was answered."""
    reader = SimpleNamespace(genesis=kit.GENESIS, height=7)
    status = SimpleNamespace(config=SimpleNamespace(name="node0"), node_id=b"\x01" * 64)
    ask = FiscoMethods(reader, status, None).getBlockNumber
    for params in ([], ["group0"], ["group0", ""], ["", "node0"], ["group0", "01" * 64]):
        assert ask(*params) == 7
    for params, code in (
        (["group1", ""], -32005),
        ([0], -32005),
        (["group0", "node1"], -32000),
        (["group0", 0], -32000),
        (["group0", "02" * 64], -32000),
        (["a" * 70_000], -32005),
    ):
        with pytest.raises(RpcError) as refusal:
            ask(*params)
        assert refusal.value.code == code and len(refusal.value.message) < 200
