"""With a document's seed, the holder checks that it hides no leaf."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import compute_anchor, decode_package, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import compute_root, hash_leaf
from lowu.institutions.package.salt_seed import find_foreign_leaf, open_seed, seal_seed
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Holder
from tests.unit.document_world import HOLDER_KEY, ISSUER_KEY, NOVA_KEY, World

VECTORS = Path(__file__).parents[2] / "data" / "package_vectors.json"


@pytest.fixture(scope="module")
def package():
    return World().package


def reissued(package, leaves):
    """Return the package as its issuer would have made it with other leaves."""
    header = replace(package.header, root=compute_root(leaves).hex())
    (anchor,) = package.anchors
    anchor = replace(anchor, anchor=compute_anchor(header, anchor.blind))
    signature = ISSUER_KEY.sign(header.doc_digest)
    return replace(
        package, header=header, leaves=leaves, anchors=(anchor,), issuer_signature=signature
    )


def refused(package, text, key=HOLDER_KEY):
    with pytest.raises(FormError, match=text):
        Holder("acme", key).receive(encode_package(package))


def test_the_vector_s_seed_opens():
    vectors = json.loads(VECTORS.read_text())
    package = decode_package(encode_canonical(vectors["package"]))
    key = DocumentKey(bytes.fromhex(vectors["keys"]["holder"]["private"]))
    seed = open_seed(package, key)
    assert seed.hex() == vectors["seed"]
    assert find_foreign_leaf(package, seed, vectors["schema_number"]) == ""


def test_only_its_holder_opens_it(package):
    assert len(open_seed(package, HOLDER_KEY)) == 32
    refused(package, "not sealed to this holder", NOVA_KEY)
    other = replace(package, header=replace(package.header, doc_id="00" * 16))
    with pytest.raises(FormError, match="not sealed"):
        open_seed(other, HOLDER_KEY)  # the seed of another document


def test_a_changed_seed_is_refused(package):
    for at in range(len(package.seed)):
        changed = bytearray(package.seed)
        changed[at] ^= 1
        refused(replace(package, seed=bytes(changed)), "not sealed")
    refused(replace(package, seed=package.seed[:-1]), "seed")
    wrong = seal_seed(bytes(32), HOLDER_KEY.public_key, package.header.doc_id)
    refused(replace(package, seed=wrong), "does not follow from its seed")


def test_an_issuer_cannot_hide_a_field_among_the_pads(package):
    secret = replace(package.disclosures[0], index=len(package.leaves) - 1, path="/zz", value="no")
    leaves = (*package.leaves[:-1], hash_leaf(1, secret))
    refused(reissued(package, leaves), "neither shown nor a pad")


def test_nor_a_field_that_it_does_not_hand_over(package):
    assert len(reissued(package, package.leaves).disclosures) > 1
    refused(replace(package, disclosures=package.disclosures[1:]), "neither shown nor a pad")


def test_a_salt_of_its_own_is_noticed(package):
    first = replace(package.disclosures[0], salt=bytes(32))
    leaves = (hash_leaf(1, first), *package.leaves[1:])
    changed = reissued(package, leaves)
    changed = replace(changed, disclosures=(first, *package.disclosures[1:]))
    refused(changed, f"field {first.path}, does not follow")
