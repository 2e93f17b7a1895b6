"""The regulator's view, from a node that may lie."""

import pytest

from lowu.contracts.abi import load_artifact
from lowu.institutions.roles.regulator import RANGE_BLOCKS, RANGES_MAX, Regulator
from lowu.node.client import ClientError, RemoteError
from tests.store_kit import open_store

EVENTS = load_artifact("HashRegistry").events


def word(number):
    return "0x" + number.to_bytes(32, "big").hex()


class Chain:
    """A node with a chain of a given height, and events in some blocks."""

    url = "http://node"

    def __init__(self, height, events=(), limit=10**9):
        self.height, self.events, self.limit = height, events, limit

    async def call(self, method, *params):
        if method == "eth_getBlockByNumber":
            return {"number": hex(self.height), "hash": word(1), "timestamp": "0x1"}
        first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
        if last - first >= self.limit:
            raise RemoteError(-32005, "too many", None)
        (wanted,) = params[0]["topics"]
        return [
            {
                "topics": ["0x" + EVENTS[name].topic.hex(), word(issuer), word(9), word(1)],
                "data": "0x" + "00" * 32,
                "blockNumber": hex(height),
                "transactionHash": word(2),
            }
            for height, name, issuer in self.events
            if first <= height <= last and "0x" + EVENTS[name].topic.hex() in wanted
        ]


async def test_events_count_once_however_they_are_read(tmp_path):
    events = [
        (3, "AnchorRegistered", 1),
        (4, "BatchRegistered", 1),
        (5, "AnchorRevoked", 1),
        (9, "LeafRevoked", 1),
        (9, "AnchorErased", 1),
        (40, "AnchorRevoked", 2),
    ]
    for limit in (10**9, 3, 1):
        store = open_store(tmp_path / f"{limit}.sqlite3")
        await Regulator(Chain(7, events, limit), store).catch_up()
        view = await Regulator(Chain(50, events, limit), store).catch_up()
        assert dict(view.registered) == {(1, 1): 2} and view.last_registered == {1: 4}
        assert dict(view.withdrawn) == {1: 2, 2: 1} and dict(view.erased) == {1: 1}
        assert view.height == 50 and not view.mass_withdrawals


async def test_events_of_other_blocks_are_refused(tmp_path):
    chain = Chain(50, [(60, "AnchorRegistered", 1)])
    desk = Regulator(chain, open_store(tmp_path / "store.sqlite3"))
    answer = chain.call

    async def lie(method, *params):
        if method == "eth_getLogs":
            params = [{**params[0], "toBlock": "0x64"}]
        return await answer(method, *params)

    chain.call = lie
    with pytest.raises(ClientError, match="block 60"):
        await desk.catch_up()
    assert desk.view.height == -1 and not desk.view.registered


async def test_a_height_that_no_chain_has_is_no_endless_work(tmp_path):
    store = open_store(tmp_path / "store.sqlite3")
    desk = Regulator(Chain(2**40), store)
    assert (await desk.catch_up()).height == RANGES_MAX * RANGE_BLOCKS - 1
    with pytest.raises(ClientError, match="at block 50, but"):  # up to 1,000 blocks less is lag
        await Regulator(Chain(50), store).catch_up()
