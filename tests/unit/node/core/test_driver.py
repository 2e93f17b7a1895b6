"""N-F10: what a node does with consensus messages before any signature is checked."""

from types import SimpleNamespace

import pytest

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import CERTIFICATES_MAX, encode_message
from lowu.consensus.epochs import Epochs
from lowu.consensus.inputs import LinksChanged
from lowu.consensus.messages import ViewChange
from lowu.node.core.driver import Driver
from lowu.node.core.inbox import Inbox
from lowu.node.errors import BadInput
from lowu.node.metrics import BlockPhases, CpuTimes
from tests.unit import consensus_kit as kit

WINDOW = 8


@pytest.fixture
def counting():
    return kit.CountingSignatures()


@pytest.fixture
def verifier(counting):
    return MessageVerifier(kit.DOMAIN, Epochs(kit.VALIDATORS), kit.GENESIS, counting, WINDOW)


def make_driver(replica, verifier, sync=None):
    return Driver(
        node_id=kit.node_id(replica.index),
        replica=replica,
        first_effects=(),
        verifier=verifier,
        inbox=Inbox(),
        gateway=None,
        ledger=None,
        scheduler=None,
        bodies=None,
        checker=None,
        sealer=None,
        sync=sync,
        membership=None,
        cpu=CpuTimes(),
        phases=BlockPhases(lambda: 0.0),
    )


async def test_what_is_past_is_dropped_unseen(counting, verifier):
    driver = make_driver(kit.replica_in_view(4), verifier)
    flood = kit.view_change(0, 4, certificates=kit.certificates(WINDOW))
    known = driver.replica._state.new_view
    for message in (flood, flood, kit.view_change(0, 1), kit.new_view(3), known):
        await driver.handle_frame(kit.node_id(0), encode_message(message))
    assert counting.checks == 0
    assert driver.invalid_messages == 0


@pytest.mark.parametrize("view", [4, 5])
async def test_more_than_a_window_holds_costs_the_link_and_no_check(counting, verifier, view):
    """A thousand certificates, for a view long past or not."""
    driver = make_driver(kit.replica_in_view(4), verifier)
    flood = kit.view_change(0, view, certificates=kit.certificates(CERTIFICATES_MAX))
    with pytest.raises(BadInput, match="prepared list has 1000 items"):
        await driver.handle_frame(kit.node_id(0), encode_message(flood))
    assert counting.checks == 0


async def test_what_is_news_is_checked_and_queued(counting, verifier):
    driver = make_driver(kit.replica_in_view(4), verifier)
    for number, message in enumerate((kit.view_change(0, 5), kit.new_view(5))):
        await driver.handle_frame(kit.node_id(0), encode_message(message))
        assert driver._inbox.receive_nowait().verified.message == message
        assert counting.checks > number


async def test_heights_above_the_window_cost_the_link_and_one_check(counting, verifier):
    driver = make_driver(kit.replica_in_view(4), verifier)
    message = kit.view_change(0, 5, certificates=kit.certificates(1, first=WINDOW + 1))
    with pytest.raises(BadInput, match="above its sender's high watermark"):
        await driver.handle_frame(kit.node_id(0), encode_message(message))
    assert counting.checks == 1


def test_who_abstains_counts_as_unlinked(verifier):
    """N-C1: a validator that says that it abstains is passed over as a dead one is."""
    others = frozenset(kit.node_id(index) for index in (0, 1, 2))
    sync = SimpleNamespace(abstaining=frozenset({kit.node_id(1)}))
    driver = make_driver(kit.replica(3), verifier, sync)
    driver.note_links(others)
    assert driver._inbox._notes[LinksChanged] == LinksChanged(others - {kit.node_id(1)})


def test_an_abstaining_leader_is_left_at_once():
    """N-C1: no time-out runs out for it, and its next turns go to others."""
    replica = kit.replica(3)
    kit.pending(replica)
    effects = replica.step(LinksChanged(frozenset({kit.node_id(0), kit.node_id(2)})))
    (change,) = kit.sent(ViewChange, effects)
    assert (change.view, change.passed_over) == (1, ((1, 16),))
