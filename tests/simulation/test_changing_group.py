"""The group changes while it runs: whole nodes in virtual time, by the governor's transactions."""

import json
from itertools import groupby

import trio
from eth_account import Account

from lowu.contracts.abi import load_artifact
from lowu.contracts.group import ConsensusCode, consensus_function
from lowu.contracts.registry import (
    CONSENSUS_ADDRESS,
    GOVERNANCE_ADDRESS,
    SYSTEM_CONFIG_ADDRESS,
)
from lowu.contracts.system_config import BOUNDS, SystemKey, system_function
from lowu.institutions.ledger.governance import DECISION_GAS
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.plan import derive_key
from lowu.testing.networks import load_plan

WAIT_S = 20.0


class Member:
    """Sends the transactions of one account, and asks nodes."""

    def __init__(self, network, key):
        self.network = network
        self.account = Account.from_key(key)
        self.chain_id = network.plan.genesis.web3_chain_id
        self.nonce = None

    async def ask(self, node, method, *params):
        body = json.dumps({"id": 1, "method": method, "params": params}).encode()
        answer = json.loads(await self.network.nodes[node].rpc.dispatcher.answer(body, {}))
        assert "error" not in answer, answer
        return answer["result"]

    async def send(self, data, to=CONSENSUS_ADDRESS, node="node0"):
        """Have a call committed; return its receipt."""
        if self.nonce is None:  # block 0 was made with this account
            count = await self.ask(node, "eth_getTransactionCount", self.account.address)
            self.nonce = int(count, 16)
        raw = "0x" + self.sign(data, to).hex()
        receipt = await self.ask(node, "eth_sendRawTransactionSync", raw, 20_000)
        assert receipt["status"] == "0x1"
        return receipt

    def sign(self, data, to):
        signed = self.account.sign_transaction({
            "to": to, "data": data, "value": 0, "gas": 10**7, "gasPrice": 0,
            "nonce": self.nonce, "chainId": self.chain_id,
        })  # fmt: skip
        self.nonce += 1
        return bytes(signed.raw_transaction)


class Governor(Member):
    """Makes the governor's changes of the group."""

    def __init__(self, network):
        super().__init__(network, derive_key(network.plan.spec.settings.seed, "governor"))

    async def change(self, name, *arguments):
        """Make a change of the group; return its height."""
        data = consensus_function(name).encode_call(*arguments)
        message = {"from": self.account.address, "to": "0x" + CONSENSUS_ADDRESS.hex()}
        output = await self.ask("node0", "eth_call", {**message, "data": "0x" + data.hex()})
        (code,) = consensus_function(name).decode_output(bytes.fromhex(output[2:]))
        receipt = await self.send(data)
        return int(receipt["blockNumber"], 16), ConsensusCode(code)

    async def fill(self, count, node="node0"):
        for _ in range(count):
            await self.send(b"", to=b"\xee" * 20, node=node)

    async def level(self, *nodes):
        """Wait until nodes are at one height, and return it."""
        with trio.fail_after(WAIT_S):
            while True:
                heights = {self.network.nodes[node].ledger.head.number for node in nodes}
                if len(heights) == 1:
                    return heights.pop()
                await trio.sleep(0.05)

    def validators(self, node):
        return self.network.nodes[node].driver.replica.validators

    def signers(self, node, height):
        """The names of those whose signatures are on a block."""
        running = self.network.nodes[node]
        members = running.scheduler._membership.validators_at(height).validators
        names = {item.key.node_id: item.name for item in self.network.plan.nodes}
        signatures = running.ledger.certificate(height).signatures
        return {names[members[index].node_id] for index, _ in signatures}

    def leaders(self, node, count):
        """The names of those who have proposed the last blocks."""
        ledger = self.network.nodes[node].ledger
        names = {item.key.node_id: item.name for item in self.network.plan.nodes}
        headers = [ledger.header(ledger.head.number - back) for back in range(count)]
        return {names[item.sealer_list[item.sealer]] for item in headers}


def play(network, act):
    async def main():
        async with open_virtual(load_plan(network)) as running:
            return await act(Governor(running))

    return run_virtual(0, main)


def node_ids(governor):
    return {item.name: item.key.node_id.hex() for item in governor.network.plan.nodes}


