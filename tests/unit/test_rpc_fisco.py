"""FISCO-like methods that a running network cannot easily be brought to show."""

from types import SimpleNamespace

from consensus.codec import decode_message
from consensus.messages import Evidence, Prepare
from consensus.records import EvidenceRecord, ViewRecord
from node.rpc.fisco import FiscoMethods
from tests.unit import consensus_kit
from tests.unit import node_kit as kit


def test_evidence_is_shown_with_both_signed_messages():
    chain = kit.Chain()
    pair = [
        consensus_kit.vote(Prepare, consensus_kit.proposal(text=text), 2) for text in (b"a", b"b")
    ]
    chain.ledger.save_records([EvidenceRecord(1, Evidence(2, *pair)), ViewRecord(1, 0, 0)])
    backend = SimpleNamespace(
        ledger=chain.ledger, genesis=kit.GENESIS, check_group=lambda params: None
    )
    (shown,) = FiscoMethods(backend).getConsensusEvidence("group0", "")
    accused = kit.GENESIS.validators.validators[2].node_id
    assert shown["nodeID"] == accused.hex() and shown["kind"] == "Prepare"
    both = [decode_message(bytes.fromhex(shown[name][2:])) for name in ("first", "second")]
    assert both == pair
