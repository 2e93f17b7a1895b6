"""What a node's reads and subscriptions take, refuse and answer."""

import json

from lowu.node.chain.receipt import compute_bloom
from lowu.node.rpc import subscriptions
from lowu.node.rpc.subscriptions import SUBSCRIPTIONS_MAX
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan
from tests.unit import node_kit as kit

LOG = bytes.fromhex("602a60205fa100")
"""Creation code that logs 32 zero bytes under the topic 0x2a."""
TOPIC = "0x" + (0x2A).to_bytes(32, "big").hex()


class Asked:
    """A node of a running network with a block that has a log, and what is asked of it."""

    def __init__(self, network):
        self.server = network.nodes["node0"].rpc
        self.pushed = []
        self.session = self.open()

    def open(self):
        return self.server.methods.subscriptions.open_session(self.push)

    def push(self, notification):
        self.pushed.append(notification["params"])
        return True

    async def ask(self, method, *params):
        """Return a result, or the error's code."""
        body = json.dumps({"id": 1, "method": method, "params": params}).encode()
        own = {"eth_subscribe": self.session.subscribe, "eth_unsubscribe": self.session.unsubscribe}
        answer = json.loads(await self.server.dispatcher.answer(body, own))
        return answer["error"]["code"] if "error" in answer else answer["result"]

    async def send(self, nonce):
        """Have a transaction that logs committed; return its receipt."""
        tx = kit.signed(to=None, data=LOG, nonce=nonce)
        return await self.ask("eth_sendRawTransactionSync", "0x" + tx.raw.hex(), 20_000)

    def results(self, key):
        return [item["result"] for item in self.pushed if item["subscription"] == key]


def play(act):
    async def main():
        async with open_virtual(load_plan("pilot-2")) as network:
            asked = Asked(network)
            return await act(asked)

    return run_virtual(0, main)


def test_ranges_of_logs():
    """N-R8: past the head was an empty list, and blockHash was taken beside a range."""

    async def act(asked):
        receipt = await asked.send(0)
        height, block_hash = receipt["blockNumber"], receipt["blockHash"]
        past = hex(int(height, 16) + 1)
        wrong = (
            {"fromBlock": past},
            {"fromBlock": past, "toBlock": "0xffffffffff"},
            {"blockHash": block_hash, "fromBlock": "0x0"},
            {"blockHash": block_hash, "toBlock": "latest"},
            {"fromBlock": height, "toBlock": "0x0"},
            {"fromBlock": ""},
            {"fromBlock": 0},
        )
        assert [await asked.ask("eth_getLogs", item) for item in wrong] == [-32602] * len(wrong)
        right = (
            {"blockHash": block_hash},
            {"fromBlock": "0x0", "toBlock": past},
            {"fromBlock": None, "blockHash": block_hash},
            {"topics": [[TOPIC]]},
            {"topics": [[None]]},
            {"topics": [[TOPIC[:-2] + "00", None]]},
            {"topics": [None]},
            {"topics": [[]]},
        )
        return [await asked.ask("eth_getLogs", item) for item in right], receipt["logs"]

    found, logs = play(act)
    assert len(logs) == 1 and found == [logs] * len(found)


def test_the_bytes_of_logs_are_bounded(monkeypatch):
    """N-R8: ten thousand logs may be of a megabyte each."""

    async def act(asked):
        monkeypatch.setattr("lowu.node.rpc.eth.filters.LOG_BYTES_MAX", 100)
        found = []
        for nonce in range(4):
            await asked.send(nonce)
            found.append(await asked.ask("eth_getLogs", {"fromBlock": "0x0"}))
        return found

    *right, wrong = play(act)
    assert [len(item) for item in right] == [1, 2, 3] and wrong == -32005


def test_percentiles():
    """N-R8: whatever was in the list was taken."""

    async def act(asked):
        wrong = (
            [200],
            ["a"],
            [-1],
            [200, "a", -1],
            [50, 10],
            [True],
            [None],
            [[1]],
            [1e308],
            [101],
        )
        right = (None, [], [0, 100], [0.5, 0.5, 99.9])
        codes = [await asked.ask("eth_feeHistory", "0x1", "latest", item) for item in wrong]
        found = [await asked.ask("eth_feeHistory", "0x1", "latest", item) for item in right]
        return codes, found, await asked.ask("eth_feeHistory", -1, "latest")

    codes, found, negative = play(act)
    assert set(codes) == {-32602} and negative == -32602
    assert [len(item["reward"][0]) for item in found] == [0, 0, 2, 3]


