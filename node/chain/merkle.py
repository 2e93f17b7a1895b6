"""Merkle trees over transaction hashes and receipts, after RFC 6962.

Leaves and inner nodes are hashed with different prefixes and no node is duplicated, so an inner
node cannot pass for a leaf, and two lists never share a root (threat T16).
"""

from __future__ import annotations

from collections.abc import Sequence

from lowu.node.crypto import keccak256

EMPTY_ROOT = bytes(32)


def hash_leaf(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return keccak256(b"\x00" + data)


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return keccak256(b"\x01" + left + right)


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def compute_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf data; 32 zero bytes for none."""
    if not leaves:
        return EMPTY_ROOT
    return _root([hash_leaf(leaf) for leaf in leaves])


def _root(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    middle = _split(len(hashes))
    return hash_node(_root(hashes[:middle]), _root(hashes[middle:]))


def build_path(leaves: Sequence[bytes], index: int) -> tuple[tuple[bool, bytes], ...]:
    """Return the siblings from a leaf up to the root: whether each is on the left, and hash."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} of {len(leaves)}")
    return tuple(_path([hash_leaf(leaf) for leaf in leaves], index))


def _path(hashes: Sequence[bytes], index: int) -> list[tuple[bool, bytes]]:
    if len(hashes) == 1:
        return []
    middle = _split(len(hashes))
    if index < middle:
        return [*_path(hashes[:middle], index), (False, _root(hashes[middle:]))]
    return [*_path(hashes[middle:], index - middle), (True, _root(hashes[:middle]))]


def compute_root_from_path(leaf: bytes, path: Sequence[tuple[bool, bytes]]) -> bytes:
    """Return the root that a leaf and its siblings lead to."""
    current = hash_leaf(leaf)
    for is_left, sibling in path:
        current = hash_node(sibling, current) if is_left else hash_node(current, sibling)
    return current
