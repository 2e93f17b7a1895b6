"""Failpoints: orders, which step they mean, and what a torn write leaves on a real disk."""

import shutil

import pytest

from lowu.node.errors import BadInput, StorageError
from lowu.node.ledger import schema
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import NO_MARK, FileTrace, Mark, Memory, find_loss
from lowu.node.simulation.failpoints import (
    FailingStorage,
    FailingTrace,
    Failpoints,
    SimulatedDeath,
    die_simulated,
    find_point,
)
from lowu.node.topology.faults.fail_order import (
    TORN_SHARES,
    FailMode,
    FailOrder,
    Failpoint,
    Situation,
    find_order,
    parse_order,
)

DIGEST = bytes(16)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("vote:before", FailOrder(Failpoint.VOTE, FailMode.BEFORE)),
        ("block:late-error:7", FailOrder(Failpoint.BLOCK, FailMode.LATE_ERROR, None, 7)),
        (
            "trace:torn-half:leading:3",
            FailOrder(Failpoint.TRACE, FailMode.TORN_HALF, Situation.LEADING, 3),
        ),
        ("set-aside:after", FailOrder(Failpoint.SET_ASIDE, FailMode.AFTER)),
    ],
)
def test_an_order_is_read_as_it_is_written(text, order):
    assert parse_order(text) == order and str(order) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vot:before", "vote"),
        ("vote", "mode"),
        ("vote:torn", "torn-"),
        ("vote:before:sleeping", "situation"),
        ("vote:before:leading:0", "1..1,000,000"),
        ("vote:before:leading:x", "the count"),
        ("vote:before:" + "9" * 5_000, "the count"),  # int() takes no more than 4,300 digits
        ("vote:before:\u0663", "the count"),
        ("vote:before:3:leading", "point:mode[:situation][:count]"),
        ("set-aside:torn-half", "wholly or not at all"),
        ("", "failpoint"),
    ],
)
def test_what_is_wrong_with_an_order_is_said(text, told):
    with pytest.raises(BadInput) as caught:
        parse_order(text)
    assert told in str(caught.value)


def test_orders_of_nodes_in_the_environment():
    text = "node1=vote:before,node3=block:after:2"
    assert find_order(text, "node3") == FailOrder(Failpoint.BLOCK, FailMode.AFTER, None, 2)
    assert find_order(text, "node0") is None and find_order("", "node0") is None
    with pytest.raises(BadInput, match="names no node"):
        find_order("vote:before", "node0")


@pytest.mark.parametrize("mode", list(FailMode))
def test_what_has_happened_when_a_step_fails(mode):
    happened = []
    failpoints = Failpoints(FailOrder(Failpoint.VOTE, mode), die_simulated)
    expected = StorageError if mode in (FailMode.ERROR, FailMode.LATE_ERROR) else SimulatedDeath
    failpoints.step(Failpoint.BLOCK, lambda: happened.append("block"))
    with pytest.raises(expected):
        failpoints.step(Failpoint.VOTE, lambda: happened.append("all"), happened.append)
    done = {
        FailMode.AFTER: ["all"],
        FailMode.LATE_ERROR: ["all"],
        FailMode.BEFORE: [],
        FailMode.ERROR: [],
    }
    assert happened == ["block", *done.get(mode, [TORN_SHARES.get(mode)])]
    assert failpoints.last_failure == FailOrder(Failpoint.VOTE, mode)
    failpoints.step(Failpoint.VOTE, lambda: happened.append("again"))  # an order means one step
    assert happened[-1] == "again"


def test_only_steps_in_the_situation_count():
    now = Situation.FOLLOWING
    failpoints = Failpoints(die=die_simulated)
    failpoints.find_situation = lambda: now
    failpoints.arm(parse_order("vote:before:leading:2"))
    made = []
    for now in (Situation.LEADING, Situation.FOLLOWING, None, Situation.CHANGING):
        failpoints.step(Failpoint.VOTE, lambda: made.append(1))
    now = Situation.LEADING
    with pytest.raises(SimulatedDeath):
        failpoints.step(Failpoint.VOTE, lambda: made.append(1))
    assert len(made) == 4


