"""Ranges of blocks from several peers at once: in order, bounded, and past silent or lying ones."""

import pytest
import trio

from lowu.node.core.block_ranges import AHEAD_MAX, PATIENCE_S, BlockRanges
from lowu.node.errors import BadInput

END, AT_ONCE = 1_000, 64


class Peers:
    """Peers that have numbers for blocks, and take their time."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = []
        self.ahead = 0
        self.wrong = {}

    async def ask(self, node_id, first, count):
        self.asked.append((node_id, first))
        await trio.sleep(self.seconds[node_id])
        if node_id in self.wrong:
            return self.wrong[node_id](first, count)
        return list(range(first, first + count))


async def fetch(peers, heights, end=END):
    """Take everything over; return the chain and the time that it took."""
    chain = []
    ranges = BlockRanges(peers.ask, 1, end, AT_ONCE)
    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        ranges.start(nursery, heights)
        while (found := await ranges.next_range()) is not None:
            node_id, answer = found
            peers.ahead = max(peers.ahead, len(ranges._arrived) + len(ranges._under_way))
            before = len(chain)
            for block in answer:
                if block == len(chain) + 1:
                    chain.append(block)
            if len(chain) == before:
                ranges.refuse(node_id)
            ranges.take_over(len(chain))
        nursery.cancel_scope.cancel()
    return chain, trio.current_time() - started_s, ranges.silent


async def test_several_peers_are_asked_at_once_and_the_chain_is_in_order(autojump_clock):
    peers = Peers(dict.fromkeys("abcd", 0.1))
    chain, seconds, silent = await fetch(peers, dict.fromkeys("abcd", END))
    assert chain == list(range(1, END + 1)) and not silent
    ranges = -(-END // AT_ONCE)
    assert len(peers.asked) == ranges, "nobody is asked twice for the same"
    assert seconds == pytest.approx(0.1 * -(-ranges // 4)), "a quarter of the time of one peer"
    alone = await fetch(Peers({"a": 0.1}), {"a": END})
    assert alone[0] == chain and alone[1] == pytest.approx(0.1 * ranges)


async def test_what_is_fetched_ahead_is_bounded(autojump_clock):
    """The first range comes last: nobody fetches the whole chain meanwhile."""
    peers = Peers(dict.fromkeys("bcdefghij", 0.01) | {"a": 0.9})
    chain, _, _ = await fetch(peers, dict.fromkeys("abcdefghij", 100_000), end=100_000)
    assert len(chain) == 100_000 and peers.ahead <= AHEAD_MAX + 1


async def test_a_silent_peer_costs_a_moment(autojump_clock):
    peers = Peers({"a": 10.0, "b": 0.05, "c": 0.05})

    def nothing(first, count):
        raise BadInput("no answer within 10 s")

    peers.wrong["a"] = nothing
    chain, seconds, _ = await fetch(peers, dict.fromkeys("abc", END))
    assert chain == list(range(1, END + 1)) and seconds < PATIENCE_S + 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda first, count: [],
        lambda first, count: list(range(1, count + 1)),
        lambda first, count: list(range(first, first + 2 * count)),
        lambda first, count: ["no block"] * count,
        lambda first, count: list(range(first + 1, first + count)),
    ],
    ids=["none", "old ones", "too many", "no blocks", "a gap"],
)
async def test_a_peer_that_gives_something_else_is_left(autojump_clock, wrong):
    peers = Peers(dict.fromkeys("abc", 0.05))
    peers.wrong["a"] = wrong
    chain, seconds, silent = await fetch(peers, dict.fromkeys("abc", END))
    assert chain == list(range(1, END + 1)) and silent == {"a"} and seconds < 3


async def test_answers_that_are_cut_short_are_completed(autojump_clock):
    """Blocks of a megabyte: a range has fewer of them than were asked for."""
    peers = Peers(dict.fromkeys("ab", 0.05))
    for name in "ab":
        peers.wrong[name] = lambda first, count: list(range(first, first + min(count, 10)))
    chain, _, silent = await fetch(peers, dict.fromkeys("ab", END))
    assert chain == list(range(1, END + 1)) and not silent


async def test_one_answer_that_is_cut_short_shifts_nothing(autojump_clock):
    """What is behind the gap was fetched already, and is not fetched again."""
    peers = Peers(dict.fromkeys("ab", 0.05))
    cut = [True]

    def cut_once(first, count):
        return list(range(first, first + (1 if cut and cut.pop() else count)))

    peers.wrong["a"] = cut_once
    chain, _, _ = await fetch(peers, dict.fromkeys("ab", END))
    assert chain == list(range(1, END + 1))
    assert len(peers.asked) <= -(-END // AT_ONCE) + 1


async def test_a_peer_is_asked_only_for_what_it_claims_to_have(autojump_clock):
    peers = Peers(dict.fromkeys("ab", 0.05))
    chain, _, _ = await fetch(peers, {"a": 100, "b": END})
    assert chain == list(range(1, END + 1))
    assert all(first <= 100 for name, first in peers.asked if name == "a")


async def test_if_nobody_gives_anything_it_ends(autojump_clock):
    peers = Peers(dict.fromkeys("ab", 0.05))
    for name in "ab":
        peers.wrong[name] = lambda first, count: list(range(first, min(first + count, 301)))
    chain, _, silent = await fetch(peers, dict.fromkeys("ab", END))
    assert chain == list(range(1, 301)) and silent == {"a", "b"}
    assert (await fetch(peers, {}))[0] == []
