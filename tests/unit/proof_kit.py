"""Proofs of registrations that a chain in memory really executed."""

from types import SimpleNamespace

from lowu.consensus.codec import signing_digest
from lowu.consensus.messages import Checkpoint, CommitCertificate
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    Suite,
    encode_register_anchor,
    hash_function,
)
from lowu.institutions.package.proof import RegistrationProof
from lowu.node.crypto import compute_public_key, sign
from lowu.node.rpc.fisco import FiscoMethods
from tests.unit import node_kit as kit

EPOCH = 1
KEYS = {compute_public_key(bytes([i]) * 32): bytes([i]) * 32 for i in range(1, 5)}
VALIDATORS = tuple((node_id, 1) for node_id in sorted(KEYS))


def certify(header, signers=(0, 1, 2), domain=kit.DOMAIN):
    """Return the certificate of a block, signed by some of the four validators."""
    signatures = []
    for index in signers:
        vote = Checkpoint(header.number, header.proposal_digest, header.hash, index)
        key = KEYS[VALIDATORS[index][0]]
        signatures.append((index, sign(key, signing_digest(domain, EPOCH, vote))))
    return CommitCertificate(header.number, header.proposal_digest, header.hash, tuple(signatures))


def ask_node(tx, header, receipts, transactions, certificate):
    """Return a node's getTransactionProof answer for a transaction."""
    placed = [
        SimpleNamespace(header=header, index=index, transaction=item, receipt=receipt)
        for index, (item, receipt) in enumerate(zip(transactions, receipts, strict=True))
    ]
    status = SimpleNamespace(config=SimpleNamespace(name="node0"), node_id=bytes(64))
    reader = SimpleNamespace(
        genesis=kit.GENESIS,
        find_transaction=lambda tx_hash: next(
            (item for item in placed if item.transaction.hash == tx_hash), None
        ),
        placed=lambda number: placed,
        certificate=lambda number: certificate,
        epoch=lambda number: EPOCH,
    )
    return FiscoMethods(reader, status, None).getTransactionProof(
        "group0", "", "0x" + tx.hash.hex()
    )


def read_answer(raw):
    """Return the proof in a node's answer."""
    return RegistrationProof(
        raw["chainID"],
        raw["groupID"],
        raw["epoch"],
        bytes.fromhex(raw["transaction"][2:]),
        bytes.fromhex(raw["receipt"][2:]),
        tuple((is_left, bytes.fromhex(item[2:])) for is_left, item in raw["path"]),
        bytes.fromhex(raw["header"][2:]),
        tuple((index, bytes.fromhex(item[2:])) for index, item in raw["signatures"]),
    )


def register_call(anchor, valid_until_day=20_900):
    """Return the call that registers an anchor of szcredit."""
    return encode_register_anchor(
        anchor, schema=1, key_id=1, valid_until_day=valid_until_day, suite=Suite.SHA256_P256
    )


def batch_call(root, count, valid_until_day=20_900):
    """Return the call that registers a batch of szcredit."""
    call = hash_function("registerBatch")
    return call.encode_call(root, count, 1, 1, valid_until_day, int(Suite.SHA256_P256), 0)


def build_proof(call, signers=(0, 1, 2), others=4, time_s=2):
    """Register on a new chain, among `others` other transactions; return the proof."""
    to = HASH_REGISTRY_ADDRESS
    calls = [register_call(bytes([number]) + b"\x01" * 31) for number in range(1, others + 1)]
    calls.insert(others // 2, call)
    transactions = [kit.signed(to=to, data=item, nonce=n) for n, item in enumerate(calls)]
    executed = kit.Chain().execute(*transactions, time_s=time_s)
    header = executed.header
    certificate = certify(header, signers)
    tx = transactions[others // 2]
    raw = ask_node(tx, header, executed.receipts, transactions, certificate)
    return read_answer(raw)
