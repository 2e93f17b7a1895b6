"""L18: only the leader of the lowest height opens a view (R-NV-1)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("sender", [0, 1, 3])
def test_nobody_else(sender):
    with pytest.raises(InvalidMessage, match="not from the leader"):
        kit.verified(kit.new_view(1, sender=sender))
    kit.verified(kit.new_view(1, sender=2))
