"""Workloads: mixed by their shares, and the same from one seed."""

from collections import Counter

from lowu.experiments.load.workloads import WORKLOADS, Mix, tell_shares

SHARES = {"register": 3.0, "nothing": 1.0}


def draw(seed):
    mix = Mix(SHARES, seed)
    return [mix.build(number, 1, {}) for number in range(4_000)]


def test_a_mix_keeps_its_shares_and_follows_from_its_seed():
    drawn = draw(5)
    assert 900 < Counter(name for name, _ in drawn)["nothing"] < 1_100
    assert drawn == draw(5) != draw(6)
    assert tell_shares(SHARES) == "register 75 %, nothing 25 %"
    assert tell_shares({"register": 1.0}) == "register"


def test_contracts_are_deployed_once():
    assert Mix(dict.fromkeys(WORKLOADS, 1.0), 0).contracts == ["Token", "SmallBank"]
    assert Mix({"register": 1.0, "nothing": 1.0}, 0).contracts == []


def test_no_two_registrations_are_of_one_anchor():
    mix = Mix({"register": 1.0}, 0)
    assert len({mix.build(number, 1, {})[1].data for number in range(1_000)}) == 1_000
