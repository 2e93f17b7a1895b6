"""B31: after a restart, votes have the same bytes as before, and none differ (R-SAFE-1)."""

from lowu.consensus.effects import Persist
from lowu.consensus.messages import Prepare, Status
from lowu.consensus.records import record_key
from tests.unit import consensus_kit as kit


def durable(effects):
    records = {}
    for effect in kit.only(Persist, effects):
        records.update({record_key(record): record for record in effect.records})
    return list(records.values())


def test_the_same_vote_again_and_no_other():
    replica, item = kit.replica(), kit.proposal()
    effects = list(kit.deliver(replica, kit.offer(item)))
    effects += kit.make_valid(replica, item)
    (vote,) = kit.sent(Prepare, effects)
    back, _ = kit.recovered(3, durable(effects))
    answers = kit.deliver(back, kit.signed(Status(0, 0, 0)))
    assert kit.sent(Prepare, answers) == [vote]
    other = kit.proposal(text=b"other")
    effects = list(kit.deliver(back, kit.offer(other))) + list(kit.make_valid(back, other))
    assert kit.sent(Prepare, effects) == []
