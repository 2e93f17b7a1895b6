"""Accounts that sign transactions and digests.

`eth_keys` signs and `rlp` encodes. eth-account would do it too, but what it loads before (BLS
arithmetic, for key files of another kind) takes the better part of a second, and every command
that signs would pay it. Key files are left to it (`institutions.keystore`).
"""

from __future__ import annotations

import rlp
from eth_keys import keys
from eth_utils.crypto import keccak

EIP_155_V = 35


class Account:
    """An account with its private key."""

    def __init__(self, private_key: bytes) -> None:
        self._key = keys.PrivateKey(private_key)
        self.address: str = self._key.public_key.to_checksum_address()
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
        signature = self._key.sign_msg_hash(digest)
        return signature.v, signature.r, signature.s
