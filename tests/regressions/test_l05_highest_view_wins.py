"""L05: of two certificates for one height, that of the later view is proposed again (R-NV-2)."""

import itertools

import pytest

from lowu.consensus.certificates import select_reproposals
from tests.unit import consensus_kit as kit

OLD, NEW = kit.proposal(text=b"old"), kit.proposal(text=b"new")


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
def test_whatever_the_order(order):
    certificates = [[kit.prepared(OLD, 0)], [kit.prepared(NEW, 2)], []]
    changes = [kit.view_change(i, 3, certificates=certificates[i]) for i in order]
    assert select_reproposals(kit.DOMAIN, changes).proposals == (NEW,)
