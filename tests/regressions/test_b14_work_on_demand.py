"""B14: nobody can make a replica answer more than once a resend period (R-CU-1)."""

from lowu.consensus.effects import Send
from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import Status
from tests.unit import consensus_kit as kit


def test_one_answer_a_period():
    replica = kit.replica()
    item = kit.proposal()
    effects = list(kit.deliver(replica, kit.offer(item)))
    effects += kit.make_valid(replica, item)
    ask = kit.signed(Status(0, 0, 1))
    first = kit.deliver(replica, ask)
    assert len(kit.only(Send, first)) == 1
    for _ in range(50):
        assert kit.only(Send, kit.deliver(replica, ask)) == []
    kit.fire(replica, kit.timer([*effects, *first], TimerId.RESEND))
    assert len(kit.only(Send, kit.deliver(replica, ask))) == 1
