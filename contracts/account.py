"""Accounts that sign transactions and digests.

`lowu.contracts.curve` signs and `rlp` encodes. eth-account could do both, but its imports (BLS
arithmetic, for another kind of key file) take most of a second, in every command that signs. It
is used for key files only (`lowu.institutions.ledger.keystore`).
"""

from __future__ import annotations

import rlp
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from lowu.contracts import curve

EIP_155_V = 35


class Account:
    """An account with its private key."""

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        public_key = curve.compute_public_key(private_key)
        self.address: str = to_checksum_address(keccak(public_key)[12:])
        """0x…, with the EIP-55 checksum."""

    def sign_transaction(
        self,
        *,
        to: bytes,
        data: bytes,
        gas: int,
        nonce: int,
        chain_id: int,
        value: int = 0,
        price: int = 0,
    ) -> tuple[bytes, bytes]:
        """Return the raw bytes of a transaction (legacy, EIP-155), and its hash.

        If `to` is empty, the transaction creates a contract from `data`. `price` is that of gas, in
        wei: 0 on chains of Lowu.
        """
        fields = [nonce, price, gas, to, value, data]
        v, r, s = self.sign_digest(keccak(rlp.encode([*fields, chain_id, 0, 0])))
        raw = bytes(rlp.encode([*fields, EIP_155_V + 2 * chain_id + v, r, s]))
        return raw, keccak(raw)

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """Return v (0 or 1), r and s of the deterministic (RFC 6979) signature of a digest."""
        signature = curve.sign(self._private_key, digest)
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        return signature[64], r, s
