"""With a document's seed, the holder checks that it hides no leaf."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import compute_anchor, decode_package, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import (
    LeafType,
    compute_root,
    derive_pad,
    hash_leaf,
    place_leaves,
)
from lowu.institutions.package.salt_seed import find_foreign_leaf, open_seed, seal_seed
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Holder
from tests.unit.document_world import HOLDER_KEY, ISSUER_KEY, NOVA_KEY, TRUST, World

VECTORS = Path(__file__).parents[3] / "data" / "package_vectors.json"


@pytest.fixture(scope="module")
def package():
    return World().package


def reissued(package, leaves):
    """Return the package as its issuer would have made it with other leaves."""
    header = replace(package.header, root=compute_root(leaves).hex())
    (anchor,) = package.anchors
    anchor = replace(anchor, anchor=compute_anchor(header, anchor.org, anchor.blind))
    signature = ISSUER_KEY.sign(header.doc_digest)
    return replace(
        package, header=header, leaves=leaves, anchors=(anchor,), issuer_signature=signature
    )


def refused(package, text, key=HOLDER_KEY):
    with pytest.raises(FormError, match=text):
        Holder("acme", key, trust=TRUST).receive(encode_package(package))


def test_the_vector_s_seed_opens():
    vectors = json.loads(VECTORS.read_text())
    package = decode_package(encode_canonical(vectors["package"]))
    key = DocumentKey(bytes.fromhex(vectors["keys"]["holder"]["private"]))
    seed = open_seed(package, key)
    assert seed.hex() == vectors["seed"]
    assert find_foreign_leaf(package, seed, vectors["schema_number"]) == ""


def test_only_its_holder_opens_it(package):
    assert len(open_seed(package, HOLDER_KEY)) == 32
    refused(package, "another holder", NOVA_KEY)
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
    shown = {leaf.index for leaf in package.disclosures}
    place = next(index for index in range(len(package.leaves)) if index not in shown)
    secret = replace(package.disclosures[0], index=place, path="/zz", kinds="o")
    leaves = [*package.leaves]
    leaves[place] = hash_leaf(1, secret)
    refused(reissued(package, tuple(leaves)), "neither shown nor a pad")


def test_nor_a_field_that_it_does_not_hand_over(package):
    assert len(reissued(package, package.leaves).disclosures) > 1
    seed = open_seed(package, HOLDER_KEY)
    hidden = next(leaf for leaf in package.disclosures if leaf.path == "/loans/7/lender")
    kept = tuple(leaf for leaf in package.disclosures if leaf is not hidden)
    told = find_foreign_leaf(replace(package, disclosures=kept), seed, 1)
    assert "nor a pad" in told or "not in its place" in told


def test_leaves_stand_where_their_salts_say(package):
    """An issuer that chooses places could tell a receiver what is hidden."""
    one, two = package.disclosures[3:5]
    moved = [*package.disclosures]
    moved[3], moved[4] = replace(two, index=one.index), replace(one, index=two.index)
    leaves = [*package.leaves]
    leaves[one.index], leaves[two.index] = leaves[two.index], leaves[one.index]
    changed = replace(reissued(package, tuple(leaves)), disclosures=tuple(moved))
    refused(changed, "not in order")


def test_a_package_that_its_issuer_did_not_sign(package):
    """N-M12: a holder took a package for another's key with a signature of zeros."""
    refused(replace(package, issuer_signature=bytes(64)), "not signed by key 1 of organisation 1")
    with pytest.raises(FormError, match="needs a node or a trust file"):
        Holder("acme", HOLDER_KEY).receive(encode_package(package))


def test_two_values_at_one_path(package):
    """N-M12: a document with two values of one field was taken; each receiver saw another."""
    seed = open_seed(package, HOLDER_KEY)
    first = package.disclosures[0]
    twin = replace(first, value="another", type=LeafType.STRING)
    pads = [derive_pad(seed, n) for n in range(len(package.leaves) - len(package.disclosures) - 1)]
    placed = place_leaves([*package.disclosures, twin, *pads])
    hashes = tuple(hash_leaf(1, leaf) for leaf in placed)
    shown = tuple(leaf for leaf in placed if leaf.type is not LeafType.PAD)
    changed = replace(reissued(package, hashes), disclosures=shown)
    refused(changed, "not in order|two values at")


def test_a_salt_of_its_own_is_noticed(package):
    first = replace(package.disclosures[0], salt=bytes(32))
    leaves = [*package.leaves]
    leaves[first.index] = hash_leaf(1, first)
    changed = reissued(package, tuple(leaves))
    changed = replace(changed, disclosures=(first, *package.disclosures[1:]))
    refused(changed, f"field {first.path}, does not follow")
