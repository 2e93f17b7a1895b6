"""Batches: the same tree as the contract's, for any number of documents."""

from hashlib import sha256

import pytest

from lowu.institutions.package.batch import BATCH_MAX, build_batch
from lowu.institutions.package.leaves import split


def written_down(leaves):
    """Return the tree by the recursion that defines it in RFC 9162."""
    if len(leaves) == 1:
        return leaves[0], [()]
    middle = split(len(leaves))
    (left, left_paths), (right, right_paths) = map(written_down, (leaves[:middle], leaves[middle:]))
    paths = [(*path, right) for path in left_paths] + [(*path, left) for path in right_paths]
    return sha256(b"dvp1-b1" + left + right).digest(), paths


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 11, 31, 32, 33, 100])
def test_the_tree_is_that_of_rfc_9162(count):
    anchors = [sha256(bytes([number])).digest() for number in range(count)]
    leaves = [sha256(b"dvp1-b0" + anchor).digest() for anchor in anchors]
    assert build_batch(anchors) == written_down(leaves)


@pytest.mark.parametrize("anchors", [[], [bytes(32)] * (BATCH_MAX + 1)])
def test_a_batch_is_bounded(anchors):
    with pytest.raises(ValueError, match="1 to 65536"):
        build_batch(anchors)
