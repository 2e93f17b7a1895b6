"""The checker of histories against every order by hand, and a run whose flaw it must find."""

import json
import math
from itertools import chain, combinations, permutations
from random import Random

import pytest
import trio

from lowu.commands.consistency.command import _record
from lowu.experiments.consistency.checker import (
    check_history,
    count_stale,
    is_linearizable,
)
from lowu.experiments.consistency.recorded import AnchorValue, Operation, OperationKind
from lowu.experiments.consistency.recorder import Recording
from lowu.institutions.ledger import fresh_reads
from lowu.institutions.ledger.fresh_reads import FreshReads
from lowu.node.client import ClientError
from lowu.options import read_network
from tests.command import run_command

NONE, ACTIVE, REVOKED = AnchorValue


def op(kind, start, end=math.inf, value=None, node="node0", is_refused=False):
    return Operation(kind, 0, "client", node, start, end, value, is_refused)


def register(start, end=math.inf, node="node0"):
    return op(OperationKind.REGISTER, start, end, None if math.isinf(end) else ACTIVE, node)


def revoke(start, end=math.inf, node="node0", is_refused=False):
    value = None if math.isinf(end) else REVOKED
    return op(OperationKind.REVOKE, start, end, value, node, is_refused)


def fresh(start, end, value, node="node1"):
    return op(OperationKind.FRESH_READ, start, end, value, node)


def local(start, end, value, node="node1"):
    return op(OperationKind.LOCAL_READ, start, end, value, node)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [fresh(0, 1, NONE)],
        [register(0, 1), fresh(2, 3, ACTIVE), revoke(4, 5), fresh(6, 7, REVOKED)],
        [register(0, 3), fresh(1, 2, NONE), fresh(1, 2, ACTIVE)],  # together with it: either
        [register(0), fresh(5, 6, NONE), fresh(7, 8, ACTIVE)],  # it took effect late
        [register(0), fresh(5, 6, NONE)],  # or never
        [register(0, 1), revoke(2, is_refused=False), fresh(3, 4, ACTIVE), fresh(9, 10, REVOKED)],
        [revoke(0, 1, is_refused=True), register(2, 3), fresh(4, 5, ACTIVE)],
    ],
)
def test_histories_that_can_be(history):
    assert check_history(history) == []


@pytest.mark.parametrize(
    "history",
    [
        [fresh(0, 1, ACTIVE)],  # nobody wrote it
        [register(0, 1), fresh(2, 3, NONE)],  # an acknowledged write is missed
        [register(0, 1), revoke(2, 3), fresh(4, 5, ACTIVE)],
        [register(0), fresh(1, 2, ACTIVE), fresh(3, 4, NONE)],  # back again
        [register(5, 6), fresh(1, 2, ACTIVE)],  # from the future
        [revoke(0, 1), register(2, 3)],  # revoked before it was there
        [register(0, 1), revoke(2, 3, is_refused=True), fresh(4, 5, ACTIVE)],
        [register(0, 1), revoke(2, 3), revoke(4, 5)],  # the second must be refused
    ],
)
def test_histories_that_cannot_be(history):
    (found,) = check_history(history)
    assert found.rule == "no order explains what clients were told"
    assert "anchor 0" in str(found) and str(history[0]) in str(found)


@pytest.mark.parametrize(
    ("history", "rule"),
    [
        ([register(0, 1, "node1"), local(2, 3, NONE)], "a node has forgotten"),
        ([register(0, 1), local(2, 3, ACTIVE), local(4, 5, NONE)], "went back"),
        ([register(4, 5), local(2, 3, ACTIVE)], "from the future"),
        ([local(2, 3, REVOKED)], "from the future"),
    ],
)
def test_local_reads_that_cannot_be(history, rule):
    (found,) = check_history(history)
    assert rule in found.rule


def test_local_reads_may_be_stale_and_that_is_counted():
    history = [
        register(0, 1),
        local(2, 3, NONE),  # node1 is behind
        local(2, 9, ACTIVE, "node2"),
        local(4, 5, ACTIVE),
        local(8, 9, NONE, "node3"),
    ]
    assert check_history(history) == []
    assert count_stale(history) == 2


