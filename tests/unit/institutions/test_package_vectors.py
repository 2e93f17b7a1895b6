"""The test vectors of docs/PACKAGE.md, for this and other implementations."""

import hashlib
import json
from pathlib import Path

import pytest

from lowu.institutions.exchange.consent import sign_for_ledger
from lowu.institutions.exchange.presentation import decode_presentation
from lowu.institutions.exchange.request import decode_request
from lowu.institutions.package.batch import build_batch
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import (
    compute_anchor,
    compute_subject_commitment,
    decode_package,
)
from lowu.institutions.package.leaves import LeafType, build_leaves, compute_root, hash_leaf
from lowu.institutions.package.multiproof import compute_root_from
from lowu.institutions.package.proof import check_proof
from lowu.institutions.package.signatures import DocumentKey, is_signed_by

FILE = Path(__file__).parents[2] / "data" / "package_vectors.json"


@pytest.fixture(scope="module")
def vectors():
    return json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def package(vectors):
    return decode_package(encode_canonical(vectors["package"]))


@pytest.fixture(scope="module")
def shown(vectors):
    return decode_presentation(encode_canonical(vectors["presentation"]))


def test_leaves_and_root(vectors, package):
    leaves = build_leaves(vectors["content"], bytes.fromhex(vectors["seed"]))
    assert tuple(leaf for leaf in leaves if leaf.path) == package.disclosures
    assert {leaf.type for leaf in leaves} == set(LeafType) - {LeafType.FILE}
    hashes = tuple(hash_leaf(vectors["schema_number"], leaf) for leaf in leaves)
    assert hashes == package.leaves
    assert compute_root(hashes).hex() == package.header.root


def test_header_and_anchor(vectors, package):
    digest = package.header.doc_digest
    assert digest.hex() == vectors["doc_digest"]
    key = bytes.fromhex(vectors["keys"]["issuer"]["public"])
    assert is_signed_by(key, digest, package.issuer_signature)
    (anchor,) = package.anchors
    by_hand = hashlib.sha256(b"dvp1-anchor" + digest + anchor.blind).digest()
    assert anchor.anchor == compute_anchor(package.header, anchor.blind) == by_hand
    commitment = compute_subject_commitment(*vectors["subject"], package.subject_salt)
    assert commitment.hex() == package.header.subject_commitment


def test_proof(vectors, package):
    (anchor,) = package.anchors
    proven = check_proof(anchor.proof, package.header.issuer_org, anchor.anchor)
    wanted = vectors["proven"]
    assert (proven.height, proven.time_s) == (wanted["height"], wanted["time_s"])
    assert proven.block_hash.hex() == wanted["block_hash"]
    assert [[node_id.hex(), weight] for node_id, weight in proven.validators] == (
        wanted["validators"]
    )


def test_request(vectors):
    request = decode_request(encode_canonical(vectors["request"]))
    assert request.digest.hex() == vectors["request_digest"]
    assert request.is_signed_by(bytes.fromhex(vectors["keys"]["receiver"]["public"]))


def test_presentation(vectors, shown):
    assert shown.digest.hex() == vectors["presentation_digest"]
    assert shown.id.hex() == vectors["presentation_id"]
    assert shown.is_signed
    known = {
        leaf.index: digest for leaf, digest in zip(shown.disclosures, shown.hashes, strict=True)
    }
    root = compute_root_from(shown.header.leaf_count, known, shown.siblings)
    assert root.hex() == shown.header.root


def test_consent(vectors, shown):
    receipt = shown.consent
    assert receipt.digest.hex() == vectors["consent_digest"]
    assert receipt.is_signed
    ledger = vectors["ledger"]
    key = bytes.fromhex(ledger["key"])
    grant = sign_for_ledger(key, ledger["chain_id"], receipt, is_withdrawal=False)
    found = {"v": grant.v, "r": grant.r.hex(), "s": grant.s.hex()}
    assert found == ledger["grant"]


def test_batch(vectors):
    batch = vectors["batch"]
    root, paths = build_batch([bytes.fromhex(item) for item in batch["anchors"]])
    assert root.hex() == batch["root"]
    assert [[step.hex() for step in path] for path in paths] == batch["paths"]


def test_keys(vectors):
    for pair in vectors["keys"].values():
        key = DocumentKey(bytes.fromhex(pair["private"]))
        assert key.public_key.hex() == pair["public"]
