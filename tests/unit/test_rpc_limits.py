"""What clients send costs a node little, whatever it is."""

import json
from types import SimpleNamespace

import h11
import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from lowu.testing import load_plan
from node.rpc import websocket
from node.rpc.websocket import serve_websocket
from node.simulation.virtual_network import open_virtual
from node.simulation.virtual_time import run_virtual
from node.tap import Tap
from tests.unit.test_bounded_json import BOMBS


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


# --- WebSockets ---------------------------------------------------------------------------------


class Echo:
    """A dispatcher that gives back what it is asked."""

    async def answer(self, body, extra):
        return body


class Socket:
    """A client of a server in memory."""

    def __init__(self):
        self.stream, self.server_stream = trio.testing.memory_stream_pair()
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.is_over = False

    async def serve(self, task_status):
        """Take the connection over as the HTTP server does."""
        session = SimpleNamespace(subscribe=None, unsubscribe=None, close=lambda: None)
        methods = SimpleNamespace(subscriptions=SimpleNamespace(open_session=lambda push: session))
        http = h11.Connection(h11.SERVER)
        http.receive_data(self.connection.send(Request(host="node", target="/")))
        asked = http.next_event()
        http.next_event()
        task_status.started()
        await serve_websocket(self.server_stream, asked, http, Echo(), methods, Tap(None))
        self.is_over = True
        await self.server_stream.aclose()

    async def send(self, event):
        await self.stream.send_all(self.connection.send(event))

    async def receive(self):
        """Return the next event, None at the end."""
        while True:
            for event in self.connection.events():
                return event
            data = await self.stream.receive_some()
            if not data:
                return None
            self.connection.receive_data(data)


@pytest.fixture
async def socket(nursery):
    client = Socket()
    await nursery.start(client.serve)
    assert isinstance(await client.receive(), AcceptConnection)
    return client


async def test_a_message_in_pieces(socket, autojump_clock):
    for piece, is_last in (("a", False), ("", False), ("€", True)):
        await socket.send(TextMessage(data=piece, message_finished=is_last))
    assert (await socket.receive()).data == "a€"


async def test_pieces_without_end_are_refused(socket, monkeypatch, autojump_clock):
    monkeypatch.setattr(websocket, "MESSAGE_BYTES_MAX", 6_400)
    for _ in range(101):
        await socket.send(TextMessage(data="", message_finished=False))
    found = await socket.receive()
    assert isinstance(found, CloseConnection) and found.code == 1009


async def test_a_message_that_does_not_arrive_ends_it(socket, autojump_clock):
    await socket.send(TextMessage(data="a", message_finished=False))
    begun = trio.current_time()
    assert await socket.receive() is None
    assert trio.current_time() - begun == pytest.approx(websocket.ARRIVAL_S)


async def test_a_client_that_is_there_may_be_silent(socket, autojump_clock):
    for _ in range(3):
        found = await socket.receive()
        assert isinstance(found, Ping)
        await socket.send(found.response())
    assert trio.current_time() == pytest.approx(3 * websocket.IDLE_S)
    await socket.send(TextMessage(data="still here"))
    assert (await socket.receive()).data == "still here"


async def test_a_client_that_is_gone_is_let_go(socket, autojump_clock):
    assert isinstance(await socket.receive(), Ping)
    assert await socket.receive() is None
    assert trio.current_time() == pytest.approx(2 * websocket.IDLE_S) and socket.is_over