def test_a_block_by_its_hash_alone():
    """N-R4: web3.py, ethers and viem send a hash where a number or a tag may stand."""

    async def act(asked):
        receipt = await asked.send(0)
        account = kit.ACCOUNT.address
        for tag in (receipt["blockHash"], {"blockHash": receipt["blockHash"]}):
            assert await asked.ask("eth_getBlockReceipts", tag) == [receipt]
            assert await asked.ask("eth_getTransactionCount", account, tag) == "0x1"
            assert await asked.ask("eth_getBalance", account, tag) == "0x0"
            assert await asked.ask("eth_call", {"to": account}, tag) == "0x"
        unknown = "0x" + "12" * 32
        assert await asked.ask("eth_getBlockReceipts", unknown) is None
        assert await asked.ask("eth_getBalance", account, unknown) == -32001
        assert await asked.ask("eth_getBalance", account, unknown[:-1]) == -32001
        before = (await asked.ask("eth_getBlockByNumber", "0x0", False))["hash"]
        assert await asked.ask("eth_getTransactionCount", account, before) == "0x0"
        assert await asked.ask("eth_getBalance", account, "0x" + "0" * 63 + "z") == -32602

    play(act)


def test_subscriptions():
    """N-R13 and N-R5: pending transactions and heads with their bloom; unknown ones are refused."""

    async def act(asked):
        heads = await asked.ask("eth_subscribe", "newHeads")
        hashes = await asked.ask("eth_subscribe", "newPendingTransactions")
        whole = await asked.ask("eth_subscribe", "newPendingTransactions", True)
        logs = await asked.ask("eth_subscribe", "logs", {"topics": [TOPIC]})
        others = await asked.ask("eth_subscribe", "logs", {"topics": [TOPIC[:-2] + "00"]})
        syncing = await asked.ask("eth_subscribe", "syncing")
        receipt = await asked.send(0)
        assert asked.results(hashes) == [receipt["transactionHash"]]
        (pending,) = asked.results(whole)
        assert pending["hash"] == receipt["transactionHash"] and pending["blockHash"] is None
        head = asked.results(heads)[-1]
        block = await asked.ask("eth_getBlockByNumber", receipt["blockNumber"], False)
        assert head == {name: block[name] for name in head}
        assert head["logsBloom"] == receipt["logsBloom"] != "0x" + compute_bloom(()).hex()
        assert asked.results(logs) == receipt["logs"] and not asked.results(others)
        assert not asked.results(syncing)
        for key in (heads, hashes, whole, logs):
            assert await asked.ask("eth_unsubscribe", key) is True
        before = len(asked.pushed)
        await asked.send(1)
        assert len(asked.pushed) == before
        wrong = (
            [],
            ["weather"],
            ["newHeads", {}],
            ["logs", []],
            ["newPendingTransactions", 1],
            [5],
        )
        for params in wrong:
            assert await asked.ask("eth_subscribe", *params) == -32602

    play(act)


def test_syncing_is_told_when_it_changes(monkeypatch):
    """N-R13: once when it begins, and once when it ends."""

    async def act(asked):
        key = await asked.ask("eth_subscribe", "syncing")
        shown_status = asked.session._owner.status
        status = {"startingBlock": "0x0", "currentBlock": "0x1", "highestBlock": "0x9"}
        for nonce, shown in enumerate((status, status, None, None)):
            monkeypatch.setattr(shown_status, "sync_progress", lambda shown=shown: shown)
            await asked.send(nonce)
        return asked.results(key), status

    found, status = play(act)
    assert found == [{"syncing": True, "status": status}, False]


def test_subscriptions_are_bounded(monkeypatch):
    """N-R13: for each connection, and in sum; who goes gives its place back."""
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_ALL_MAX", 2 * SUBSCRIPTIONS_MAX)

    async def act(asked):
        async def fill():
            found = 0
            while await asked.ask("eth_subscribe", "newHeads") != -32005:
                found += 1
            return found

        first = asked.session
        counts = [await fill()]
        asked.session = asked.open()
        counts.append(await fill())
        asked.session = asked.open()
        counts.append(await fill())
        first.close()
        first.close()
        counts.append(await fill())
        await asked.ask("eth_unsubscribe", "0x1")
        await asked.ask("eth_unsubscribe", "0x1")
        counts.append(await fill())
        return counts

    assert play(act) == [SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX, 0, SUBSCRIPTIONS_MAX, 1]


def test_who_does_not_read_costs_no_more():
    """N-R13: once its notifications do not fit in, none is made for it."""

    async def act(asked):
        for _ in range(SUBSCRIPTIONS_MAX):
            await asked.ask("eth_subscribe", "logs", {})
        pushed = []

        def refuse(notification):
            pushed.append(notification)
            return len(pushed) < 10

        asked.session._push = refuse
        await asked.send(0)
        return len(pushed)

    assert play(act) == 10
