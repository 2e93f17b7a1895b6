"""Accounts that sign transactions and digests.

`contracts.curve` signs and `rlp` encodes. eth-account would do it too, but what it loads before
(BLS arithmetic, for key files of another kind) takes the better part of a second, and every
command that signs would pay it. Key files are left to it (`institutions.ledger.keystore`).
"""

from __future__ import annotations

import rlp
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from contracts import curve

EIP_155_V = 35


class Account:
    """An account with its private key."""

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        public_key = curve.compute_public_key(private_key)
        self.address: str = to_checksum_address(keccak(public_key)[12:])
        """0x…, with the check of EIP-55."""

    def sign_transaction(
        self, *, to: bytes, data: bytes, gas: int, nonce: int, chain_id: int, value: int = 0
    ) -> tuple[bytes, bytes]:
        """Return a transaction of gas price 0 as it is sent (legacy, EIP-155), and its hash.

        `to` is an address; without one a contract is created of `data`.
        """
        fields = [nonce, 0, gas, to, value, data]
        v, r, s = self.sign_digest(keccak(rlp.encode([*fields, chain_id, 0, 0])))
        raw = bytes(rlp.encode([*fields, EIP_155_V + 2 * chain_id + v, r, s]))
        return raw, keccak(raw)

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """Return v (0 or 1), r and s of the deterministic (RFC 6979) signature of 32 bytes."""
        signature = curve.sign(self._private_key, digest)
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        return signature[64], r, s
