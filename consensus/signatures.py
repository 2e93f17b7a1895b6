"""A cache of verified signatures, so that none is checked twice (Aardvark).

A PREPARE arrives by itself, then in the certificates of every VIEW-CHANGE, then in the NEW-VIEW
that holds those. Only signatures that verified are remembered, the newest of them: they are kept
in two generations, and the older one is forgotten when the newer one is full.
"""

from __future__ import annotations

from typing import TypeAlias

from lowu.consensus.types import Hash32, Signature, Verify

GENERATION_MAX = 2_048
"""Signatures in a generation: more than the PREPAREs of 31 validators in a full window of 50
heights. Each takes about 350 bytes."""

Key: TypeAlias = tuple[bytes, Hash32, Signature]


class KnownSignatures:
    """Verifies signatures and remembers good ones, at most 2 × `GENERATION_MAX` of them."""

    def __init__(self, verify: Verify, generation_max: int = GENERATION_MAX) -> None:
        self._verify = verify
        self._generation_max = generation_max
        self._newer: set[Key] = set()
        self._older: set[Key] = set()

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def is_signed(self, node_id: bytes, digest: Hash32, signature: Signature) -> bool:
        """Whether a node signed a digest."""
        key = (node_id, digest, signature)
        if key in self._newer:
            return True
        if key not in self._older and not self._verify(node_id, digest, signature):
            return False
        if len(self._newer) >= self._generation_max:
            self._older, self._newer = self._newer, set()
        self._newer.add(key)
        return True
