"""The curve secp256k1: recoverable signatures over 32-byte digests (docs/adr/0015).

Both libraries are bindings of libsecp256k1: coincurve, which has no wheels from Python 3.14 on,
and spec256k1, which has. Inputs are checked here first, so that results and errors do not depend
on the Python version.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

DIGEST_BYTES = 32
PRIVATE_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 64
"""x ‖ y, without the leading byte 4 of the uncompressed encoding."""
SIGNATURE_BYTES = 65
"""r ‖ s ‖ v with v in 0..1."""
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER = ORDER // 2
"""A signature with a higher s is a second form of another signature (EIP-2)."""


class CurveError(ValueError):
    """An invalid key, digest or signature; the text says why."""


class Library(NamedTuple):
    """The functions needed from a library; for bad input they may raise any exception."""

    sign: Callable[[bytes, bytes], bytes]
    recover: Callable[[bytes, bytes], bytes]
    compute_public_key: Callable[[bytes], bytes]


def load_coincurve() -> Library:
    """Return coincurve, up to Python 3.13."""
    from coincurve import PrivateKey, PublicKey  # noqa: PLC0415

    return Library(
        sign=lambda private_key, digest: PrivateKey(private_key).sign_recoverable(digest, None),
        recover=lambda digest, signature: PublicKey.from_signature_and_message(
            signature, digest, hasher=None
        ).format(compressed=False),
        compute_public_key=lambda private_key: PrivateKey(private_key).public_key.format(
            compressed=False
        ),
    )


def load_spec256k1() -> Library:
    """Return spec256k1, from Python 3.14 on."""
    from spec256k1 import PrivateKey, PublicKey  # noqa: PLC0415

    return Library(
        sign=lambda private_key, digest: PrivateKey(private_key).sign_recoverable(digest),
        recover=lambda digest, signature: PublicKey.from_signature_and_message(
            signature, digest
        ).format(compressed=False),
        compute_public_key=lambda private_key: PublicKey.from_secret(private_key).format(
            compressed=False
        ),
    )


_library = load_spec256k1() if sys.version_info >= (3, 14) else load_coincurve()


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Return the deterministic (RFC 6979) signature r ‖ s ‖ v of a digest, with a low s."""
    _check_private_key(private_key)
    if len(digest) != DIGEST_BYTES:
        raise CurveError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    return bytes(_library.sign(private_key, digest))


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the public key x ‖ y that made a signature; `CurveError` if none.

    Low and high s are accepted: callers that store or count signatures must refuse an s above
    `HALF_ORDER`.
    """
    if len(digest) != DIGEST_BYTES or len(signature) != SIGNATURE_BYTES or signature[64] > 1:
        raise CurveError("signature is not 65 bytes r, s, v with v 0 or 1")
    try:
        return bytes(_library.recover(digest, signature)[1:])
    except Exception as error:  # the libraries raise many kinds (B18)
        raise CurveError("signature does not recover to a public key") from error


def compute_public_key(private_key: bytes) -> bytes:
    """Return the public key x ‖ y of a private key."""
    _check_private_key(private_key)
    return bytes(_library.compute_public_key(private_key)[1:])


def _check_private_key(private_key: bytes) -> None:
    number = int.from_bytes(private_key, "big")
    if len(private_key) != PRIVATE_KEY_BYTES or not 0 < number < ORDER:
        raise CurveError("a private key is 32 bytes, between 0 and the order of secp256k1")
