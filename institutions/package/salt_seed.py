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
from lowu.institutions.package.leaves import Leaf, LeafType, derive_pad_salt, derive_salt, hash_leaf
from lowu.institutions.package.signatures import DocumentKey

SEED_BYTES = 32
SEED_INFO = b"dvp1-seed"


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def seal_seed(seed: bytes, holder_key: bytes, doc_id: str) -> bytes:
    """Return a 32-byte seed sealed to the key of a document's holder (x ‖ y, 64 bytes).

    Raises:
        ValueError: the holder's key is not a point on the curve.
    """
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + holder_key)
    return bytes(_suite().encrypt(seed, key, SEED_INFO + bytes.fromhex(doc_id)))


def open_seed(package: Package, key: DocumentKey) -> bytes:
    """Return a package's seed; `FormError` if it was not sealed to this holder, or changed."""
    info = SEED_INFO + bytes.fromhex(package.header.doc_id)
    try:
        if len(package.seed) != SEALED_SEED_BYTES:
            raise ValueError("length")
        return bytes(_suite().decrypt(package.seed, key.load(), info))
    except (InvalidTag, ValueError) as error:
        raise FormError("its seed is not sealed to this holder") from error


def find_foreign_leaf(package: Package, seed: bytes, schema_number: int) -> str:
    """Describe the first leaf that is not derived from the seed; empty if all are.

    Fields are compared by their salts; all other leaves must be pads.
    """
    for leaf in package.disclosures:
        if leaf.salt != derive_salt(seed, leaf.path):
            return f"field {leaf.path}"
    shown = {leaf.index for leaf in package.disclosures}
    for index, digest in enumerate(package.leaves):
        pad = Leaf(index, "", LeafType.PAD, "", derive_pad_salt(seed, index))
        if index not in shown and hash_leaf(schema_number, pad) != digest:
            return f"leaf {index}, which is neither shown nor a pad"
    return ""
