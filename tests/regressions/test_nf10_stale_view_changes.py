"""N-F10: useless or oversized VIEW-CHANGEs cost next to no signature checks."""

import pytest

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Commit, Prepare, Status
from lowu.consensus.signatures import KnownSignatures
from tests.unit import consensus_kit as kit

WINDOW = 8


@pytest.fixture
def counting():
    return kit.CountingSignatures()


@pytest.fixture
def verifier(counting):
    return MessageVerifier(kit.DOMAIN, Epochs(kit.VALIDATORS), kit.GENESIS, counting, WINDOW)


def test_a_new_view_holds_nothing_above_the_window_either(verifier):
    """Only the size of a message once bounded the VIEW-CHANGEs in it."""
    changes = [kit.view_change(i, 1, certificates=kit.certificates(WINDOW)) for i in (0, 1, 2)]
    verifier.verify_message(kit.new_view(1, changes))
    changes[2] = kit.view_change(2, 1, certificates=kit.certificates(WINDOW + 1))
    with pytest.raises(InvalidMessage, match="above its sender's high watermark"):
        verifier.verify_message(kit.new_view(1, changes))


def test_no_signature_is_checked_twice(counting, verifier):
    """The same PREPAREs come in three VIEW-CHANGEs, and in the NEW-VIEW that holds these."""
    held = kit.certificates(WINDOW)
    votes = 3 * WINDOW
    changes = [kit.view_change(i, 1, certificates=held) for i in (0, 1, 2)]
    for message in (*changes, *changes):
        verifier.verify_message(message)
    assert counting.checks == votes + 3
    verifier.verify_message(kit.new_view(1, changes))
    assert counting.checks == votes + 3 + 1


def test_bad_signatures_are_not_remembered(counting, verifier):
    bad = kit.replace(kit.view_change(0), signature=b"no")
    for _ in range(2):
        with pytest.raises(InvalidMessage, match="bad signature"):
            verifier.verify_message(bad)
    assert counting.checks == 2


def test_what_is_remembered_is_bounded_and_the_newest(counting):
    known = KnownSignatures(counting, 10)
    for number in range(1_000):
        assert known.is_signed(b"n", b"%d" % number, kit.sign(ord("n"), b"%d" % number))
        assert len(known) <= 20
    checks = counting.checks
    for number in range(990, 1_000):
        assert known.is_signed(b"n", b"%d" % number, kit.sign(ord("n"), b"%d" % number))
    assert counting.checks == checks
    assert known.is_signed(b"n", b"0", kit.sign(ord("n"), b"0"))
    assert counting.checks == checks + 1


def test_what_is_in_use_stays_remembered(counting):
    known = KnownSignatures(counting, 10)
    for number in range(100):
        for digest in (b"always", b"%d" % number):
            assert known.is_signed(b"n", digest, kit.sign(ord("n"), digest))
    assert counting.checks == 101


def test_what_tells_a_replica_nothing():
    """Only messages it would drop are stale: an old view's vote may complete a quorum (R-ORD-1)."""
    replica, items = kit.replica_in_view(4), kit.chain(3)
    kit.commit(replica, items[0], view=4)
    above = items[1]
    assert replica.stable.height == 1
    stale = [kit.offer(items[0], 9, sender=1), kit.view_change(0, 4)]
    stale += [kit.vote(kind, items[0], 0, 9) for kind in (Prepare, Commit)]
    stale += [kit.checkpoint(items[0], 0), kit.new_view(3)]
    news = [kit.offer(above, 4), kit.view_change(0, 5), kit.new_view(5), kit.new_view(4)]
    # Of blocks that we lack: they may be of the next epoch, whose views start from 0.
    higher = kit.committed(above)
    ahead = tuple(kit.view_change(i, 1, higher) for i in (0, 1, 2))
    news += [ahead[0], kit.new_view(1, ahead)]
    news += [kit.vote(kind, above, 0, 0) for kind in (Prepare, Commit)]
    news += [kit.checkpoint(above, 0), kit.signed(Status(0, 0, 0))]
    assert [replica.is_stale(message) for message in stale] == [True] * len(stale)
    news = [message for message in news if message != replica._state.new_view]
    assert [replica.is_stale(message) for message in news] == [False] * len(news)


def test_to_one_that_does_not_vote_everything_is_stale():
    replica, _ = kit.Replica.recover(
        kit.ReplicaConfig(kit.DOMAIN, kit.node_id(3), kit.GENESIS),
        lambda digest: kit.sign(3, digest),
        kit.EPOCH,
        [],
        kit.GENESIS,
        0,
        is_memory_lost=True,
    )
    assert all(replica.is_stale(message) for message in kit.samples())