def test_an_observer_becomes_a_validator_and_a_validator_an_observer():
    async def act(governor):
        ids, names = node_ids(governor), list(governor.network.nodes)
        plan = governor.network.plan
        observers = [item.name for item in plan.nodes if not item.spec.is_validator]
        voting = [item.name for item in plan.nodes if item.spec.is_validator]
        assert (len(voting), len(observers)) == (7, 2)
        await governor.fill(3)
        height, code = await governor.change("addSealer", ids[observers[0]], 1)
        assert code is ConsensusCode.DONE
        await governor.level(*names)
        for name in names:
            assert len(governor.validators(name)) == 8
        assert governor.network.nodes[observers[0]].driver.replica.phase == "normal"
        await governor.fill(16)
        head = await governor.level(*names)
        signed = [governor.signers("node1", at) for at in range(height + 1, head + 1)]
        assert any(observers[0] in item for item in signed), "the newcomer votes"
        sealers = {
            governor.network.nodes["node0"].ledger.header(at).sealer
            for at in range(height + 1, head + 1)
        }
        assert sealers == set(range(8)), "each has led"
        assert all(len(item) >= 6 for item in signed), "of eight, six are a quorum"
        # Now a validator steps back, and votes no more.
        leaving = voting[-1]
        height, code = await governor.change("addObserver", ids[leaving])
        assert code is ConsensusCode.DONE
        await governor.level(*names)
        assert governor.network.nodes[leaving].driver.replica.phase == "observing"
        await governor.fill(8)
        head = await governor.level(*names)
        for at in range(height + 1, head + 1):
            assert leaving not in governor.signers("node1", at)
        hashes = {governor.network.nodes[name].ledger.header(head).hash for name in names}
        assert len(hashes) == 1
        listed = await governor.ask("node3", "getSealerList", "group0", "")
        assert {item["nodeID"] for item in listed} == {
            ids[name] for name in (*voting[:-1], observers[0])
        }
        assert set(await governor.ask("node3", "getObserverList", "group0", "")) == {
            ids[leaving], ids[observers[1]],
        }  # fmt: skip

    play("seed-7", act)


def test_a_node_that_was_away_learns_who_decides_now():
    """It fetches the blocks of two groups, and checks each by the validators of its height."""

    async def act(governor):
        network, ids = governor.network, node_ids(governor)
        observer = next(item.name for item in network.plan.nodes if not item.spec.is_validator)
        await governor.fill(2)
        await network.stop("node6")
        first, _ = await governor.change("addSealer", ids[observer], 3)
        await governor.fill(3)
        second, _ = await governor.change("setWeight", ids[observer], 1)
        await governor.fill(3)
        await network.start("node6")
        await governor.level("node0", "node6")
        known = network.nodes["node6"].scheduler._membership
        epochs = [known.epoch_at(height) for height in (first, first + 1, second, second + 1)]
        assert epochs == [1, first + 1, first + 1, second + 1]
        assert network.nodes["node6"].driver.replica.epoch.first_height == second + 1
        await governor.fill(70)  # it is passed over for a while
        await governor.level(*network.nodes)
        assert "node6" in governor.leaders("node0", 16)

    play("seed-7", act)


def test_a_removed_node_is_left_alone_and_the_others_go_on():
    async def act(governor):
        network, ids = governor.network, node_ids(governor)
        await governor.fill(2)
        height, code = await governor.change("remove", ids["node6"])
        assert code is ConsensusCode.DONE
        rest = [name for name in network.nodes if name != "node6"]
        await governor.fill(6)
        await governor.level(*rest)
        await trio.sleep(10)
        for name in rest:
            assert network.plan.nodes[6].key.node_id not in network.nodes[name].gateway.connected
        before = network.nodes["node6"].ledger.head.number
        await governor.fill(3)
        assert before >= height, "it was told of its removal"
        assert network.nodes["node6"].ledger.head.number == before
        # It may come back, as a new node would.
        await governor.change("addObserverOf", 7, ids["node6"])
        await governor.level(*network.nodes)
        await governor.change("addSealer", ids["node6"], 1)
        await governor.fill(20)
        await governor.level(*network.nodes)
        assert "node6" in governor.leaders("node0", 16)

    play("seed-7", act)


def test_the_group_survives_a_stop_of_all():
    """Who decides is on every disk: the records of one start are the next one's."""

    async def act(governor):
        network, ids = governor.network, node_ids(governor)
        observer = next(item.name for item in network.plan.nodes if not item.spec.is_validator)
        await governor.change("addSealer", ids[observer], 1)
        await governor.fill(2)
        head = await governor.level(*network.nodes)
        names = list(network.nodes)
        for name in names:
            await network.stop(name)
        for name in names:
            await network.start(name)
        await governor.fill(10)
        assert await governor.level(*names) >= head + 10
        for name in names:
            assert len(governor.validators(name)) == 8

    play("seed-7", act)


