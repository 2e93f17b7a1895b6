"""Block sync: what is answered to whom."""

import pytest

from node.errors import BadInput
from node.sync import Sync
from tests.unit import node_kit as kit


async def nothing(event):
    raise AssertionError(event)


def make(blocks=3):
    chain = kit.Chain()
    for number in range(blocks):
        chain.commit(kit.signed(nonce=number))
    return Sync(chain.ledger, None, None, nothing, None, is_validator=True)


@pytest.mark.parametrize("count", [3, 65, 2**31, 10**12])
def test_ranges_are_capped(count, monkeypatch):
    """B40: a request for billions of blocks costs no more than one for a few."""
    monkeypatch.setattr("node.sync.RANGE_BLOCKS_MAX", 2)
    assert len(make().answer_blocks(1, count)) == 2


@pytest.mark.parametrize(("start", "count"), [("1", 2), (-1, 2), (1, -1), (None, None), (1, 1.5)])
def test_nonsense_is_refused(start, count):
    with pytest.raises(BadInput):
        make().answer_blocks(start, count)


def test_blocks_above_the_head_are_none():
    assert make().answer_blocks(9, 4) == []
    assert len(make().answer_blocks(1, 2)) == 2
