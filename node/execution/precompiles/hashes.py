"""0x01 to 0x04: signer recovery, two hash functions, and a copy."""

from __future__ import annotations

import hashlib

from Crypto.Hash import RIPEMD160

from lowu.node.crypto import HALF_ORDER, compute_address, recover_public_key
from lowu.node.errors import BadInput

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1's group."""


def ecrecover(data: bytes) -> bytes:
    """Return the signer's address in 32 bytes, or b"": a wrong signature is not a failed call.

    `data` is a digest, v (27 or 28), r and s, each 32 bytes; missing bytes are zeros.
    """
    data = data[:128].ljust(128, b"\0")
    v, r = int.from_bytes(data[32:64], "big") - 27, int.from_bytes(data[64:96], "big")
    s = int.from_bytes(data[96:], "big")
    if v not in {0, 1} or not 0 < r < ORDER or not 0 < s < ORDER:
        return b""
    if s > HALF_ORDER:  # valid here, unlike in transactions; use the low s of the same signer
        v, s = 1 - v, ORDER - s
    signature = data[64:96] + s.to_bytes(32, "big") + bytes((v,))
    try:
        return bytes(12) + compute_address(recover_public_key(data[:32], signature))
    except BadInput:
        return b""


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of `data`."""
    return hashlib.sha256(data).digest()


def ripemd160(data: bytes) -> bytes:
    """Return the RIPEMD-160 of `data` in 32 bytes (OpenSSL has it only in its legacy provider)."""
    digest: bytes = RIPEMD160.new(data).digest()
    return bytes(12) + digest


def identity(data: bytes) -> bytes:
    """Return `data`."""
    return data
