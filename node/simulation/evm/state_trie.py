"""The root of Ethereum's Merkle Patricia trie over a set of keys and values, built at once.

Only the official state tests need it: a Lowu chain keeps no trie. The `trie` library, which
inserts one key after the other into a database, takes fifty times as long; a test compares the
two.
"""

from __future__ import annotations

from collections.abc import Mapping

from lowu.node.chain.rlp_codec import Item, encode_rlp
from lowu.node.crypto import keccak256

EMPTY_ROOT = keccak256(b"\x80")


def compute_trie_root(leaves: Mapping[bytes, bytes]) -> bytes:
    """Return the root of a trie keyed by the hashes of these keys (a "secure" trie)."""
    if not leaves:
        return EMPTY_ROOT
    found = sorted((_nibbles(keccak256(key)), value) for key, value in leaves.items())
    return keccak256(encode_rlp(_node(found, 0)))


def _nibbles(key: bytes) -> bytes:
    return bytes([nibble for byte in key for nibble in (byte >> 4, byte & 15)])


def _node(leaves: list[tuple[bytes, bytes]], depth: int) -> list[Item]:
    """Return the node above these leaves, whose paths agree up to `depth`."""
    first, value = leaves[0]
    if len(leaves) == 1:
        return [_compact(first[depth:], is_leaf=True), value]
    last, shared = leaves[-1][0], depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        below = _reference(_node(leaves, shared))
        return [_compact(first[depth:shared], is_leaf=False), below]
    children: list[Item] = [b""] * 17
    for nibble in range(16):
        branch = [leaf for leaf in leaves if leaf[0][depth] == nibble]
        if branch:
            children[nibble] = _reference(_node(branch, depth + 1))
    return children


def _reference(node: list[Item]) -> Item:
    """Return a node's reference in its parent: the node itself if short, else its hash."""
    encoded = encode_rlp(node)
    return node if len(encoded) < 32 else keccak256(encoded)


def _compact(nibbles: bytes, *, is_leaf: bool) -> bytes:
    """Return a path in hex-prefix form."""
    flag = 2 if is_leaf else 0
    padded = bytes([flag + 1]) + nibbles if len(nibbles) % 2 else bytes([flag, 0]) + nibbles
    return bytes([padded[i] << 4 | padded[i + 1] for i in range(0, len(padded), 2)])
