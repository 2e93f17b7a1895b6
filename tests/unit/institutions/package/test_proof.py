"""Proofs of registration: made by the node's code, checked by the institutions' code."""

import json
from dataclasses import replace

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowu.contracts.registry import Org, OrgKey, OrgStatus
from lowu.institutions.exchange.trust import (
    Handover,
    Trust,
    TrustedKey,
    TrustedOrg,
    UnknownValidatorsError,
    decode_trust,
    encode_trust,
    read_trust,
)
from lowu.institutions.package.batch import build_batch, compute_batch_root
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.proof import (
    ProofError,
    check_proof,
    count_quorum,
    proof_fields,
    read_proof,
)
from lowu.node.crypto import keccak256
from tests.unit import proof_kit
from tests.unit.proof_kit import VALIDATORS, build_proof, register_call

ANCHOR = b"\xaa" * 32
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def proof():
    return build_proof(register_call(ANCHOR))


def test_it_shows_block_time_schema_and_signers(proof):
    proven = check_proof(proof, 1, ANCHOR)
    assert (proven.height, proven.time_s, proven.schema, proven.count) == (1, 2, 1, 0)
    assert (proven.signers, proven.validators) == (3, VALIDATORS)
    assert proven.block_hash == keccak256(b"lowu/1/header" + proof.header)
    said = proven.particulars
    assert (said.key_id, said.valid_until_day, said.suite) == (1, 20_900, 1)
    trust = Trust("chain0", "group0", 20200, VALIDATORS, (), (), 1, 2)
    trust.check_chain(proof, proven)
    with pytest.raises(ProofError):
        replace(trust, chain_id="chain1").check_chain(proof, proven)
    with pytest.raises(UnknownValidatorsError):
        replace(trust, validators=VALIDATORS[:3]).check_chain(proof, proven)


@pytest.mark.parametrize("others", [0, 1, 2, 7])
def test_it_holds_wherever_it_is_in_the_block(others):
    check_proof(build_proof(register_call(ANCHOR), others=others), 1, ANCHOR)


def test_it_shows_one_anchor_of_one_issuer(proof):
    for issuer, anchor in ((2, ANCHOR), (1, b"\xab" * 32)):
        with pytest.raises(ProofError, match="did not register this anchor"):
            check_proof(proof, issuer, anchor)


def test_registering_again_proves_nothing():
    """The receipt reports success, but has no event."""
    proof = build_proof(register_call(b"\x01" + b"\x01" * 31), others=4)
    with pytest.raises(ProofError, match="did not register"):
        check_proof(proof, 1, b"\x01" * 32)


def test_a_failed_transaction_proves_nothing():
    refused = build_proof(register_call(bytes(32)))
    with pytest.raises(ProofError, match="succeeded"):
        check_proof(refused, 1, bytes(32))


def test_less_than_a_quorum_proves_nothing(proof):
    few = build_proof(register_call(ANCHOR), signers=(0, 3))
    with pytest.raises(ProofError, match="less than a quorum"):
        check_proof(few, 1, ANCHOR)
    first, second, third = proof.signatures
    for signatures in ((first, second, second), (second, first, third), (first, second, (9, b""))):
        with pytest.raises(ProofError, match="distinct"):
            check_proof(replace(proof, signatures=signatures), 1, ANCHOR)
    assert [count_quorum(weight) for weight in (1, 2, 3, 4, 7, 10)] == [1, 2, 3, 3, 5, 7]


def test_a_second_form_of_a_signature_is_refused(proof):
    (index, signature), *rest = proof.signatures
    s = N - int.from_bytes(signature[32:64], "big")
    turned = signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])
    with pytest.raises(ProofError, match="validator 0 is bad"):
        check_proof(replace(proof, signatures=((index, turned), *rest)), 1, ANCHOR)


def test_another_chain_or_epoch_is_not_what_was_signed(proof):
    for change in ({"chain_id": "x"}, {"group_id": "x"}, {"epoch": 2}):
        with pytest.raises(ProofError, match="signature"):
            check_proof(replace(proof, **change), 1, ANCHOR)


def test_a_batch_proves_each_of_its_documents():
    anchors = [bytes([number]) * 32 for number in range(1, 12)]
    root, paths = build_batch(anchors)
    proven = check_proof(build_proof(proof_kit.batch_call(root, len(anchors))), 1, root)
    assert proven.count == len(anchors)
    for index, (anchor, path) in enumerate(zip(anchors, paths, strict=True)):
        assert compute_batch_root(anchor, index, path, proven.count) == root
        assert compute_batch_root(anchor, index + 1, path, proven.count) != root
        assert compute_batch_root(anchor, index, path[:-1], proven.count) == b""
        assert compute_batch_root(anchor, index, (*path, root), proven.count) == b""


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_byte_survives(proof, data):
    part = data.draw(st.sampled_from(("transaction", "receipt", "header", "path", "signatures")))
    value = getattr(proof, part)
    if isinstance(value, bytes):
        changed = {part: _flip(value, data)}
    else:
        at = data.draw(st.integers(0, len(value) - 1))
        pair = (value[at][0], _flip(value[at][1], data))
        changed = {part: (*value[:at], pair, *value[at + 1 :])}
    with pytest.raises(ProofError):
        check_proof(replace(proof, **changed), 1, ANCHOR)


