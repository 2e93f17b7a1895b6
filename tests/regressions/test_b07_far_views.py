"""B07: one VIEW-CHANGE for a far view moves nobody; f + 1 move all to the smallest (R-VC-3)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import ViewChange
from lowu.consensus.types import VIEW_MAX
from tests.unit import consensus_kit as kit


def test_one_far_view_moves_nobody():
    replica = kit.replica()
    assert kit.sent(ViewChange, kit.deliver(replica, kit.view_change(0, VIEW_MAX - 1))) == []
    assert replica.to_view == 0


def test_more_than_f_move_to_the_smallest():
    replica = kit.replica()
    kit.deliver(replica, kit.view_change(0, VIEW_MAX - 1))
    kit.deliver(replica, kit.view_change(1, 4))
    assert replica.to_view == 4


def test_views_are_bounded():
    from lowu.consensus.codec import decode_message, encode_message

    data = encode_message(kit.view_change(0, VIEW_MAX + 1))
    with pytest.raises(InvalidMessage, match="view"):
        decode_message(data)
