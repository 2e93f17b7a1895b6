"""B47 (besu#11102): view changes to ever new views take no more memory than a single one."""

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Commit, Prepare
from lowu.consensus.types import VIEW_MAX
from tests.unit import consensus_kit as kit

MESSAGES = 2_000


def far_views():
    """Views far apart, rising and falling, all allowed on the wire."""
    for number in range(MESSAGES):
        yield 1 + (number * 2_654_435_761) % (VIEW_MAX - 1)


def test_one_view_change_of_each_validator_is_kept():
    replica = kit.replica()
    for view in far_views():
        kit.deliver(replica, kit.view_change(0, view))
    assert len(replica._state.log.view_changes) == 1
    assert replica.to_view == 0
    assert replica.size() == 1


def test_nothing_else_grows_with_the_number_of_views():
    replica, item = kit.replica(), kit.proposal()
    sizes = set()
    for number, view in enumerate(far_views()):
        for message in (
            kit.vote(Prepare, item, 0, view),
            kit.vote(Commit, item, 0, view),
            kit.offer(item, view),
            kit.view_change(0, view, passed_over=[(1, 1 + number % 256)]),
        ):
            try:
                kit.deliver(replica, message)
            except InvalidMessage:
                continue
        sizes.add(replica.size())
    assert max(sizes) == 5  # two votes, a PRE-PREPARE's slot of two, a VIEW-CHANGE
    assert replica.size() <= replica.size_max()
    assert set(replica._state.log.slots) == {1}


def test_far_views_of_one_do_not_hide_the_next_view_of_others():
    replica = kit.replica()
    for view in far_views():
        kit.deliver(replica, kit.view_change(0, view))
    kit.deliver(replica, kit.view_change(1, 1))
    assert replica.to_view == 1
