"""What faults and played functions accept: a fault that does nothing is worse than none."""

import math
import warnings

import pytest
import trio

from lowu import (
    SAMPLES,
    ClientError,
    FormError,
    Jurisdiction,
    RegistryRefused,
    UnknownName,
    Verdict,
    VirtualNetwork,
)
from lowu.options import read_network
from lowu.testing.fault_arguments import find_nodes, read_delay, read_ends
from lowu.testing.networks import load_plan
from lowu.testing.playing import plain_errors

PLAN = load_plan("dev-4")
SZ, HK = Jurisdiction.SZ, Jurisdiction.HK


@pytest.fixture(scope="module")
def network():
    return VirtualNetwork("dev-4")


@pytest.mark.parametrize("sides", [(SZ, HK), ("SZ", "HK"), ("HK", SZ)])
def test_sides_by_name_or_member(sides):
    ends = {frozenset(end) for end in read_ends(PLAN, sides)}
    assert ends == {frozenset(PLAN.find_end("SZ")), frozenset(PLAN.find_end("HK"))}


def test_ends_are_nodes_institutions_or_several_of_them_too():
    assert read_ends(PLAN, ("webank", "HK")) == (("node1",), PLAN.find_end("HK"))
    assert read_ends(PLAN, (["node0", "webank"], "node3")) == (("node0", "node1"), ("node3",))


@pytest.mark.parametrize(
    ("sides", "text"),
    [
        (("SZ", "SZ"), "node0 stands at both"),
        (("node0", "SZ"), "node0 stands at both"),
        (("sz", "HK"), "'sz' is no side of the boundary; did you mean 'SZ'"),
        (("XX", "HK"), "'XX' is no side of the boundary; this network has HK, SZ"),
        (("SZ", "HKG"), "'HKG' is no side of the boundary; did you mean 'HK'"),
        (("SZ",), "between two ends"),
        ((["SZ", "HK"],), "between two ends"),
        (("webnak", "HK"), "'webnak' is no side"),
        ((1, HK), "1 is no side"),
        (("MO", HK), "no node of this network is in MO"),
    ],
)
def test_cuts_that_would_cut_nothing(sides, text):
    with pytest.raises(ValueError, match=text):
        read_ends(PLAN, sides)


def test_nodes_by_their_name_or_an_institution():
    assert find_nodes(PLAN, ("node0", "webank", "szcredit")) == ["node0", "node1", "node0"]
    with pytest.raises(LookupError, match="no node 'webnak'; did you mean 'webank'"):
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


def test_warnings_are_treated_as_their_filters_say(network, recwarn):
    """Filters of one module, and filters that raise, hold in what is played."""

    async def play(actors, faults):
        warnings.warn("of here", DeprecationWarning, stacklevel=1)
        warnings.warn_explicit("old", DeprecationWarning, "there.py", 1, module="there")
        with pytest.raises(UserWarning, match="odd"):
            warnings.warn_explicit("odd", UserWarning, "there.py", 2, module="there")
        return "played"

    warnings.resetwarnings()
    warnings.filterwarnings("error", category=UserWarning)
    warnings.filterwarnings("always", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="there")
    assert network.play(play) == "played"
    assert [str(item.message) for item in recwarn] == ["of here"]


def test_a_forgotten_await_is_explained(network):
    made = []

    async def use(actors, faults):
        issued = actors.give("acme", None, "szcredit")
        made.append(issued)
        return issued.anchor

    async def pass_on(actors, faults):
        height = actors.clients["nova"].call("eth_blockNumber")
        made.append(height)
        return int(height, 16)

    async def give_back(actors, faults):
        return actors.give("acme", None, "szcredit")

    async def drop(actors, faults):
        actors.revoke("szcredit", b"1" * 32)

    async def forget_to_enter(actors, faults):
        faults.down("webank")

    def not_async(actors, faults):
        return 5

    for function, error in ((use, AttributeError), (pass_on, TypeError)):
        with pytest.raises(error) as told:
            network.play(function)
        assert "an `await` is missing" in told.value.__notes__[0]
        made.pop().close()
    for function, text in (
        (give_back, "returned a coroutine; an `await` is missing"),
        (drop, "without effect: coroutine 'Actors.revoke'; an `await` is missing"),
        (forget_to_enter, r"without effect: faults.down\('webank'\); a fault is entered: `async"),
        (not_async, "async def story"),
    ):
        with pytest.raises(TypeError, match=text):
            network.play(function)


def test_what_was_without_effect_is_told_with_the_failure_it_caused(network):
    async def fail(actors, faults):
        actors.revoke("szcredit", b"1" * 32)
        faults.down("webank")
        raise AssertionError("not revoked")

    with pytest.raises(AssertionError) as told:
        network.play(fail)
    forgotten, unused = told.value.__notes__
    assert "without effect: coroutine 'Actors.revoke'; an `await` is missing" in forgotten
    assert "without effect: faults.down('webank'); a fault is entered" in unused


