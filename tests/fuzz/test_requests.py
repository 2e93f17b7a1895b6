"""Whatever a client sends, the answer is JSON with a code that says whose fault it is (N-R1, N-R2).

The tests put odd values in every place of valid parameters, for every method of the table. No
answer is an internal error, all are strict JSON, and the node keeps working.
"""

import json
import logging
from random import Random

from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan
from tests.fuzz.kit import ODD, change
from tests.unit.node_kit import CHAIN_ID

CHANGES = 60
"""Random changes for each method, besides every odd value in every place."""
ADDRESS = "0x" + "ab" * 20
HASH = "0x" + "cd" * 32
CALL = {"from": ADDRESS, "to": ADDRESS, "data": "0x1234", "gas": "0xffff", "value": "0x0"}
FILTER = {"fromBlock": "0x0", "toBlock": "latest", "address": ADDRESS, "topics": [HASH, [HASH]]}
BLOCK_PARAMETER = {"blockHash": HASH, "requireCanonical": True}
RIGHT = {
    "web3_sha3": ["0x12"],
    "eth_feeHistory": ["0x4", "latest", [10, 50]],
    "eth_getBalance": [ADDRESS, "latest"],
    "eth_getTransactionCount": [ADDRESS, BLOCK_PARAMETER],
    "eth_getCode": [ADDRESS, {"blockNumber": "0x0"}],
    "eth_getStorageAt": [ADDRESS, "0x0", "latest"],
    "eth_sendRawTransaction": ["0x02f8"],
    "eth_sendRawTransactionSync": ["0x02f8", 1],
    "eth_call": [CALL, "latest", {}],
    "eth_estimateGas": [CALL, "latest"],
    "eth_getTransactionByHash": [HASH],
    "eth_getTransactionReceipt": [HASH],
    "eth_getTransactionByBlockNumberAndIndex": ["0x0", "0x0"],
    "eth_getTransactionByBlockHashAndIndex": [HASH, "0x0"],
    "eth_getBlockByNumber": ["latest", True],
    "eth_getBlockByHash": [HASH, False],
    "eth_getBlockTransactionCountByNumber": ["latest"],
    "eth_getBlockTransactionCountByHash": [HASH],
    "eth_getBlockReceipts": ["latest"],
    "eth_getUncleCountByBlockNumber": ["latest"],
    "eth_getLogs": [FILTER],
    "getTransactionProof": ["group0", "", HASH],
    "eth_subscribe": ["logs", FILTER],
    "eth_unsubscribe": ["0x1"],
}
"""Valid parameters; a method that is not here takes none, or a group and a node's name."""
ODD_TEXTS = (
    "0x", "0X1", "0x_1", "0x 1", "0x-1", "-0x1", "0x+1", "0x1\n", "\u0661", "0x\u0661", "1", "-1",
    "0x" + "0" * 65, "0x" + "f" * 64, "0x" + "f" * 65, "0x" + "00" * 20, "0x" + "00" * 31,
    "0x" + "00" * 32, "0x" + "00" * 33, "0x" + "ef" * 50_000, "latest", "earliest", "\x00",
    "e" * 999,
)  # fmt: skip
ODD_VALUES = (
    *(item for item in ODD if item != "\ud800"), *ODD_TEXTS, -(2**63), 10**99, 1e308, -0.0, 5e-324,
    [None], [[None]], [[[]]], {"to": None}, {"data": "0x"}, {"blockHash": None},
    {"blockNumber": {}}, {"blockNumber": "0x"}, {"gas": "0x"}, {"value": "0x"}, {"gas": -1},
    {"topics": [[None]]}, {"topics": "0x"}, {"address": ["0x"]}, {"address": {}},
)  # fmt: skip


def requests_of(name, random):
    """Yield parameter lists that contain odd values."""
    right = RIGHT.get(name, ["group0", ""])
    yield from ([], right, right[:1], [*right, 1])
    for place in range(len(right)):
        for odd in ODD_VALUES:
            yield [*right[:place], odd, *right[place + 1 :]]
            if isinstance(right[place], dict):
                for key in right[place]:
                    yield [*right[:place], {**right[place], key: odd}, *right[place + 1 :]]
    for _ in range(CHANGES):
        changed = change(right, random, ODD_VALUES)
        yield changed if isinstance(changed, list) else [changed]


