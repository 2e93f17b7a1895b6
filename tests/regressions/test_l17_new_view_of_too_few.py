"""L17: f + 1 VIEW-CHANGEs do not open a view (R-NV-1)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


def test_less_than_a_quorum():
    changes = [kit.view_change(i, 1) for i in (0, 1, 2)]
    kit.verified(kit.new_view(1, changes))
    with pytest.raises(InvalidMessage, match="less than quorum"):
        kit.verified(kit.new_view(1, changes[:2]))