def test_what_is_no_anchor_no_subject_or_no_receiver_is_told(network):
    async def play(actors, faults):
        document = SAMPLES["cn.ecr/1"](1, actors.now_s())
        with pytest.raises(TypeError, match=r"32 bytes, as `issued.anchor`, not 'acme'"):
            await actors.revoke("szcredit", "acme")
        with pytest.raises(TypeError, match=r"such as `document.subject`.*not 'acme'"):
            await actors.verifiers["nova"].receive(b"", "acme")
        with pytest.raises(UnknownName, match="no institution 'nvoa'; did you mean 'nova'"):
            await actors.issue("szcredit", document, "acme", "nvoa")
        with pytest.raises(ValueError, match=r"webank cannot receive .* These have it: .*nova"):
            actors.ask("webank", document)
        with pytest.raises(UnknownName, match=r"^acme has no document 00$"):
            await actors.agree("acme", "00", actors.ask("nova", document, fields=["/summary"]))
        async with faults.cut("SZ", "HK"):
            with pytest.raises(ValueError, match="node0 and node2 are cut off"):
                async with faults.cut("SZ", "HK"):
                    pass

    network.play(play)
    assert "key" not in repr(network.plan) and len(repr(network.plan)) < 50


def test_a_presentation_that_a_cut_kept_from_being_used_is_received_again(network):
    """The bank was told INDETERMINATE, and then REPLAYED, of a presentation of its first use."""

    async def play(actors, faults):
        document = SAMPLES["cn.ecr/1"](1, actors.now_s())
        issued = await actors.issue("szcredit", document, "acme", "nova")
        request = actors.ask("nova", document)
        consent = await actors.agree("acme", issued, request)
        sealed = actors.holders["acme"].present(issued.package.header.doc_id, request, consent)
        async with faults.cut("SZ", "HK"):
            with actors.horizon.ignored():
                during = await actors.verifiers["nova"].receive(sealed, document.subject)
        after = [await actors.verifiers["nova"].receive(sealed, document.subject) for _ in range(2)]
        return [during, *after]

    during, after, again = network.play(play)
    assert during.codes[0].startswith("FRESHNESS_UNKNOWN(not known to be used up")
    assert (after.verdict, again.codes) == (Verdict.ACCEPT, ["REPLAYED"])


def test_a_story_is_passed_uncalled(network):
    async def story(actors, faults):
        return 1

    with pytest.raises(TypeError, match="takes the function itself"):
        network.play(story(None, None))


def test_faults_are_entered_with_async_with(network):
    async def with_only(actors, faults):
        with faults.cut("SZ", "HK"):
            pass

    async def awaited(actors, faults):
        await faults.slow(1, "webank")

    for function, text in (
        (with_only, r"entered with `async with faults.cut\('SZ', 'HK'\):`"),
        (awaited, "not awaited, but entered"),
    ):
        with pytest.raises(TypeError, match=text):
            network.play(function)


def test_a_node_is_down_at_once_and_until_the_last_fault_ends(network):
    """A stopped node still answered, and the inner of two faults started it again."""

    async def play(actors, faults):
        async def answers():
            try:
                await actors.clients["webank"].call("eth_blockNumber")
            except ClientError:
                return False
            return True

        found = [await answers()]
        async with faults.down("webank"):
            found.append(await answers())
            async with faults.down("node1"):
                found.append(await answers())
            await trio.sleep(30)
            found.append(await answers())
        await trio.sleep(30)
        return [*found, await answers()]

    assert network.play(play) == [True, False, False, False, True]


def test_mistakes_with_what_is_asked_for(network):
    """A wrong purpose made tests of a refusal pass: the receiver refused its own request."""

    async def play(actors, faults):
        document = SAMPLES["cn.ecr/1"](1, actors.now_s())
        with pytest.raises(FormError, match=r"purpose: one of LOAN, .*not 'loan'"):
            actors.ask("nova", document, "loan")
        with pytest.raises(FormError, match="a list of paths, such as"):
            actors.ask("nova", document, fields="/loans")
        issued = await actors.issue("szcredit", document, "acme", "nova")
        with pytest.raises(RegistryRefused, match="NOT_FOUND") as refused:
            await actors.revoke("nova", issued)
        assert "registered no such anchor" in refused.value.__notes__[0]
        report = await actors.hand_over("acme", issued, document, "nova")
        await actors.revoke("szcredit", issued)
        return report

    assert repr(network.play(play)) == "<Report ACCEPT>"
    with pytest.raises(UnknownName, match=r"no sample of schema 'cn\.ecr/9'; did you"):
        SAMPLES["cn.ecr/9"]


