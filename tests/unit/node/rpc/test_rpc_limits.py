"""What clients send costs a node little, whatever it is."""

import json
from types import SimpleNamespace

import trio

from lowu.node.rpc.call_runner import InlineRunner
from lowu.node.rpc.dispatch import BATCH_S, REQUEST_S, Dispatcher
from lowu.node.rpc.methods import Method
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan
from tests.unit.node.test_bounded_json import BOMBS


def ask(*bodies):
    """Send bodies to a node; return its answers, as bytes."""

    async def main():
        async with open_virtual(load_plan("pilot-2")) as network:
            dispatcher = network.nodes["node0"].rpc.dispatcher
            return [await dispatcher.answer(body) for body in bodies]

    return run_virtual(0, main)


def request(method, *params):
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def test_a_node_outlives_requests_that_no_parser_would():
    answers = ask(*BOMBS.values(), b"[" + b"[]," * 300_000 + b"1]")
    assert {json.loads(item)["error"]["code"] for item in answers} == {-32700}


def test_an_answer_is_no_multiple_of_what_was_sent():
    body = request("eth_feeHistory", "0x400", "0xffffffff", [50] * 100)
    (right, *wrong) = ask(
        body,
        request("eth_feeHistory", "0x400", "latest", [50] * 101),
        request("eth_feeHistory", "0x400", "latest", 5),
        request("eth_feeHistory", "0x400", "latest", {"a": 1}),
    )
    found = json.loads(right)["result"]
    assert len(found["reward"]) == 1 and len(found["reward"][0]) == 100
    assert {json.loads(item)["error"]["code"] for item in wrong} == {-32602}


async def test_answers_of_a_batch_are_encoded_one_at_a_time():
    """Of a whole batch they took half a second, in which the node did nothing else."""
    turns = []

    async def count_turns():
        while True:
            turns.append(None)
            await trio.lowlevel.checkpoint()

    async def tell():
        turns.clear()  # so that only those count after the last request
        return ["0x0"] * 100

    methods = SimpleNamespace(table={"tell": Method(tell, 0, 0, True)})
    body = json.dumps([{"id": number, "method": "tell"} for number in range(64)]).encode()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        answers = json.loads(await Dispatcher(methods, InlineRunner()).answer(body))
        nursery.cancel_scope.cancel()
    assert len(answers) == 64 and len(turns) > 60


async def test_a_batch_that_waits_ends(autojump_clock):
    """N-R7: each of its requests may wait for half a minute, and there may be a thousand."""

    async def wait():
        await trio.sleep(REQUEST_S - 1)
        return "done"

    methods = SimpleNamespace(table={"wait": Method(wait, 0, 0, True)})
    batch = [{"id": number, "method": "wait"} for number in range(999)] + [{"method": "wait"}]
    body = json.dumps(batch).encode()
    answers = json.loads(await Dispatcher(methods, InlineRunner()).answer(body))
    assert trio.current_time() < BATCH_S + REQUEST_S
    assert [item["id"] for item in answers] == list(range(999))
    assert [item.get("result") for item in answers[:3]] == ["done"] * 3
    assert {item["error"]["code"] for item in answers[3:]} == {-32005}
