"""The words of the protocol: heights, views, hashes, and the domain of one chain.

Plain aliases rather than wrapper classes: the core does arithmetic on heights and views in
every handler, and mypy checks the shapes where they matter (messages and effects).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Height: TypeAlias = int
"""Block number; 0 is genesis."""
View: TypeAlias = int
"""Counter of leader changes; 0 at the start of each epoch, never decreases within one."""
NodeIndex: TypeAlias = int
"""Position of a validator in the list sorted by node id."""
Hash32: TypeAlias = bytes
"""A 32-byte digest."""
Signature: TypeAlias = bytes
"""65 bytes r ‖ s ‖ v in the real node, shorter in simulation."""

Sign: TypeAlias = Callable[[Hash32], Signature]
"""Deterministic signing with this node's key (RFC 6979 in the real node)."""
Verify: TypeAlias = Callable[[bytes, Hash32, Signature], bool]
"""Whether the validator with a node id signed a digest."""

ZERO_HASH: Hash32 = bytes(32)
VIEW_MAX: View = 2**48
"""No honest node reaches it in the age of the universe; larger views are refused (B07)."""
HEIGHT_MAX: Height = 2**48


@dataclass(frozen=True, slots=True)
class Domain:
    """What every signature and every proposal digest is bound to (rule R-SIG-1)."""

    chain_id: str
    group_id: str


def hash_bytes(data: bytes) -> Hash32:
    """SHA-256, the hash of consensus messages (block and transaction hashes are keccak-256)."""
    return hashlib.sha256(data).digest()