def explains(order, history):
    """Whether an order of all operations with an end, and some without, explains a history."""
    for place, later in enumerate(order):
        if any(earlier.start_s > later.end_s for earlier in order[:place]):
            return False
    value = NONE
    for item in order:
        if item.kind is OperationKind.FRESH_READ:
            if item.value is not value:
                return False
            continue
        can = value is ACTIVE if item.kind is OperationKind.REVOKE else value is not REVOKED
        if item.value is not None and item.is_refused is can:
            return False
        if can:
            value = REVOKED if item.kind is OperationKind.REVOKE else ACTIVE
    return True


def can_be(history):
    """The definition itself: try every order of every choice of open operations."""
    ended = [item for item in history if not math.isinf(item.end_s)]
    opened = [item for item in history if math.isinf(item.end_s)]
    choices = chain.from_iterable(combinations(opened, size) for size in range(len(opened) + 1))
    return any(
        explains(order, history) for some in choices for order in permutations([*ended, *some])
    )


@pytest.mark.parametrize("seed", range(300))
def test_the_checker_finds_what_all_orders_find(seed):
    random = Random(seed)
    history = []
    for _ in range(random.randint(1, 6)):
        start = random.randrange(8)
        end = math.inf if random.random() < 0.2 else start + random.randrange(1, 5)
        kind = random.choice(
            (OperationKind.REGISTER, OperationKind.REVOKE, OperationKind.FRESH_READ)
        )
        if kind is OperationKind.FRESH_READ:
            if math.isinf(end):
                continue
            history.append(fresh(start, end, random.choice(list(AnchorValue))))
        elif kind is OperationKind.REGISTER:
            history.append(register(start, end))
        else:
            refused = not math.isinf(end) and random.random() < 0.4
            history.append(revoke(start, end, is_refused=refused))
    assert is_linearizable(history) is can_be(history)


def test_the_samples_are_of_both_kinds():
    """Otherwise the comparison above would show nothing."""
    found = set()
    for seed in range(300):
        random = Random(seed)
        ends = [random.random() for _ in range(3)]
        found.add(can_be([register(0, 1), fresh(2, 3, ACTIVE if ends[0] < 0.5 else NONE)]))
    assert found == {True, False}


def run(*options):
    done = run_command(("consistency", "--json", *options), None, 120)
    return done.returncode, json.loads(done.stdout)


def test_a_run_under_faults_can_be():
    code, told = run("--operations", "400", "--seed", "1")
    assert (code, told["figures"]["violations"]) == (0, 0), told["anomalies"]
    assert told["figures"]["operations"] >= 400 and sum(told["faults"].values())
    assert told["figures"]["fresh_reads"] > 50 < told["figures"]["local_reads"]


def test_control_fresh_reads_that_do_not_wait(monkeypatch):
    """They are as stale as any read of a slow node, and the checker says so."""

    async def at_once(self):
        return 0

    monkeypatch.setattr(FreshReads, "catch_up", at_once)
    rules = set()
    for seed in range(9, 21):  # the first few would do
        recording = Recording()
        _record(read_network("dev-4")[0], "sim", seed, 300, recording, lambda count: None)
        rules |= {item.rule for item in check_history(recording.operations)}
        if rules:
            break
    assert rules == {"no order explains what clients were told"}


async def test_a_fresh_read_waits_for_the_highest_of_a_quorum(autojump_clock):
    own, second, third = (
        Validator(name, height) for name, height in (("a", 5), ("b", 7), ("c", 6))
    )
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own.grow)
        height = await FreshReads(own, [second, third]).catch_up()
    assert height == 7, "two of three are a quorum, and one of them had signed 7"
    assert third.url and fresh_reads.POLL_S < 1


class Validator:
    """A validator of three, of whom two are a quorum; the third one is silent."""

    def __init__(self, name, height):
        self.url, self.name, self.height = f"http://{name}", name, height

    async def grow(self):
        await trio.sleep(1)
        self.height = 7

    async def call(self, method, *params):
        if method == "eth_blockNumber":
            return hex(self.height)
        if self.name == "c":
            raise ClientError("down")
        listed = [{"nodeID": name, "weight": 1} for name in "abc"]
        status = {"nodeID": self.name, "checkpointHeight": self.height}
        return json.dumps({**status, "minRequiredQuorum": 2, "consensusNodeList": listed})
