"""L08: nothing is stored above the high watermark (P09)."""

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("kind", [Prepare, Commit])
@pytest.mark.parametrize("height", [9, 10**6, 2**47])
def test_votes_above_it_are_refused(kind, height):
    replica = kit.replica(window=8)
    with pytest.raises(InvalidMessage, match="watermark"):
        kit.deliver(replica, kit.vote(kind, kit.proposal(height), 1))
    assert replica.held_heights() == []
