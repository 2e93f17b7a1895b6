"""Signatures that have been found good, so that none is checked twice (Aardvark).

A PREPARE comes by itself, then in the certificates of every VIEW-CHANGE, then in the NEW-VIEW
that holds these. Only what verified is remembered, and of that the newest: two generations,
of which the older one is forgotten when the newer one is full.
"""

from __future__ import annotations

from typing import TypeAlias

from consensus.types import Hash32, Signature, Verify

GENERATION_MAX = 2_048
"""Signatures in a generation: more PREPAREs than 31 validators give in a full window of 50; some
350 bytes each."""

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
