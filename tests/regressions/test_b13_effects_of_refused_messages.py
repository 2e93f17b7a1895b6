"""B13: a refused message changes nothing."""

from dataclasses import replace

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Commit, Prepare
from tests.unit import consensus_kit as kit


def refusals():
    item = kit.proposal()
    high = kit.proposal(99, item.previous, b"x", 3)
    return {
        "not the leader": kit.offer(replace(item, proposer=2), sender=2),
        "somebody else built it": kit.offer(replace(item, proposer=3)),
        "above the watermark": kit.offer(high),
        "vote above the watermark": kit.vote(Prepare, high, 1),
        "commit above the watermark": kit.vote(Commit, high, 1),
        "own message": kit.vote(Prepare, item, 3),
    }


@pytest.mark.parametrize("name", refusals())
def test_the_state_is_as_before(name):
    replica = kit.replica()
    before = replica.fingerprint()
    with pytest.raises(InvalidMessage):
        kit.deliver(replica, refusals()[name])
    assert replica.fingerprint() == before and replica.held_heights() == []
    assert [e for e in kit.pending(replica) if not hasattr(e, "timer")] == []