def test_batches_are_known_by_their_keys():
    assert find_point({schema.KEY_FORMAT: b"", schema.KEY_HEAD: b""}) is Failpoint.GENESIS
    assert find_point({schema.KEY_HEAD: b"", b"N": b""}) is Failpoint.BLOCK
    assert find_point({schema.KEY_VOTES: b""}) is Failpoint.VOTE
    assert find_point({schema.KEY_VOTES: b"", schema.KEY_LOST: b""}) is Failpoint.FORGET
    assert find_point({schema.proposal_key(3, b"d"): b""}) is Failpoint.PROPOSAL
    assert find_point({b"ISa": b"", b"ISb": b""}) is Failpoint.IMPORT_CHUNK
    assert find_point({b"Sa": b""}, [b"ISa"]) is Failpoint.IMPORT_MOVE
    assert find_point({schema.KEY_IMPORT: b""}, [schema.KEY_HEAD]) is Failpoint.IMPORT_BEGIN
    last = {schema.KEY_HEAD: b"", schema.KEY_BASE: b""}
    assert find_point(last, [schema.KEY_IMPORT]) is Failpoint.IMPORT_END
    block = {schema.KEY_HEAD: b"", schema.KEY_BASE: b"", b"Sa": b"", b"N": b""}
    assert find_point(block, [b"B"]) is Failpoint.BLOCK, "which drops an old one"
    assert find_point({b"N": b"", b"Sa": b""}) is None and find_point({}, [b"S"]) is None


@pytest.mark.parametrize("mode", list(TORN_SHARES))
def test_a_torn_batch_is_gone_and_all_before_it_is_there(tmp_path, mode):
    failpoints = Failpoints(die=die_simulated)
    store = RocksStorage(tmp_path / "data")
    failing = FailingStorage(store, failpoints, tmp_path / "data")
    failing.write({schema.KEY_VOTES: b"first", b"V1": bytes(100)})
    failpoints.arm(FailOrder(Failpoint.VOTE, mode))
    with pytest.raises(SimulatedDeath):
        failing.write({schema.KEY_VOTES: b"second", b"V2": bytes(70_000)})  # several log blocks
    shutil.copytree(tmp_path / "data", tmp_path / "copy")  # as the death leaves it
    store.close()
    found = RocksStorage(tmp_path / "copy")
    assert found.get(schema.KEY_VOTES) == b"first" and found.get(b"V1") == bytes(100)
    assert found.get(b"V2") is None
    found.close()


@pytest.mark.parametrize("mode", list(TORN_SHARES))
def test_a_torn_mark_costs_no_votes(tmp_path, mode):
    path = tmp_path / "last_vote"
    failpoints = Failpoints(die=die_simulated)
    trace = FailingTrace(FileTrace(path), failpoints, path)
    first, second = Mark(1, DIGEST), Mark(2, b"\xff" * 16)
    trace.create(Memory(first, NO_MARK))
    failpoints.arm(FailOrder(Failpoint.TRACE, mode))
    with pytest.raises(SimulatedDeath):
        trace.write(second)
    slots = FileTrace(path).read()
    assert first in slots and second not in slots
    assert find_loss(slots, Memory(second, first)) == ""


@pytest.mark.parametrize("mode", list(TORN_SHARES))
def test_a_torn_new_trace_leaves_the_old_one(tmp_path, mode):
    path = tmp_path / "last_vote"
    failpoints = Failpoints(die=die_simulated)
    trace = FailingTrace(FileTrace(path), failpoints, path)
    trace.create(Memory(Mark(1, DIGEST), NO_MARK))
    before = path.read_bytes()
    failpoints.arm(FailOrder(Failpoint.NEW_TRACE, mode))
    with pytest.raises(SimulatedDeath):
        trace.create(Memory(Mark(9, DIGEST), NO_MARK))
    assert path.read_bytes() == before
    trace.create(Memory(Mark(9, DIGEST), NO_MARK))
    assert FileTrace(path).read() == (NO_MARK, Mark(9, DIGEST))
