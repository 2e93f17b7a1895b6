"""Block sync: what is answered to whom, and whose claims count."""

from types import SimpleNamespace

import pytest
import trio

from lowu.node.chain.roster import Roster
from lowu.node.core.inbox import Inbox
from lowu.node.core.membership import Membership
from lowu.node.core.snapshots import SnapshotClient
from lowu.node.core.sync import DOUBT_S_MAX, DOUBT_S_MIN, Sync
from lowu.node.errors import BadInput
from lowu.node.gateway.gateway import REQUEST_S
from lowu.node.gateway.requests import BlocksRequest
from tests.unit import node_kit as kit


def make(blocks=3):
    chain = kit.Chain()
    for number in range(blocks):
        chain.commit(kit.signed(nonce=number))
    return Sync(chain.ledger, None, None, None, None)


@pytest.mark.parametrize("count", [3, 65, 2**31, 10**12])
def test_ranges_are_capped(count, monkeypatch):
    """B40: a request for billions of blocks costs no more than one for a few."""
    monkeypatch.setattr("lowu.node.core.sync.RANGE_BLOCKS_MAX", 2)
    assert len(make().answer_blocks(BlocksRequest(1, count))) == 2


def test_blocks_above_the_head_are_none():
    assert make().answer_blocks(BlocksRequest(9, 4)) == []
    assert len(make().answer_blocks(BlocksRequest(1, 2))) == 2


# --- claims (B48) and abstaining peers (N-C1) --------------------------------------------------

HONEST, OTHER, LIAR = b"a" * 64, b"b" * 64, b"c" * 64


class Gateway:
    """Peers with so many blocks each; the liar has none and does not even answer."""

    node_id = b"n" * 64

    def __init__(self, blocks, answers=None):
        self.connected = frozenset({HONEST, OTHER, LIAR})
        self.blocks = blocks
        self.asked = []
        self.banned = []
        self.sent = []
        self.told = frozenset()
        self.liar_answer = answers

    async def request(self, node_id, request):
        self.asked.append((node_id, trio.current_time()))
        if node_id == LIAR:
            if self.liar_answer is not None:
                return self.liar_answer
            await trio.sleep(REQUEST_S)
            raise BadInput("no answer")
        return list(range(request.start, self.blocks + 1))

    def ban(self, node_id, reason):
        self.banned.append(node_id)

    def close_strangers(self):
        pass

    def broadcast(self, node_ids, kind, value):
        self.sent.append(value)
        self.told = node_ids


class Chain:
    """A chain of numbers instead of blocks."""

    def __init__(self):
        self.height = 0
        self.rosters = [(1, Roster.of(kit.GENESIS.nodes, kit.GENESIS.settings))]

    @property
    def head(self):
        return SimpleNamespace(number=self.height)

    def header(self, number):
        return SimpleNamespace(hash=b"h" * 32)


class NumberSync(Sync):
    """Block sync whose blocks are numbers, imported at once."""

    async def _import(self, answer):
        self._ledger.height = max([self._ledger.height, *answer])
        return len(answer)


def connect(gateway, is_abstaining=lambda: False):
    chain = Chain()
    membership = Membership(kit.GENESIS, chain)
    return NumberSync(chain, gateway, None, membership, Inbox(), is_abstaining)


def status(height, abstains=False):
    return [height, b"h" * 32, abstains]


async def follow(sync, gateway, seconds, is_lying=True):
    """A block a second for a while, announced by the honest; the liar claims far more, often."""
    lags = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync.run)
        for second in range(seconds):
            gateway.blocks += 1
            for node in (HONEST, OTHER):
                await sync.handle_status(node, status(gateway.blocks))
            for _ in range(10):
                if is_lying:
                    await sync.handle_status(LIAR, status(2**48 - second))
                await trio.sleep(0.1)
            lags.append(gateway.blocks - sync._ledger.height)
        nursery.cancel_scope.cancel()
    return lags