def test_votes_of_both_sides_change_the_group_and_strangers_make_no_barriers():
    async def act(governor):
        network, ids = governor.network, node_ids(governor)
        keys = {item.spec.id: item.account_key for item in network.plan.institutions}
        observer = next(item.name for item in network.plan.nodes if not item.spec.is_validator)
        call = consensus_function("addSealer").encode_call(ids[observer], 1)
        propose = load_artifact("Governance").functions["propose"]
        vote = load_artifact("Governance").functions["vote"]
        chair = Member(network, keys["qianhai-ix"])
        await chair.send(propose.encode_call([(CONSENSUS_ADDRESS, call)], 100), GOVERNANCE_ADDRESS)
        for name in ("qianhai-ix", "webank", "hkstp"):
            member = chair if name == "qianhai-ix" else Member(network, keys[name])
            receipt = await member.send(vote.encode_call(1, True), GOVERNANCE_ADDRESS)
        await governor.level(*network.nodes)
        height = int(receipt["blockNumber"], 16)
        assert network.nodes["node0"].scheduler._membership.epoch_at(height + 1) == height + 1
        assert len(governor.validators("node3")) == 8
        stranger = Member(network, b"\x77" * 32)
        stranger.nonce = 0
        raw = "0x" + stranger.sign(vote.encode_call(1, True), GOVERNANCE_ADDRESS).hex()
        body = json.dumps({"id": 1, "method": "eth_sendRawTransaction", "params": [raw]})
        answer = json.loads(await network.nodes["node0"].rpc.dispatcher.answer(body.encode(), {}))
        assert "has no vote: it lacks the role GOVERNOR" in answer["error"]["message"]

    play("seed-7", act)


def set_value(governor, key, value, node="node0"):
    data = system_function("setValueByKey").encode_call(key, str(value))
    return governor.send(data, to=SYSTEM_CONFIG_ADDRESS, node=node)


def test_settings_hold_from_the_next_block_on_for_all():
    """Block size, turns of leaders and gas; for nodes that were away, or start again, too."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await network.stop("node3")
        await governor.fill(2)
        receipt = await set_value(governor, "tx_count_limit", 2)
        small = int(receipt["blockNumber"], 16)
        for _ in range(9):
            raw = "0x" + governor.sign(b"", b"\xee" * 20).hex()
            await governor.ask("node0", "eth_sendRawTransaction", raw)
        await governor.fill(1)
        head = await governor.level("node0", "node1", "node2")
        ledger = network.nodes["node1"].ledger
        sizes = [len(ledger.block(at).transactions) for at in range(small + 1, head + 1)]
        assert sum(sizes) == 10 and max(sizes) == 2
        receipt = await set_value(governor, "consensus_leader_period", 5)
        turns = int(receipt["blockNumber"], 16)
        await network.start("node3")
        await governor.fill(25)
        head = await governor.level(*names)
        ledger = network.nodes["node3"].ledger
        sealers = [ledger.header(at).sealer for at in range(turns + 1, head + 1)]
        runs = [len(list(group)) for _, group in groupby(sealers)]
        assert len(runs) > 3 and set(runs[1:-1]) == {5}, "a leader has five blocks"
        await set_value(governor, "tx_gas_limit", 3_000_000)
        signed = governor.sign(b"", b"\xee" * 20)  # 10 million: more than is allowed now
        governor.nonce -= 1
        body = {"id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + signed.hex()]}
        for name in names:
            rpc = network.nodes[name].rpc.dispatcher
            answer = json.loads(await rpc.answer(json.dumps(body).encode(), {}))
            assert "exceeds the chain's 3000000" in answer["error"]["message"]
        await network.stop("node2")
        await network.start("node2")
        for name in names:
            found = [
                await governor.ask(name, "getSystemConfigByKey", "group0", "", key)
                for key in ("tx_count_limit", "consensus_leader_period", "TX_GAS_LIMIT")
            ]
            assert [item["value"] for item in found] == ["2", "5", "3000000"]
            assert [item["blockNumber"] for item in found[:2]] == [small + 1, turns + 1]
        assert len({governor.validators(name) for name in names}) == 1

    play("dev-4", act)


def test_votes_are_allowed_enough_gas_to_undo_a_limit():
    async def act(governor):
        refused = system_function("setValueByKey").encode_call("tx_gas_limit", "2999999")
        message = {"from": governor.account.address, "to": "0x" + SYSTEM_CONFIG_ADDRESS.hex()}
        body = {
            "id": 1,
            "method": "eth_call",
            "params": [{**message, "data": "0x" + refused.hex()}],
        }
        rpc = governor.network.nodes["node0"].rpc.dispatcher
        answer = json.loads(await rpc.answer(json.dumps(body).encode(), {}))
        assert "MALFORMED" in answer["error"]["message"]
        assert BOUNDS[SystemKey.TX_GAS_LIMIT][0] >= DECISION_GAS

    play("dev-4", act)
