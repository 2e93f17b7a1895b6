"""The seed of a document's salts, sealed to its holder (docs/PACKAGE.md).

All salts of a document are derived from one seed. With it, the holder can check that every leaf,
pads included, is what the package says: an issuer cannot hide a field among the pads. A receiver
never sees the seed. Destroying its seed, blinds and fields erases a document.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from lowu.institutions.package.format import SEALED_SEED_BYTES, Package
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import (
    Leaf,
    LeafType,
    derive_pad,
    derive_salt,
    hash_leaf,
    place_leaves,
)
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.package.tags import FIRST_VERSION, VERSION, tag

SEED_BYTES = 32


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def seal_seed(seed: bytes, holder_key: bytes, doc_id: str) -> bytes:
    """Return a 32-byte seed sealed to the key of a document's holder (x ‖ y, 64 bytes).

    Raises:
        ValueError: the holder's key is not a point on the curve.
    """
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + holder_key)
    return bytes(_suite().encrypt(seed, key, _info(doc_id)))


def _info(doc_id: str, version: int = VERSION) -> bytes:
    return tag("seed", version) + bytes.fromhex(doc_id)


def open_seed(package: Package, key: DocumentKey) -> bytes:
    """Return a package's seed; `FormError` if it was not sealed to this holder, or changed."""
    info = _info(package.header.doc_id, package.header.v)
    try:
        if len(package.seed) != SEALED_SEED_BYTES:
            raise ValueError("length")
        return bytes(_suite().decrypt(package.seed, key.load(), info))
    except (InvalidTag, ValueError) as error:
        raise FormError("its seed is not sealed to this holder") from error


def find_foreign_leaf(package: Package, seed: bytes, schema_number: int) -> str:
    """Describe the first leaf that does not follow from the seed; empty if all do.

    Fields are compared by their salts and places; all other leaves must be pads.
    """
    for leaf in package.disclosures:
        if leaf.salt != derive_salt(seed, leaf.path):
            return f"field {leaf.path}"
    shown = {leaf.index: leaf for leaf in package.disclosures}
    for leaf, digest in zip(_place_pads(package, seed), package.leaves, strict=True):
        index = leaf.index
        if leaf.type is not LeafType.PAD:
            if shown.get(index) == leaf:  # whose hash has been compared
                continue
            return f"field {leaf.path}, which is not in its place"
        if hash_leaf(schema_number, leaf, package.header.v) != digest:
            return f"leaf {index}, which is neither shown nor a pad"
    return ""


def _place_pads(package: Package, seed: bytes) -> tuple[Leaf, ...]:
    """Return all leaves, with as many pads as are not shown, in the places where they belong."""
    shown, count = package.disclosures, len(package.leaves)
    if package.header.v == FIRST_VERSION:  # in order of their paths, then pads by their index
        pads = tuple(derive_pad(seed, index) for index in range(len(shown), count))
        return (*shown, *pads)
    return place_leaves([*shown, *(derive_pad(seed, n) for n in range(count - len(shown)))])