@pytest.mark.parametrize("answer", [None, []])
async def test_an_absurd_height_holds_up_nobody(autojump_clock, answer):
    """B48: at most one request goes unanswered; then news from others ends the waiting."""
    gateway = Gateway(50, answer)
    sync = connect(gateway)
    lags = await follow(sync, gateway, 120)
    held_up = [second for second, lag in enumerate(lags) if lag > 1]
    assert len(held_up) <= (REQUEST_S if answer is None else 0)
    assert lags[-30:] == [0] * 30
    to_liar = [when for node, when in gateway.asked if node == LIAR]
    assert len(to_liar) <= 9, "asked after 1, 2, 4, 8, 16, 30, 30 … seconds only"
    assert gateway.banned == []


async def test_catching_up_asks_those_who_give(autojump_clock):
    """B48: while somebody without a doubt is ahead, the liar is not asked again."""
    gateway = Gateway(10)
    sync = connect(gateway)
    await sync.handle_status(LIAR, status(2**48))
    await follow(sync, gateway, 30)
    assert sync._doubts.keys() == {LIAR}
    assert sync.known_highest == gateway.blocks


async def test_a_peer_that_gives_again_is_trusted_again(autojump_clock):
    gateway = Gateway(0)
    sync = connect(gateway)
    await sync.handle_status(HONEST, status(5))  # it has not got it yet
    await sync._fetch_round()
    assert sync._claims() == {}
    await trio.sleep(DOUBT_S_MIN)
    gateway.blocks = 5
    await sync._fetch_round()
    assert sync._ledger.height == 5
    assert sync._doubts == {}


async def test_doubts_are_bounded(autojump_clock):
    gateway = Gateway(0, [])
    sync = connect(gateway)
    waits = []
    for _ in range(40):
        sync._doubt(LIAR)
        waits.append(sync._doubts[LIAR].until_s - trio.current_time())
    assert waits[:6] == [1, 2, 4, 8, 16, DOUBT_S_MAX]
    assert max(waits) == DOUBT_S_MAX


@pytest.mark.parametrize("value", [[2**62, b"h" * 32, False], [1, b"h" * 32], [1, b"h" * 32, 1]])
async def test_heights_that_cannot_be_are_refused(value):
    with pytest.raises(BadInput):
        await connect(Gateway(0)).handle_status(LIAR, value)


async def test_who_abstains_says_so(autojump_clock):
    """N-C1: each node says it of itself only, and takes it back."""
    gateway = Gateway(0)
    own = [False]
    sync, told = connect(gateway, lambda: own[0]), []
    sync.on_abstaining = lambda: told.append(set(sync.abstaining))
    for abstains in (False, True, True, False):
        await sync.handle_status(OTHER, status(0, abstains))
    assert told == [{OTHER}, set()]
    sync.announce()
    own[0] = True
    sync.announce()
    assert [value[2] for value in gateway.sent] == [False, True]


async def test_who_abstains_hears_of_each_block():
    """It takes no CHECKPOINTs, and had to wait for the announcements of every three seconds."""
    gateway = Gateway(0)
    sync = connect(gateway)
    voter = bytes.fromhex(kit.GENESIS.sealers[0][0])
    gateway.connected = frozenset({voter, OTHER})
    for abstains, told in ((False, {OTHER}), (True, {voter, OTHER}), (False, {OTHER})):
        await sync.handle_status(voter, status(0, abstains))
        sync.announce_to_observers()
        assert gateway.told == told


async def test_who_abstains_does_not_wait_for_consensus_to_bring_blocks(autojump_clock):
    """It waited a second for them before each request, and so fell behind anew."""
    gateway = Gateway(0)
    gateway.node_id = bytes.fromhex(kit.GENESIS.sealers[0][0])
    sync = connect(gateway, lambda: True)
    lags = await follow(sync, gateway, 30, is_lying=False)
    times = [when - gateway.asked[0][1] for _, when in gateway.asked]
    assert max(lags) == 0 and times == pytest.approx(range(30)), "asked at once each time"


