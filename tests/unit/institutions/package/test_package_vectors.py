"""The test vectors of docs/PACKAGE.md, for this and other implementations.

The second reader was written from that page alone. What both find in the vectors is the same, and
was not computed by code that they share.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.oracle import package_oracle as second_reader
from lowu.institutions.exchange.consent import sign_for_ledger
from lowu.institutions.exchange.presentation import decode_presentation
from lowu.institutions.exchange.request import decode_request
from lowu.institutions.package.batch import build_batch
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import (
    compute_anchor,
    compute_subject_commitment,
    decode_package,
    encode_package,
)
from lowu.institutions.package.leaves import (
    Attachment,
    LeafType,
    build_leaves,
    compute_root,
    hash_leaf,
)
from lowu.institutions.package.multiproof import compute_root_from
from lowu.institutions.package.proof import check_proof
from lowu.institutions.package.salt_seed import find_foreign_leaf, open_seed
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.verification.integrity import find_damage

DATA = Path(__file__).parents[3] / "data"
NUMBERS = {"cn.ecr/1": 1}


@pytest.fixture(scope="module")
def vectors():
    return json.loads((DATA / "package_vectors.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def package(vectors):
    return decode_package(encode_canonical(vectors["package"]))


@pytest.fixture(scope="module")
def shown(vectors):
    return decode_presentation(encode_canonical(vectors["presentation"]))


def test_leaves_and_root(vectors, package):
    content = vectors["content"]
    for path, file in vectors["files"].items():
        content[path[1:]] = Attachment(bytes.fromhex(file["data"]), file["media_type"])
    leaves = build_leaves(content, bytes.fromhex(vectors["seed"]))
    assert tuple(leaf for leaf in leaves if leaf.type is not LeafType.PAD) == package.disclosures
    assert {leaf.type for leaf in leaves} == set(LeafType)
    hashes = tuple(hash_leaf(vectors["schema_number"], leaf) for leaf in leaves)
    assert hashes == package.leaves
    assert compute_root(hashes).hex() == package.header.root


def test_header_and_anchor(vectors, package):
    digest = package.header.doc_digest
    assert digest.hex() == vectors["doc_digest"]
    key = bytes.fromhex(vectors["keys"]["issuer"]["public"])
    assert is_signed_by(key, digest, package.issuer_signature)
    (anchor,) = package.anchors
    profile = b"\x00\x06fields"
    by_hand = b"\x0bdvp2-anchor" + profile + b"\x00\x02" + digest + anchor.blind
    computed = compute_anchor(package.header, anchor.org, anchor.blind)
    assert anchor.anchor == computed == hashlib.sha256(by_hand).digest()
    commitment = compute_subject_commitment(*vectors["subject"], package.subject_salt)
    assert commitment.hex() == package.header.subject_commitment
    assert encode_package(package) == encode_canonical(vectors["package"])


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
    assert shown.request.hex() == vectors["request_digest"]
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


# --- by the second reader -------------------------------------------------------------------------


def without_proof(item):
    """Return a package or an anchor row without its proof, which the second reader leaves out."""
    if isinstance(item, dict):
        return {**item, "anchors": [without_proof(row) for row in item["anchors"]]}
    return [*item[:-1], None]


def test_the_second_reader_reads_the_package(vectors):
    data = second_reader.canonical(without_proof(vectors["package"]))
    keys = vectors["keys"]
    read = second_reader.read_package(
        data, NUMBERS, bytes.fromhex(keys["holder"]["private"]), keys["issuer"]["public"]
    )
    assert second_reader.doc_digest(read["header"]).hex() == vectors["doc_digest"]
    assert second_reader.canonical(vectors["package"]) == encode_canonical(vectors["package"])


def test_the_second_reader_finds_the_same_digests(vectors):
    request, shown = vectors["request"], vectors["presentation"]
    assert second_reader.request_digest(request).hex() == vectors["request_digest"]
    assert second_reader.consent_digest(shown["consent"]).hex() == vectors["consent_digest"]
    assert second_reader.presentation_digest(shown).hex() == vectors["presentation_digest"]
    found = second_reader.presentation_id(shown["anchor"][3], vectors["request_digest"])
    assert found.hex() == vectors["presentation_id"]


# --- version 1 ------------------------------------------------------------------------------------


def test_a_package_of_version_1_is_still_what_it_was():
    vectors = json.loads((DATA / "package_vectors_1.json").read_text(encoding="utf-8"))
    data = encode_canonical(vectors["package"])
    package = decode_package(data)
    assert encode_package(package) == data
    assert package.header.doc_digest.hex() == vectors["doc_digest"]
    key = bytes.fromhex(vectors["keys"]["issuer"]["public"])
    assert is_signed_by(key, package.header.doc_digest, package.issuer_signature, version=1)
    assert find_damage(package, SCHEMAS) == ""
    seed = open_seed(package, DocumentKey(bytes.fromhex(vectors["keys"]["holder"]["private"])))
    assert seed.hex() == vectors["seed"] and find_foreign_leaf(package, seed, 1) == ""
    first, second, *rest = package.disclosures
    changed = replace(package, disclosures=(second, first, *rest))
    assert "not in order" in find_damage(changed, SCHEMAS)
    hidden = replace(package, disclosures=package.disclosures[:-1])
    assert find_foreign_leaf(hidden, seed, 1) != ""
    stripped = second_reader.canonical(without_proof(vectors["package"]))
    second_reader.read_package(
        stripped, NUMBERS, bytes.fromhex(vectors["keys"]["holder"]["private"]), key.hex()
    )
