"""Many documents under one registered root: the tree of their anchors, and a path for each.

Leaf: H("dvp1-b0" ‖ anchor); node: H("dvp1-b1" ‖ left ‖ right); split as in RFC 9162. The tags
separate anchors from nodes, and batches from documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

BATCH_MAX = 65_536


def compute_batch_root(anchor: bytes, index: int, path: Sequence[bytes], count: int) -> bytes:
    """Return the root that an anchor and its path in a batch lead to; empty if they do not fit."""
    if not 0 <= index < count:
        return b""
    current = hashlib.sha256(b"dvp1-b0" + anchor).digest()
    steps = list(reversed(path))
    while count > 1:
        if index ^ 1 < count:  # else the last node moves up unchanged
            if not steps:
                return b""
            sibling = steps.pop()
            pair = sibling + current if index & 1 else current + sibling
            current = hashlib.sha256(b"dvp1-b1" + pair).digest()
        index, count = index >> 1, (count + 1) >> 1
    return b"" if steps else current


def build_batch(anchors: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """Return the root over anchors and the sibling hashes of each, from the anchor up.

    Raises:
        ValueError: there is no anchor, or more than a batch can hold.
    """
    if not 1 <= len(anchors) <= BATCH_MAX:
        raise ValueError(f"a batch has 1 to {BATCH_MAX} documents, not {len(anchors)}")
    level = [hashlib.sha256(b"dvp1-b0" + anchor).digest() for anchor in anchors]
    places = list(range(len(anchors)))
    paths: list[list[bytes]] = [[] for _ in anchors]
    # Level by level from below; a last node without a sibling moves up unchanged, which gives the
    # same tree as splitting from above.
    while len(level) > 1:
        for leaf, place in enumerate(places):
            sibling = place ^ 1
            if sibling < len(level):
                paths[leaf].append(level[sibling])
            places[leaf] = place >> 1
        level = [
            hashlib.sha256(b"dvp1-b1" + level[at] + level[at + 1]).digest()
            if at + 1 < len(level)
            else level[at]
            for at in range(0, len(level), 2)
        ]
    return level[0], [tuple(path) for path in paths]
