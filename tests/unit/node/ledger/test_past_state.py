"""The state of past blocks: equal to a model that copies it, whole, bounded, forgotten in time."""

import json
from pathlib import Path
from random import Random

import pytest

from lowu.consensus.messages import CommitCertificate
from lowu.node.errors import DamagedData, StateNotKept
from lowu.node.execution.genesis import build_genesis
from lowu.node.ledger import schema
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.storage import MemoryStorage
from lowu.node.ledger.vote_trace import MemoryTrace
from lowu.node.settings import Kept
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.changes import set_values
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec
from lowu.options import read_network
from tests.unit import node_kit as kit
from tests.unit.node_kit import Chain, signed

KEYS = [(table, name) for table in (b"a", b"s") for name in (b"1", b"12", b"123", b"2")]
"""Keys of which some begin as others do."""


def check_state(past, wanted):
    assert {key: past.get(*key) for key in KEYS} == {key: wanted.get(key, b"") for key in KEYS}


class Written:
    """A block that writes what a test says; the ledger looks at nothing else of it."""

    def __init__(self, header, writes):
        self.header, self.writes = header, writes
        self.transactions = self.receipts = self.receipt_records = ()
        self.roster = None


class WrittenChain:
    """A ledger with blocks of random writes, and a copy of the state after each."""

    def __init__(self, storage, history_blocks, seed=0):
        self.storage, self.random = storage, Random(seed)
        self.trace = MemoryTrace()
        self.states = [{}]
        self.open(history_blocks)

    def open(self, history_blocks):
        genesis = build_genesis(kit.GENESIS)
        self.ledger = Ledger(self.storage, genesis, self.trace, kept=Kept(history_blocks, 0))

    def commit(self):
        count = self.random.randrange(len(KEYS))
        writes = {key: self.value() for key in self.random.sample(KEYS, count)}
        header = Chain.execute(self).header
        self.ledger.commit(
            Written(header, writes),
            CommitCertificate(header.number, header.proposal_digest, header.hash, ()),
        )
        self.states.append(self.states[-1] | writes)

    def value(self):
        return self.random.choice((b"", self.random.randbytes(3)))

    def check(self, lowest):
        """The state of each block from `lowest` on is right, and no other is answered."""
        head = self.ledger.head.number
        for number, state in enumerate(self.states):
            if number < lowest:
                with pytest.raises(StateNotKept, match=f"that of blocks {lowest} to {head} "):
                    self.ledger.state_at(number)
                continue
            check_state(self.ledger.state_at(number), state)
        with pytest.raises(StateNotKept):
            self.ledger.state_at(head + 1)

    def count_records(self):
        return sum(1 for key in self.storage.keys(b"D", b"V") if key[:1] in b"DU")


@pytest.mark.parametrize("history_blocks", [1, 5, 256])
def test_past_states_are_those_of_a_copy(storage, history_blocks):
    chain = WrittenChain(storage, history_blocks)
    for number in range(1, 20):
        chain.commit()
        chain.check(lowest=max(0, number - history_blocks))
    assert chain.count_records() <= history_blocks * (len(KEYS) + 1)


def test_commits_and_forgetting_do_not_change_a_state_that_is_being_read(storage):
    chain = WrittenChain(storage, 3)
    for _ in range(5):
        chain.commit()
    past = chain.ledger.state_at(2)
    for _ in range(9):
        chain.commit()
    check_state(past, chain.states[2])


def test_the_setting_may_change_between_starts():
    chain = WrittenChain(MemoryStorage(), 8)
    for _ in range(12):
        chain.commit()
    chain.open(20)  # nothing that is gone comes back
    chain.check(lowest=4)
    for _ in range(3):
        chain.commit()
    chain.check(lowest=4)
    chain.open(2)
    chain.check(lowest=4)
    chain.commit()
    chain.check(lowest=14)
    for _ in range(12):
        chain.commit()
    assert chain.count_records() <= 2 * (len(KEYS) + 1)
    chain.open(0)
    for _ in range(2):
        chain.commit()
    chain.check(lowest=chain.ledger.head.number)
    assert chain.count_records() == 0


