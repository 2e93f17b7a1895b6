"""L16: one VIEW-CHANGE listed three times counts once (R-NV-1)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


def test_copies_do_not_count():
    one = kit.view_change(2, 1)
    with pytest.raises(InvalidMessage):
        kit.verified(kit.new_view(1, (one, one, one)))
