"""A validator whose own clock is slow finds out, and says so (N-F15)."""

import json

import pytest
import trio

from lowu.commands.network import _status_row
from lowu.consensus.validators import Validator, ValidatorSet
from lowu.node.core.clock_check import ClockCheck
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.network import build_probe
from lowu.testing.networks import load_plan

SLOW_MS = 20_000
NOW_MS = 10**12


def check(*ahead_ms, weights=(1, 1, 1, 1)):
    members = tuple(Validator(bytes([i]) * 64, weight) for i, weight in enumerate(weights))
    validators = ValidatorSet(members)
    found = ClockCheck(lambda: validators)
    for proposer, ahead in enumerate(ahead_ms):
        found.note(proposer, NOW_MS + ahead, NOW_MS)
    return found


@pytest.mark.parametrize(
    ("ahead_ms", "behind_ms"),
    [
        ((), 0),
        ((20_000,), 0),  # one alone may lie
        ((20_000, 21_000), 20_000),
        ((20_000, 99_000, 22_000), 22_000),
        ((20_000, 10), 0),
        ((20_000, 10, 21_000), 20_000),
        ((15_000, 15_000, 15_000), 0),
        ((-20_000, -20_000, -20_000), 0),
    ],
)
def test_most_of_the_others_tell_whose_clock_it_is(ahead_ms, behind_ms):
    assert check(*ahead_ms).behind_ms == behind_ms


def test_weights_count():
    assert check(20_000, 0, weights=(3, 1, 1, 1)).behind_ms == 20_000
    assert check(20_000, 20_000, weights=(1, 1, 4, 4)).behind_ms == 0  # both may lie


def test_it_is_said_once_and_taken_back(caplog):
    caplog.set_level("INFO")
    found = check(20_000, 20_000, 20_000, 19_000)
    for proposer in range(4):
        found.note(proposer, NOW_MS + 20_000, NOW_MS + 19_999)  # the same is checked again
        found.note(proposer, NOW_MS + 30_000, NOW_MS + 10_000)
    assert found.behind_ms == 20_000
    assert caplog.text.count("clock is at least 20.0 s behind") == 1
    for proposer in range(4):
        found.note(proposer, NOW_MS + 40_000, NOW_MS + 40_005)
    assert found.behind_ms == 0
    assert caplog.text.count("in step") == 1


@pytest.mark.parametrize("slow", ["node0", "node3"])
def test_a_slow_clock_is_told_by_its_own_node(slow):
    """N-F15: the node said "proposal refused" of everybody else, and nothing of itself."""
    plan = load_plan("dev-4")

    async def main():
        async with open_virtual(plan, skews_ms={slow: -SLOW_MS}) as network:

            async def behind():
                found = {}
                for node in plan.nodes:
                    status = json.loads(await network.client(node).call("getConsensusStatus"))
                    found[node.name] = status["clockBehindMs"]
                return found

            async def commit():
                asked = next(node for node in plan.nodes if node.name != slow)
                raw = "0x" + build_probe(plan).hex()
                client = network.client(asked)
                await client.wait_for_receipt(await client.call("eth_sendRawTransaction", raw))

            with trio.fail_after(600):
                while not (await behind())[slow]:
                    await commit()
            found = await behind()
            network.nodes[slow].clock.skew_ms = 0  # a time service has set it
            with trio.fail_after(600):
                while (await behind())[slow]:
                    await commit()
            return found

    found = run_virtual(1, main)
    assert SLOW_MS - 5_000 < found.pop(slow) <= SLOW_MS
    assert set(found.values()) == {0}


def test_the_status_shows_it():
    entry = {
        "name": "node0", "institution": "a", "side": "SZ", "kind": "validator", "pid": 7,
        "view": 3, "clock_behind_ms": 20_400,
    }  # fmt: skip
    assert "3 (clock 20 s behind)" in _status_row(entry)
    assert "3" in [str(item) for item in _status_row({**entry, "clock_behind_ms": 0})]
