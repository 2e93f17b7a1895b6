"""Proofs of some leaves of a tree: their hashes, and those of the subtrees beside them.

The tree is that of `leaves.compute_root` (RFC 9162 split). Siblings are in the order in which a
walk from left to right needs them, so the proof of a given set of leaves has only one form.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence

from lowu.institutions.package.leaves import compute_root, split


def collect_siblings(hashes: Sequence[bytes], shown: Collection[int]) -> tuple[bytes, ...]:
    """Return the hashes that a reader of the shown leaves needs to reach the root."""
    return tuple(_collect(hashes, 0, len(hashes), sorted(shown)))


def _is_hidden(start: int, end: int, shown: Sequence[int]) -> bool:
    """Whether no shown leaf, in ascending order, lies from `start` to before `end`."""
    place = bisect_left(shown, start)
    return place == len(shown) or shown[place] >= end


def _collect(
    hashes: Sequence[bytes], start: int, end: int, shown: Sequence[int]
) -> Iterator[bytes]:
    if _is_hidden(start, end, shown):
        yield compute_root(hashes[start:end])
    elif end - start > 1:
        middle = start + split(end - start)
        yield from _collect(hashes, start, middle, shown)
        yield from _collect(hashes, middle, end, shown)


def compute_root_from(
    count: int, shown: Mapping[int, bytes], siblings: Sequence[bytes]
) -> bytes | None:
    """Return the root that shown leaf hashes and siblings lead to; None if they do not fit."""
    places = sorted(shown)
    if not places or places[0] < 0 or places[-1] >= count:
        return None
    rest = iter(siblings)
    root = _climb(0, count, shown, places, rest)
    return root if next(rest, None) is None else None


def _climb(
    start: int,
    end: int,
    shown: Mapping[int, bytes],
    places: Sequence[int],
    siblings: Iterator[bytes],
) -> bytes | None:
    if _is_hidden(start, end, places):
        return next(siblings, None)
    if end - start == 1:
        return shown[start]
    middle = start + split(end - start)
    left = _climb(start, middle, shown, places, siblings)
    right = _climb(middle, end, shown, places, siblings)
    if left is None or right is None:
        return None
    return hashlib.sha256(b"\x01" + left + right).digest()
