"""Signatures on documents: P-256 over a digest, suite `sha256-p256`."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from lowu.institutions.package.tags import FIRST_VERSION, VERSION

PUBLIC_KEY_BYTES = 64
SIGNATURE_BYTES = 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256."""


def _choose_signing() -> ec.ECDSA:
    """Return the way of signing: with nonces that follow from key and digest (RFC 6979) if it can.

    The same key then makes the same signature of a digest, and a weak source of randomness gives no
    key away.
    """
    prehashed = utils.Prehashed(hashes.SHA256())
    try:
        return ec.ECDSA(prehashed, deterministic_signing=True)
    except UnsupportedAlgorithm:  # OpenSSL before 3.2
        return ec.ECDSA(prehashed)


_SIGNING = _choose_signing()


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """A private key that signs documents."""

    private_key: bytes = field(repr=False)

    def load(self) -> ec.EllipticCurvePrivateKey:
        """Return the key as an object of the `cryptography` library."""
        return ec.derive_private_key(int.from_bytes(self.private_key, "big"), ec.SECP256R1())

    @property
    def public_key(self) -> bytes:
        """The public key: x ‖ y, 64 bytes."""
        numbers = self.load().public_key().public_numbers()
        return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s over a 32-byte digest."""
        r, s = utils.decode_dss_signature(self.load().sign(digest, _SIGNING))
        s = min(s, ORDER - s)  # the other is a second signature of the same
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def is_public_key(data: bytes) -> bool:
    """Whether bytes are a public key: 64 of them, x and y of a point of P-256."""
    if len(data) != PUBLIC_KEY_BYTES:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + data)
    except ValueError:
        return False
    return True


def is_signed_by(
    public_key: bytes, digest: bytes, signature: bytes, version: int = VERSION
) -> bool:
    """Whether a public key (64 bytes) signed a digest; False for anything malformed.

    In version 1, the second signature that anybody can make of one counts too.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public_key)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if s > ORDER // 2 and version != FIRST_VERSION:
            return False
        encoded = utils.encode_dss_signature(r, s)
        key.verify(encoded, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True
