"""The crypto suite of a chain: keccak-256 and recoverable secp256k1 signatures.

The whole node uses this one module, so that a national-cryptography suite can replace it. The
curve itself is `lowu.contracts.curve`, which the institutions use, too; keccak-256 comes from the
fast library where it has wheels, and the fallback gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from lowu.contracts import curve
from lowu.contracts.curve import CurveError
from lowu.node.errors import BadInput

PUBLIC_KEY_BYTES = curve.PUBLIC_KEY_BYTES
SIGNATURE_BYTES = curve.SIGNATURE_BYTES
HALF_ORDER = curve.HALF_ORDER
"""Signatures with a higher s are refused: each is a second encoding of a valid signature."""


def _load_keccak() -> Callable[[bytes], bytes]:
    try:
        import sha3  # noqa: PLC0415

        def keccak(data: bytes) -> bytes:
            digest: bytes = sha3.keccak_256(data).digest()
            return digest
    except ImportError:
        from Crypto.Hash import keccak as pycryptodome  # noqa: PLC0415

        def keccak(data: bytes) -> bytes:
            return pycryptodome.new(digest_bits=256, data=data).digest()

    return keccak


keccak256: Callable[[bytes], bytes] = _load_keccak()
"""Return the 32-byte keccak-256 of `data` (the original padding, not SHA3-256)."""


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Return the deterministic (RFC 6979) signature r ‖ s ‖ v of a 32-byte digest."""
    return curve.sign(private_key, digest)


def recover_public_key(digest: bytes, signature: bytes) -> bytes:
    """Return the 64-byte public key that made a signature; `BadInput` if there is none."""
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise BadInput("signature has a high s")
    try:
        return curve.recover(digest, signature)
    except CurveError as error:
        raise BadInput(str(error)) from error


def compute_public_key(private_key: bytes) -> bytes:
    """Return the 64-byte public key of a private key."""
    return curve.compute_public_key(private_key)


def compute_address(public_key: bytes) -> bytes:
    """Return the 20-byte account address of a public key."""
    return keccak256(public_key)[12:]


@lru_cache(maxsize=16_384)
def is_signed_by(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the key signed the digest. Cached, since certificates repeat the same votes."""
    try:
        return recover_public_key(digest, signature) == public_key
    except BadInput:
        return False
