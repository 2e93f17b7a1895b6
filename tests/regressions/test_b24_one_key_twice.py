"""B24: a second machine with the same key is noticed and stops no replica."""

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Prepare
from tests.unit import consensus_kit as kit


def test_our_own_message_from_outside_is_refused():
    replica = kit.replica()
    with pytest.raises(InvalidMessage, match="claims to come from this validator"):
        kit.deliver(replica, kit.vote(Prepare, kit.proposal(), 3))
    assert replica.halt_reason is None
