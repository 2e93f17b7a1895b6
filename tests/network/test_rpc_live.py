"""A running node's RPC with bad clients, and its FISCO methods."""

import json
import socket
import time

from lowu.node.topology.supervisor_files import control_file
from tests.network.kit import post, rpc


def port_of(shared):
    return int(shared.url.rsplit(":", 1)[1])


def raw(shared, data, wait_for_close=True):
    with socket.create_connection(("127.0.0.1", port_of(shared)), timeout=30) as link:
        link.sendall(data)
        found = b""
        while chunk := link.recv(65536):
            found += chunk
            if not wait_for_close and b"\r\n\r\n" in found:
                break
        return found


def test_bad_http(shared):
    assert b"400" in raw(shared, b"\x00\x01nonsense\r\n\r\n").split(b"\r\n")[0]
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n"
    answer = raw(shared, head + bytes(11 * 1024 * 1024))
    assert b"413" in answer.split(b"\r\n")[0]
    get = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert b"405" in raw(shared, get).split(b"\r\n")[0]
    options = b"OPTIONS / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert b"204" in (answer := raw(shared, options)) and b"access-control" not in answer
    for head in (b"host: evil.example\r\n", b"host: localhost\r\norigin: null\r\n"):
        assert b"403" in raw(shared, b"POST / HTTP/1.1\r\n" + head + b"\r\n").split(b"\r\n")[0]


def test_a_stray_byte_after_an_upgrade_request(shared):
    """A bug that crashes hypercorn's trio server; here it costs only that connection."""
    upgrade = (
        b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port_of(shared)), timeout=10) as link:
        link.sendall(upgrade + b"\xff")
        link.shutdown(socket.SHUT_WR)
        while link.recv(4096):
            pass
    for hostile in (
        b"HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nupgrade: websocket\r\n\r\n",
        upgrade.replace(b"host: localhost", b"host: a\xff").replace(b"sec-websocket-key", b"x"),
    ):
        raw(shared, hostile)
    bad = upgrade.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short").replace(b"13", b"99")
    raw(shared, bad)
    assert rpc(shared.url, "web3_clientVersion")["result"].startswith("Lowu/")


def test_bad_json_and_limits(shared):
    assert post(shared.url, b"{")["error"]["code"] == -32700
    assert post(shared.url, b"[" * 100_000)["error"]["code"] == -32700
    assert post(shared.url, b"[]")["error"]["code"] == -32600
    assert post(shared.url, b"1")["error"]["code"] == -32600
    many = [{"jsonrpc": "2.0", "id": 1, "method": "net_version"}] * 1001
    assert post(shared.url, json.dumps(many).encode())["error"]["code"] == -32005
    assert rpc(shared.url, "eth_fillTransaction")["error"]["code"] == -32601
    assert rpc(shared.url, "__init__")["error"]["code"] == -32601
    assert rpc(shared.url, "_check_latest")["error"]["code"] == -32601
    mixed = [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": 2, "method": "nope", "params": None},
        {"jsonrpc": "2.0", "method": "eth_chainId"},
        7,
    ]
    answers = post(shared.url, json.dumps(mixed).encode())
    assert [a.get("id") for a in answers] == [1, 2, None]
    assert answers[0]["result"] == hex(shared.chain_id) and answers[1]["error"]["code"] == -32601


def test_no_body_takes_more_than_linear_time(shared):
    """Many escaped quotes once took quadratic time, on the event loop that consensus uses."""
    small, large = (b"[" * 65 + b'"' + b'\\"' * count for count in (50_000, 1_000_000))

    def seconds(body):
        start = time.perf_counter()
        assert post(shared.url, body)["error"]["code"] == -32700
        return time.perf_counter() - start

    seconds(small)
    assert seconds(large) < 200 * max(seconds(small), 0.001), "20 times the bytes"


def test_wrong_parameters_get_a_code_and_a_reason(shared):
    cases = [
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x12"]),
        ("eth_getBalance", [5, "latest"]),
        ("eth_getBalance", ["0x" + "00" * 20, "0xzz"]),
        ("eth_getBlockByNumber", ["latest", "yes"]),
        ("eth_getBlockByNumber", [{}, False]),
        ("eth_call", [5]),
        ("eth_call", [{"to": "0x" + "00" * 20, "data": "0x1"}]),
        ("eth_getLogs", [{"topics": [1]}]),
        ("eth_getLogs", [{"fromBlock": "0x2", "toBlock": "0x1"}]),
        ("eth_sendRawTransaction", ["0x"]),
        ("eth_sendRawTransaction", ["0xc0"]),
        ("eth_sendRawTransaction", ["0x03" + "00" * 40]),
        ("eth_sendRawTransaction", [None]),
        ("eth_feeHistory", ["0x1"]),
        ("getBlockNumber", ["group7"]),
    ]
    for method, params in cases:
        error = rpc(shared.url, method, *params)["error"]
        assert error["code"] < 0 and error["code"] != -32603, (method, params, error)
        assert len(error["message"]) > 10


def test_an_endless_call_is_stopped(shared):
    loop = "0x5b600056"  # JUMPDEST PUSH1 0 JUMP
    answer = rpc(shared.url, "eth_call", {"data": loop, "gas": "0xf4240"})
    assert answer["error"]["code"] == -32000 and "out_of_gas" in answer["error"]["message"]


def test_fisco_methods(shared):
    ports = [node["rpc_port"] for node in shared.nodes]
    url = f"http://127.0.0.1:{ports[0]}"
    assert rpc(url, "getBlockNumber", "group0", "")["result"] >= 1
    total = rpc(url, "getTotalTransactionCount", "group0", "")["result"]
    assert total["transactionCount"] >= 1 and total["failedTransactionCount"] == 0
    sealers = rpc(url, "getSealerList", "group0", "")["result"]
    assert len(sealers) == 4 and all(len(item["nodeID"]) == 128 for item in sealers)
    assert rpc(url, "getObserverList", "group0", "")["result"] == []
    assert rpc(url, "getPbftView", "group0", "")["result"] >= 0
    assert rpc(url, "getPendingTxSize", "group0", "")["result"] == 0
    assert rpc(url, "getGroupList")["result"]["groupList"] == ["group0"]
    assert len(rpc(url, "getPeers")["result"]["peers"]) == 3
    status = json.loads(rpc(url, "getConsensusStatus", "group0", "")["result"])
    assert status["minRequiredQuorum"] == 3 and len(status["consensusNodeList"]) == 4
    sync = json.loads(rpc(url, "getSyncStatus", "group0", "")["result"])
    assert sync["isSyncing"] is False and len(sync["peers"]) == 3


def test_no_words_at_its_port_end_the_supervisor(shared):
    """N-F14: brackets were parsed before the token was checked; Python 3.12 raises on them."""
    port = json.loads(control_file(shared.directory).read_text())["port"]
    for words in (b"[" * 60_000, b"[" * 10_000 + b"]" * 10_000, b'{"token":1e999}', b"\xff", b"7"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(words + b"\n")
            assert b'"ok": true' not in link.recv(4096)
    assert len(shared.status()) == 4
