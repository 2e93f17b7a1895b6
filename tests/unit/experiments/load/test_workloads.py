"""Workloads: mixed by their shares, and the same from one seed."""

from collections import Counter

import pytest

from lowu.contracts.abi import load_artifact
from lowu.experiments.load.offered.mix import ALL_WORKLOADS, Mix, tell_shares
from lowu.experiments.load.offered.steps import Sender

SHARES = {"register": 3.0, "nothing": 1.0}


SENDERS = (Sender(b"\1" * 32, 1),)


def draw_calls(mix, count):
    """Return the kinds of what a mix draws, and the calls: one for each."""
    drawn = [mix.draw(number, 0, SENDERS, 5, {}) for number in range(count)]
    return [(mix.names[kind], step.call) for kind, (step,) in drawn]


def draw(seed):
    return draw_calls(Mix(SHARES, seed), 4_000)


def test_a_mix_keeps_its_shares_and_follows_from_its_seed():
    drawn = draw(5)
    assert 900 < Counter(name for name, _ in drawn)["nothing"] < 1_100
    assert drawn == draw(5) != draw(6)
    assert tell_shares(SHARES) == "register 75 %, nothing 25 %"
    assert tell_shares({"register": 1.0}) == "register"


def test_contracts_are_deployed_once():
    assert Mix(dict.fromkeys(ALL_WORKLOADS, 1.0), 0).contracts == [
        "Token", "SmallBank", "Performance", "KeyValue",
    ]  # fmt: skip
    assert Mix({"register": 1.0, "nothing": 1.0}, 0).contracts == []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ycsb-a", {"read": 0.5, "update": 0.5}),
        ("ycsb-b", {"read": 0.95, "update": 0.05}),
        ("ycsb-c", {"read": 1.0}),
        ("ycsb-d", {"read": 0.95, "update": 0.05}),
        ("ycsb-e", {"scan": 0.95, "update": 0.05}),
        ("ycsb-f", {"read": 0.5, "modify": 0.5}),
    ],
)
def test_ycsb_has_the_operations_of_its_workloads(name, wanted):
    functions = load_artifact("KeyValue").functions
    names = {function.encode_call(0, *rest)[:4]: kind for kind, function, *rest in (
        ("read", functions["read"]), ("update", functions["update"], b""),
        ("modify", functions["modify"], b""), ("scan", functions["scan"], 1),
    )}  # fmt: skip
    mix = Mix({name: 1.0}, 3)
    calls = [call.data for _, call in draw_calls(mix, 2_000)]
    counts = Counter(names[data[:4]] for data in calls)
    assert counts.keys() == wanted.keys()
    for kind, share in wanted.items():
        assert counts[kind] / 2_000 == pytest.approx(share, abs=0.04)
    keys = Counter(int.from_bytes(data[4:36], "big") for data in calls)
    ((hottest, count),) = keys.most_common(1)
    if name in ("ycsb-a", "ycsb-b", "ycsb-c", "ycsb-f"):
        assert hottest == 0
        assert 0.07 < count / 2_000 < 0.14  # 1 / (the sum of k^-0.99 over 10,000 keys) = 0.098


def test_batches_have_up_to_ten_thousand_documents():
    mix = Mix({"batch": 1.0}, 0)
    counts = [int.from_bytes(call.data[36:68], "big") for _, call in draw_calls(mix, 500)]
    assert min(counts) >= 1
    assert 9_000 < max(counts) <= 10_000


def test_no_two_registrations_are_of_one_anchor():
    mix = Mix({"register": 1.0}, 0)
    assert len({call.data for _, call in draw_calls(mix, 1_000)}) == 1_000
