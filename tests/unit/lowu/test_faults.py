"""What faults and played functions accept: a fault that does nothing is worse than none."""

import math

import pytest
import trio

from lowu import SAMPLES, Jurisdiction, VirtualNetwork
from lowu.testing.network_faults import find_nodes, read_delay, read_sides
from lowu.testing.networks import load_plan
from lowu.testing.playing import plain_errors

PLAN = load_plan("dev-4")
SZ, HK = Jurisdiction.SZ, Jurisdiction.HK


@pytest.fixture(scope="module")
def network():
    return VirtualNetwork("dev-4")


@pytest.mark.parametrize("sides", [(SZ, HK), ("SZ", "HK"), ("HK", SZ)])
def test_sides_by_name_or_member(sides):
    assert set(read_sides(PLAN, *sides)) == {SZ, HK}


@pytest.mark.parametrize(
    ("sides", "text"),
    [
        (("SZ", "SZ"), "not within SZ"),
        (("sz", "HK"), "'sz' is no side of the boundary; this network has HK, SZ"),
        (("webank", "HK"), "'webank' is no side"),
        ((1, HK), "1 is no side"),
        (("MO", HK), "no node of this network is in MO"),
    ],
)
def test_cuts_that_would_cut_nothing(sides, text):
    with pytest.raises(ValueError, match=text):
        read_sides(PLAN, *sides)


def test_nodes_by_their_name_or_an_institution():
    assert find_nodes(PLAN, ("node0", "webank", "szcredit")) == ["node0", "node1", "node0"]
    with pytest.raises(LookupError, match=r"no node 'webnak' in .*did you mean 'webank'"):
        find_nodes(PLAN, ("webnak",))
    with pytest.raises(LookupError, match=r"no node 0\.5"):
        find_nodes(PLAN, (0.5,))
    with pytest.raises(ValueError, match="at least one node"):
        find_nodes(PLAN, ())


@pytest.mark.parametrize("delay", ["webank", 0, -1, math.nan, math.inf, True, None, 4_000])
def test_delays_that_are_none(delay):
    assert read_delay(0.5) == 0.5
    with pytest.raises(ValueError, match="a delay is a number of seconds"):
        read_delay(delay)


@pytest.mark.parametrize(
    "enter",
    [
        lambda faults: faults.cut("SZ", "MO"),
        lambda faults: faults.slow("webank", 0.5),
        lambda faults: faults.down(),
        lambda faults: faults.down("nobody"),
    ],
)
def test_wrong_arguments_of_a_fault_raise(network, enter):
    async def play(actors, faults):
        async with enter(faults):
            raise AssertionError("not reached")

    with pytest.raises((ValueError, LookupError)):
        network.play(play)


def test_a_wrong_name_is_told_with_the_right_one(network):
    async def play(actors, faults):
        document = SAMPLES["cn.ecr/1"](1, actors.now_s())
        await actors.issue("szcredits", document, "anybody", "nova")

    with pytest.raises(LookupError, match="no institution 'szcredits'"):
        network.play(play)

    async def ask(actors, faults):
        return actors.clients["novva"]

    with pytest.raises(LookupError, match="did you mean 'nova'"):
        network.play(ask)


def test_any_name_is_a_holder(network):
    async def play(actors, faults):
        keys = [actors.holders[name].key for name in ("ana", "bo", "ana")]
        return keys[0] == keys[2] != keys[1]

    assert network.play(play)


def test_an_error_comes_out_as_it_was_raised(network):
    class OwnError(Exception):
        pass

    async def play(actors, faults):
        async with trio.open_nursery():
            raise OwnError("mine")

    with pytest.raises(OwnError, match="mine"):
        network.play(play)


def test_several_errors_stay_a_group():
    with pytest.raises(ExceptionGroup), plain_errors():
        raise ExceptionGroup("two", [ValueError("1"), ValueError("2")])


def test_a_forgotten_await_is_explained(network):
    async def use(actors, faults):
        issued = actors.give("acme", None, "szcredit")
        try:
            return issued.anchor
        finally:
            issued.close()

    async def give_back(actors, faults):
        return actors.give("acme", None, "szcredit")

    def not_async(actors, faults):
        return 5

    with pytest.raises(AttributeError) as told:
        network.play(use)
    assert "an `await` is missing" in told.value.__notes__[0]
    with pytest.raises(TypeError, match="returned a coroutine; an `await` is missing"):
        network.play(give_back)
    with pytest.raises(TypeError, match="async def story"):
        network.play(not_async)
