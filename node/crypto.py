"""The crypto suite of a chain: keccak-256 and recoverable secp256k1 signatures.

One seam for the whole node, so that a national-cryptography suite can take its place. The
fast libraries are used where they have wheels; the fallbacks give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from node.errors import BadInput

SIGNATURE_BYTES = 65
"""r ‖ s ‖ v with v in 0..1."""
PUBLIC_KEY_BYTES = 64
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Signatures above it are refused: they would be a second encoding of a valid one."""


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


def _load_curve() -> tuple[
    Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes], Callable[[bytes], bytes]
]:
    try:
        import coincurve  # noqa: PLC0415

        def sign(private_key: bytes, digest: bytes) -> bytes:
            signature: bytes = coincurve.PrivateKey(private_key).sign_recoverable(digest, None)
            return signature

        def recover(digest: bytes, signature: bytes) -> bytes:
            key = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
            return bytes(key.format(compressed=False)[1:])

        def public_key(private_key: bytes) -> bytes:
            key = coincurve.PrivateKey(private_key).public_key
            return bytes(key.format(compressed=False)[1:])
    except ImportError:
        from eth_keys import keys  # noqa: PLC0415

        def sign(private_key: bytes, digest: bytes) -> bytes:
            return bytes(keys.PrivateKey(private_key).sign_msg_hash(digest).to_bytes())

        def recover(digest: bytes, signature: bytes) -> bytes:
            key = keys.Signature(signature).recover_public_key_from_msg_hash(digest)
            return bytes(key.to_bytes())

        def public_key(private_key: bytes) -> bytes:
            return bytes(keys.PrivateKey(private_key).public_key.to_bytes())

    return sign, recover, public_key


_sign, _recover, _public_key = _load_curve()


def sign(private_key: bytes, digest: bytes) -> bytes:
    """Return the deterministic (RFC 6979) signature r ‖ s ‖ v of a 32-byte digest."""
    return _sign(private_key, digest)


def recover_public_key(digest: bytes, signature: bytes) -> bytes:
    """Return the 64-byte public key that made a signature; `BadInput` if there is none."""
    if len(signature) != SIGNATURE_BYTES or signature[64] > 1 or len(digest) != 32:
        raise BadInput("signature is not 65 bytes r, s, v with v 0 or 1")
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise BadInput("signature has a high s")
    try:
        return _recover(digest, signature)
    except Exception as error:  # the libraries raise many kinds (B18)
        raise BadInput("signature does not recover to a public key") from error


def compute_public_key(private_key: bytes) -> bytes:
    """Return the 64-byte public key of a private key."""
    return _public_key(private_key)


def compute_address(public_key: bytes) -> bytes:
    """Return the 20-byte account address of a public key."""
    return keccak256(public_key)[12:]


@lru_cache(maxsize=16_384)
def is_signed_by(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the key signed the digest. Cached: certificates repeat the same votes."""
    try:
        return recover_public_key(digest, signature) == public_key
    except BadInput:
        return False
