"""N-F8: damage found while a node runs is named, counted and reported."""

import json

import pytest
import trio

from lowu.contracts.account import Account
from lowu.node.errors import DamagedData, root_causes
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.gateway.requests import BlocksRequest
from lowu.node.ledger.schema import height_key, state_key
from lowu.node.ledger.state_cache import StateCache
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan

PLAN = load_plan("dev-4")
STRANGER = Account(b"\x07" * 32)
STRANGERS_ADDRESS = bytes.fromhex(STRANGER.address[2:])


def flip(storage, key):
    stored = storage.records[key]
    storage.records[key] = stored[:-1] + bytes([stored[-1] ^ 1])


async def commit(network, nonce, names=None):
    """Have all nodes, or some, commit a transaction of the stranger."""
    client = network.client(network.plan.nodes[0])
    raw, _ = STRANGER.sign_transaction(
        to=STRANGERS_ADDRESS,
        data=b"",
        gas=21_000,
        nonce=nonce,
        chain_id=network.plan.genesis.web3_chain_id,
    )
    await client.call("eth_sendRawTransaction", "0x" + raw.hex())
    while min(network.nodes[name].ledger.head.number for name in names or network.nodes) <= nonce:
        await trio.sleep(0.01)


def play(scene):
    async def main():
        async with open_virtual(PLAN) as network:
            await commit(network, 0)
            await commit(network, 1)
            return await scene(network)

    return run_virtual(2, main)


async def ask(network, position, method, *params):
    """Return a node's answer, or its error."""
    node = network.nodes[network.plan.nodes[position].name]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = json.loads(await node.rpc.dispatcher.answer(json.dumps(body).encode()))
    return answer.get("result", answer.get("error"))


async def status(network, position):
    return json.loads(await ask(network, position, "getConsensusStatus"))


def test_a_client_that_asks_for_a_damaged_block_is_told_and_stops_nothing():
    async def scene(network):
        flip(network._storages["node1"], height_key(b"B", 1))
        assert (await status(network, 1))["storageDamage"]["reads"] == 0
        for _ in range(2):
            error = await ask(network, 1, "eth_getBlockByNumber", "0x1", True)
            assert "this node's storage is damaged" in error["message"]
            assert "000001 is damaged" in error["message"]
        damage = (await status(network, 1))["storageDamage"]
        assert damage["reads"] == 2 and "is damaged" in damage["first"]
        assert (await ask(network, 0, "eth_getBlockByNumber", "0x1", True))["number"] == "0x1"
        await commit(network, 2)  # the node keeps working

    play(scene)


def test_a_peer_that_asks_for_a_damaged_block_asks_another_node():
    async def scene(network):
        flip(network._storages["node1"], height_key(b"B", 1))
        asked = network.nodes["node1"].sync
        assert asked.answer_blocks(BlocksRequest(1, 10)) == []
        assert len(asked.answer_blocks(BlocksRequest(2, 10))) == 1
        assert len(network.nodes["node0"].sync.answer_blocks(BlocksRequest(1, 10))) == 2
        await commit(network, 2)

    play(scene)


def test_a_node_whose_own_work_meets_damage_stops_and_says_which_record(monkeypatch):
    """The node cannot know its state, so it must not vote."""
    monkeypatch.setattr(StateCache, "get", lambda self, key: None)

    async def scene(network):
        flip(network._storages["node1"], state_key(TABLE_ACCOUNT, STRANGERS_ADDRESS))
        await commit(network, 2)
        raise AssertionError("it goes on")

    with pytest.raises(BaseExceptionGroup) as caught:
        play(scene)
    causes = root_causes(caught.value)
    assert all(isinstance(cause, DamagedData) for cause in causes), causes
    assert "is damaged" in str(causes[0])


def test_damage_that_goes_with_its_record_stops_nobody():
    """A proposal's bodies are dropped with the block that settles it; nobody reads them again."""

    async def scene(network):
        storage = network._storages["node1"]
        real = storage.write

        def write(puts, deletes=()):
            real(puts, deletes)
            for key in puts:
                if key.startswith(b"P"):
                    flip(storage, key)

        storage.write = write
        await commit(network, 2)
        head = network.nodes["node1"].ledger.head.number
        assert list(storage.keys(b"P", height_key(b"P", head + 1))) == []

    play(scene)