def _flip(value, data):
    place = data.draw(st.integers(0, 8 * len(value) - 1))
    number = int.from_bytes(value, "big") ^ (1 << place)
    return number.to_bytes(len(value), "big")


@given(st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=14)))
def test_whatever_is_sent_is_refused_cleanly(proof, value):
    junk = rlp.encode(value)
    for part in ("receipt", "header"):
        with pytest.raises(ProofError):
            check_proof(replace(proof, **{part: junk}), 1, ANCHOR)


def test_deep_lists_are_refused_cleanly(proof):
    deep = rlp.encode([])
    for _ in range(3_000):
        deep = rlp.codec.length_prefix(len(deep), 0xC0) + deep
    with pytest.raises(ProofError, match="malformed"):
        check_proof(replace(proof, header=deep), 1, ANCHOR)


def test_its_form_is_checked(proof):
    raw = json.loads(json.dumps(proof_fields(proof)))
    assert read_proof(raw) == proof
    for name, bad in (
        ("epoch", -1),
        ("header", "0"),
        ("header", "AB"),
        ("header", "ab" * 70_000),
        ("path", [[1, "ab"]]),
        ("path", [[True]]),
        ("path", [[True, "ab" * 32]] * 33),
        ("signatures", [[0, "ab"]]),
        ("signatures", [5]),
        ("chain_id", "x" * 65),
    ):
        with pytest.raises(FormError):
            read_proof({**raw, name: bad})


def test_trust_survives_the_way():
    keys = (TrustedKey(1, 1, b"\x05" * 64), TrustedKey(1, 2, b"\x06" * 64, 1, 2, 3))
    orgs = (TrustedOrg(1, b"\x07" * 32, 2, 1),)
    handovers = tuple(Handover(n, VALIDATORS, ((0, b"s" * 65),)) for n in (5, 9))
    trust = Trust("chain0", "group0", 20200, VALIDATORS, orgs, keys, 12, 1_800_000_000, handovers)
    data = encode_trust(trust)
    assert decode_trust(data) == trust
    assert trust.find_key(1, 2) == keys[1] and trust.find_key(2, 1) is None
    assert trust.find_org(1) == orgs[0] and trust.find_org(2) is None
    unordered = encode_trust(replace(trust, handovers=handovers[::-1]))
    with pytest.raises(FormError, match="ascending"):
        decode_trust(unordered)
    for old, new in ((b"dvp2-trust", b"dvp1-trust"), (b'"height":12', b'"height":"12"')):
        with pytest.raises(FormError):
            decode_trust(data.replace(old, new))


async def test_trust_is_read_from_a_node():
    """Keys and organisations that the node does not know are left out."""

    class Registry:
        async def get_latest_block(self):
            return {"number": 3, "hash": "0xb", "time": 9}

        async def get_chain(self):
            return "chain0", "group0", VALIDATORS

        async def get_ledger(self):
            return 20200

        async def find_orgs(self):
            return [3]

        async def find_keys(self):
            return [(3, 1), (1, 1)]

        async def get_orgs(self, numbers):
            kinds = [OrgStatus.UNKNOWN if number == 9 else OrgStatus.EXITED for number in numbers]
            return [Org(b"m" * 32, 2, 1, kind, 0, 0, 0, 0, 0) for kind in kinds]

        async def get_keys(self, pairs):
            return [
                OrgKey(0 if org == 9 else 1, 4, 0, 2 if number == 2 else 0, bytes([org]) * 64)
                for org, number in pairs
            ]

    trust = await read_trust(Registry(), [1, 9], [(1, 1), (1, 2), (9, 1)])
    assert trust.keys == (
        TrustedKey(1, 1, b"\x01" * 64, 4),
        TrustedKey(1, 2, b"\x01" * 64, 4, 0, 2),
        TrustedKey(3, 1, b"\x03" * 64, 4),
    )
    assert trust.orgs == tuple(TrustedOrg(org, b"m" * 32, 2, 3) for org in (1, 3))
    assert (trust.ledger, trust.validators, trust.height, trust.time_s) == (20200, VALIDATORS, 3, 9)