def test_history_with_a_gap_is_not_believed():
    """An older Lowu has added blocks and left nothing of what they replaced."""
    chain = WrittenChain(MemoryStorage(), 8)
    for _ in range(4):
        chain.commit()
    older = dict(chain.storage.records)
    chain.commit()
    for key, stored in older.items():
        if key == schema.KEY_HISTORY:
            chain.storage.records[key] = stored
    chain.open(8)
    chain.commit()
    chain.check(lowest=5)
    for _ in range(20):
        chain.commit()
    assert chain.count_records() <= 8 * (len(KEYS) + 1)


def test_damaged_history_is_refused_and_stops_no_commit():
    chain = WrittenChain(MemoryStorage(), 4)
    for _ in range(6):
        chain.commit()
    for key, stored in chain.storage.records.items():
        if key[:1] in b"UD":
            chain.storage.records[key] = stored[:-1] + bytes((stored[-1] ^ 1,))
    past = chain.ledger.state_at(3)
    with pytest.raises(DamagedData):
        for key in KEYS:
            past.get(*key)
    chain.open(4)
    for _ in range(9):
        chain.commit()
    chain.check(lowest=chain.ledger.head.number - 4)


# --- as a client sees it ----------------------------------------------------------------------

RUNTIME = bytes.fromhex("36600e57600054600101600055005b600054600052436020524260405260606000f3")
"""Without data: adds 1 to slot 0. With data: returns slot 0, NUMBER and TIMESTAMP."""
INIT = bytes.fromhex(f"60{len(RUNTIME):02x}600c60003960{len(RUNTIME):02x}6000f3") + RUNTIME


async def ask(network, method, *params):
    body = json.dumps({"id": 1, "method": method, "params": params}).encode()
    answer = json.loads(await network.nodes["node0"].rpc.dispatcher.answer(body, {}))
    return answer.get("error") or answer["result"]


async def send(network, **fields):
    target = fields.pop("to")
    raw = signed(to=target and bytes.fromhex(target[2:]), **fields).raw
    return await ask(network, "eth_sendRawTransactionSync", "0x" + raw.hex(), 20_000)


def test_every_kind_of_read_at_every_block():
    text = set_values(read_network("pilot-2")[0], ["history_blocks=6"])

    async def main():
        plan = build_plan(parse_spec(text, Path("pilot-2.toml")))
        async with open_virtual(plan) as network:
            made = await send(network, to=None, data=INIT)
            address, first = made["contractAddress"], int(made["blockNumber"], 16)
            for nonce in range(1, 5):
                await send(network, to=address, nonce=nonce)
            for count, number in enumerate(range(first, first + 5)):
                block = await ask(network, "eth_getBlockByNumber", hex(number), False)
                ways = (hex(number), block["hash"], {"blockHash": block["hash"]})
                for way in ways:
                    read = await ask(network, "eth_call", {"to": address, "data": "0x01"}, way)
                    words = [int(read[2 + 64 * i : 66 + 64 * i], 16) for i in range(3)]
                    assert words == [count, number, int(block["timestamp"], 16)]
                    slot = await ask(network, "eth_getStorageAt", address, "0x0", way)
                    assert int(slot, 16) == count
                    sender = (kit.ACCOUNT.address, way)
                    assert await ask(network, "eth_getTransactionCount", *sender) == hex(count + 1)
                    assert await ask(network, "eth_getCode", address, way) == "0x" + RUNTIME.hex()
            before = hex(first - 1)
            assert await ask(network, "eth_getCode", address, before) == "0x"
            estimate = ({"to": address}, hex(first))
            assert int(await ask(network, "eth_estimateGas", *estimate), 16) > 40_000
            for nonce in range(5, 9):
                await send(network, to=address, nonce=nonce)
            return [
                await ask(network, *question, before)
                for question in (
                    ("eth_call", {"to": address}),
                    ("eth_estimateGas", {"to": address}),
                    ("eth_getBalance", address),
                    ("eth_getCode", address),
                    ("eth_getStorageAt", address, "0x0"),
                    ("eth_getTransactionCount", address),
                )
            ]

    for refused in run_virtual(0, main):
        assert refused["code"] == -32004
        wanted = "state of block 0 is not kept; this node has that of blocks 3 to 9 "
        assert refused["message"].startswith(wanted)