async def issue_one(actors, seed):
    document = SAMPLES["cn.ecr/1"](seed, actors.now_s())
    return await actors.issue("szcredit", document, "acme", "nova")


def test_a_cut_of_one_way_holds_up_and_heals(network):
    async def play(actors, faults):
        async with faults.cut("SZ", "HK", one_way=True):
            with trio.move_on_after(2) as limit:
                await issue_one(actors, 1)
        issued = await issue_one(actors, 2)
        return limit.cancelled_caught, issued.anchor

    held_up, anchor = network.play(play)
    assert held_up
    assert anchor


def test_lies_need_a_network_that_allows_them(network, tmp_path):
    async def lie(actors, faults):
        async with faults.lie("withhold", "node1"):
            return [await issue_one(actors, seed) for seed in range(3)]

    async def misname(actors, faults):
        faults.lie("withold", "node1")

    with pytest.raises(ValueError, match="allow_lies = true"):
        network.play(lie)
    text, _ = read_network("dev-4")
    file = tmp_path / "lying.toml"
    file.write_text(text.replace("[network]", "[network]\nallow_lies = true"), encoding="utf-8")
    lying = VirtualNetwork(str(file))
    with pytest.raises(UnknownName, match="did you mean 'withhold'"):
        lying.play(misname)
    assert len(lying.play(lie)) == 3


def test_a_paused_node_says_nothing_until_it_goes_on(network):
    """Its clients wait as well, as those of a process that is stopped do."""

    async def play(actors, faults):
        client = actors.clients["webank"]
        async with faults.pause("webank"):
            with trio.move_on_after(5) as limit:
                await client.call("eth_blockNumber")
            issued = await issue_one(actors, 1)  # the three others are a quorum
        height = int(await client.call("eth_blockNumber"), 16)
        async with faults.throttle(0.2, "webank"):
            again = await issue_one(actors, 2)
        return limit.cancelled_caught, issued.package.anchors[-1].registered_height, height, again

    is_silent, registered, height, again = network.play(play)
    assert is_silent and registered > 0 and height > 0 and again.anchor


def test_a_bridge_keeps_a_network_that_is_cut_in_two_going(network):
    """Neither half has a quorum, but each has one with the node that both can reach."""

    async def play(actors, faults):
        async with faults.cut("node0", "node3"), faults.cut(["node0"], ["node2"]):
            return await issue_one(actors, 1)

    assert network.play(play).anchor


def test_a_link_of_two_nodes_has_a_shape_of_its_own(network):
    async def play(actors, faults):
        found = []
        for ends in (("node1", "node2"), ("node0", ["node1", "node2", "node3"])):
            async with faults.link(*ends, delay_s=0.4):
                begun_s = trio.current_time()
                await issue_one(actors, len(found))
                found.append(trio.current_time() - begun_s)
        return found

    of_one, of_all = network.play(play)
    assert of_one + 0.4 < of_all  # szcredit's node is node0: every vote comes late there


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda faults: faults.throttle("webank", 0.5), "comes first"),
        (lambda faults: faults.throttle(1, "webank"), "below 1"),
        (lambda faults: faults.clock(0, "webank"), "some seconds ahead"),
        (lambda faults: faults.clock(2, "webank"), "allow_lies = true"),
        (lambda faults: faults.disk(0.1, "webank"), "take no time"),
        (lambda faults: faults.link("SZ", "HK"), "say how bytes travel"),
        (lambda faults: faults.link("SZ", "HK", loss=0.9), "loss is the share"),
        (lambda faults: faults.link("SZ", "SZ", delay_s=1), "stands at both"),
    ],
)
def test_faults_that_would_do_nothing_or_cannot_be(network, make, text):
    async def play(actors, faults):
        with pytest.raises(ValueError, match=text):
            make(faults)

    network.play(play)


def test_a_shifted_clock_is_seen_and_goes_back(tmp_path):
    text = read_network("dev-4")[0].replace("[network]", "[network]\nallow_lies = true")
    (tmp_path / "network.toml").write_text(text, encoding="utf-8")

    async def play(actors, faults):
        async def read_ahead_s():
            block = await actors.clients["webank"].call("eth_getBlockByNumber", "latest", False)
            return int(block["timestamp"], 16) - actors.now_s()

        found = []
        async with faults.clock(3, "node0", "node1", "node2"):
            await issue_one(actors, 1)
            found.append(await read_ahead_s())
        await trio.sleep(10)
        await issue_one(actors, 2)
        return [*found, await read_ahead_s()]

    ahead, after = VirtualNetwork(str(tmp_path / "network.toml")).play(play)
    assert ahead >= 2 and after <= 0