# --- blocks that are nowhere any more -----------------------------------------------------------


async def test_blocks_are_gone_if_an_honest_validator_has_not_the_next_one(autojump_clock):
    """One that denies it, or answers nothing, is not enough; nor are several requests to it."""
    members = [bytes.fromhex(node_id) for node_id, _ in kit.GENESIS.sealers]
    gateway, gone = Gateway(0, []), []
    sync = connect(gateway)
    sync.snapshots = SimpleNamespace(
        is_due=lambda height: False, note_blocks_gone=lambda: gone.append(sync._ledger.height)
    )

    async def ask(node_id, blocks):
        gateway.blocks = blocks
        await sync._ask_for(node_id, sync._ledger.height + 1, 4)

    await ask(members[0], 0)
    await ask(members[0], 0)
    with pytest.raises(BadInput):
        gateway.liar_answer = None
        await sync._ask_for(LIAR, 1, 4)
    assert not gone
    await ask(members[1], 0)
    assert gone == [0]
    sync._ledger.height = 3
    await ask(members[2], 0)
    assert gone == [0], "each head anew"
    await sync._ask_for(members[3], 9, 4)
    assert gone == [0], "it may have those below"


async def test_a_back_off_is_lifted_once_for_each_head_and_not_after_failed_loads(autojump_clock):
    chain = Chain()
    client = SnapshotClient(None, chain, None, None, None, None, 8)

    def note(height, failures):
        chain.height, client._failures = height, failures
        client._not_before_s = trio.current_time() + 120
        client.note_blocks_gone()
        return client.is_due(100)

    assert note(5, 0) and not note(5, 0)
    assert not note(6, 1) and note(7, 0)


async def test_heights_are_kept_only_while_they_matter():
    gateway, own = Gateway(0), [True]
    sync = connect(gateway, lambda: own[0])
    members = [bytes.fromhex(node_id) for node_id, _ in kit.GENESIS.sealers]
    for height in (5, 0):
        for node_id in members:
            await sync.handle_status(node_id, status(height))
        await sync._tell_caught_up()
    assert set(sync._heard.values()) == {5}, "the first claims, not the lowest"
    own[0], sync._told_epoch = False, 1
    await sync._tell_caught_up()
    await sync.handle_status(members[0], status(7))
    assert sync._heard == {}


# --- news ----------------------------------------------------------------------------------------


async def test_whoever_has_less_is_told_where_we_are():
    gateway = Gateway(5)
    sync = connect(gateway)
    sync._ledger.height = 5
    for height in (6, 5, 4):
        await sync.handle_status(HONEST, status(height))
    assert gateway.sent == [status(5)]


async def test_what_consensus_asks_for_is_fetched_though_announcements_are_old(autojump_clock):
    """It was forgotten until the next announcement, up to three seconds later."""
    gateway = Gateway(5)
    sync = connect(gateway)

    def answer(node_ids, kind, value):
        gateway.sent.append(value)
        if len(gateway.sent) == 2:  # the first is the regular one
            sync.peer_heights[HONEST] = (5, b"h" * 32)
            sync._changed.set()

    gateway.broadcast = answer
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync.run)
        await trio.sleep(0.1)
        sync.request(5)
        await trio.sleep(0.01)
        assert sync._ledger.height == 5
        nursery.cancel_scope.cancel()


async def test_requests_for_what_nobody_has_cost_few_announcements(autojump_clock):
    """B48: a validator claims one height after another; others are not asked each time."""
    gateway = Gateway(0)
    sync = connect(gateway)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync.run)
        for height in range(1, 1_000):
            sync.request(height)
            await trio.sleep(0.002)
        nursery.cancel_scope.cancel()
    assert len(gateway.sent) <= 6