def refuse(text):
    raise AssertionError(f"{text} is no JSON")


def strictly(data):
    """Return the value of JSON text as a strict parser reads it."""
    value = json.loads(data.decode(), parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def test_no_parameter_is_an_internal_error(caplog):
    """N-R2: for every method, each odd value in each place."""

    async def main():
        async with open_virtual(load_plan("pilot-2")) as network:
            server = network.nodes["node0"].rpc
            session = server.methods.subscriptions.open_session(lambda notification: True)
            own = {"eth_subscribe": session.subscribe, "eth_unsubscribe": session.unsubscribe}
            counts = {}
            for name in [*server.methods.table, *own]:
                random = Random(name)
                for params in requests_of(name, random):
                    request = {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
                    body = json.dumps(request).encode()
                    answer = strictly(await server.dispatcher.answer(body, own))
                    code = answer.get("error", {}).get("code", 0)
                    assert code != -32603, (name, params, answer)
                    assert len(str(answer.get("error"))) < 1_000, (name, params)
                    counts[code] = counts.get(code, 0) + 1
                session.close()
            answer = await server.dispatcher.answer(b'{"id":1,"method":"eth_chainId"}')
            assert strictly(answer)["result"] == hex(CHAIN_ID)
            return counts

    with caplog.at_level(logging.ERROR, logger="RPC"):
        counts = run_virtual(0, main)
    assert not caplog.records
    assert counts[0] > 500 and counts[-32602] > 2_000


BODIES = (
    ('{"id":1e999,"method":"eth_chainId"}', -32700),
    ('{"id":-1e999,"method":"eth_chainId"}', -32700),
    ('{"id":NaN,"method":"eth_chainId"}', -32700),
    ('{"id":Infinity,"method":"eth_chainId"}', -32700),
    ('{"id":-Infinity,"method":"eth_chainId"}', -32700),
    ('{"id":1,"method":"eth_getBalance","params":[1e999]}', -32700),
    ('{"id":1,"method":"eth_feeHistory","params":["0x1","latest",[NaN]]}', -32700),
    ('[{"id":1e999,"method":"eth_chainId"}]', -32700),
    ('{"id":' + "9" * 5_000 + ',"method":"eth_chainId"}', -32700),
    ('{"id":' + "9" * 101 + ',"method":"eth_chainId"}', -32700),
    ('{"id":"\\ud800","method":"eth_chainId"}', -32700),
    ('{"id":1,"method":"\\udc00\\ud800"}', -32700),
    ('{"id":1,"method":"eth_call","params":[{"\\udfff":1}]}', -32700),
    ('{"id":true,"method":"eth_chainId"}', -32600),
    ('{"id":false,"method":"eth_chainId"}', -32600),
    ('{"id":[],"method":"eth_chainId"}', -32600),
    ('{"id":{},"method":"eth_chainId"}', -32600),
)
IDS = (
    None,
    0,
    -1,
    2**64,
    int("9" * 100),
    1.5,
    1e308,
    "",
    "1",
    "\u00e9",
    "\U0001f642",
    "a" * 10_000,
)


def ask(*bodies):
    async def main():
        async with open_virtual(load_plan("pilot-2")) as network:
            dispatcher = network.nodes["node0"].rpc.dispatcher
            return [strictly(await dispatcher.answer(body.encode())) for body in bodies]

    return run_virtual(0, main)


def test_what_no_json_has_is_neither_read_nor_echoed():
    """N-R1: an id of 1e999 once came back as Infinity."""
    answers = ask(*(body for body, _ in BODIES))
    assert [item["error"]["code"] for item in answers] == [code for _, code in BODIES]
    assert [item["id"] for item in answers] == [None] * len(BODIES)


def test_ids_come_back_as_they_were():
    """N-R1: every valid id is echoed unchanged."""
    answers = ask(*(json.dumps({"id": item, "method": "eth_chainId"}) for item in IDS))
    assert [item["id"] for item in answers] == list(IDS)
    assert {item["result"] for item in answers} == {hex(CHAIN_ID)}
    (emoji,) = ask('{"id":"\\ud83d\\ude42","method":"eth_chainId"}')
    assert emoji["id"] == "\U0001f642"
