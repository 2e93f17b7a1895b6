"""WebSockets: requests side by side, pings at once, and bounds on all that a client may leave."""

import json
from types import SimpleNamespace

import h11
import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from lowu.node.rpc.http import websocket
from lowu.node.rpc.http.room import Room
from lowu.node.rpc.http.websocket import IN_FLIGHT_MAX, WAITING_MAX, serve_websocket
from lowu.node.traffic_tap import Tap


class Node:
    """A dispatcher that gives back what it is asked, after as many seconds as the text says."""

    def __init__(self):
        self.begun, self.ended, self.in_flight, self.most = 0, 0, 0, 0

    async def answer(self, body, extra, client):
        self.begun += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await trio.sleep(float(body[4:]) if body.startswith(b"wait") else 0)
            return bytes(int(body[4:])) if body.startswith(b"size") else body
        finally:
            self.in_flight -= 1
            self.ended += 1


class Socket:
    """A client of a server in memory."""

    def __init__(self, pair=trio.testing.memory_stream_pair):
        self.stream, self.server_stream = pair()
        self.node, self.room, self.push = Node(), Room(), None
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.is_over = False

    async def serve(self, task_status):
        """Take the connection over as the HTTP server does."""
        session = SimpleNamespace(subscribe=None, unsubscribe=None, close=lambda: None)

        def open_session(push):
            self.push = push
            return session

        methods = SimpleNamespace(subscriptions=SimpleNamespace(open_session=open_session))
        http = h11.Connection(h11.SERVER)
        http.receive_data(self.connection.send(Request(host="node", target="/")))
        asked = http.next_event()
        http.next_event()
        task_status.started()
        with self.room.guest() as self.guest:
            await serve_websocket(
                self.server_stream, asked, http, self.guest, self.node, methods, Tap(None)
            )
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


# --- side by side -------------------------------------------------------------------------------


async def test_a_request_that_waits_holds_up_nothing(socket, autojump_clock):
    """N-R7: neither a pong nor an answer came before it was over."""
    await socket.send(TextMessage(data="wait10"))
    await socket.send(TextMessage(data="quick"))
    await socket.send(Ping(payload=b"?"))
    found = [await socket.receive(), await socket.receive()]
    assert trio.current_time() == 0
    assert {type(item) for item in found} == {Pong, TextMessage}
    assert [item.data for item in found if isinstance(item, TextMessage)] == ["quick"]
    assert (await socket.receive()).data == "wait10" and trio.current_time() == 10


async def test_only_so_many_requests_are_answered_at_once(socket, autojump_clock):
    """N-R7: the others wait for their turn, and pings still do not."""
    for number in range(40):
        await socket.send(TextMessage(data=f"wait10.{number}"))
    await socket.send(Ping())
    assert isinstance(await socket.receive(), Pong) and trio.current_time() == 0
    answers = [(await socket.receive()).data for _ in range(40)]
    assert sorted(answers) == sorted(f"wait10.{number}" for number in range(40))
    assert socket.node.most == IN_FLIGHT_MAX
    assert socket.guest.held == 0


async def test_what_does_not_fit_in_is_not_read(socket, autojump_clock):
    """N-R7: memory of requests is bounded, and none is lost."""
    count = 3 * (IN_FLIGHT_MAX + WAITING_MAX)
    for _ in range(count):
        await socket.send(TextMessage(data="wait1"))
    await trio.testing.wait_all_tasks_blocked()
    assert socket.guest.held == (IN_FLIGHT_MAX + WAITING_MAX + 1) * len("wait1")
    for _ in range(count):
        assert (await socket.receive()).data == "wait1"
    assert socket.node.most == IN_FLIGHT_MAX and socket.guest.held == 0


async def test_large_requests_wait_unread(socket, monkeypatch, autojump_clock):
    """N-R7: whatever their number, those that wait are no larger than one may be."""
    monkeypatch.setattr(websocket, "MESSAGE_BYTES_MAX", 10_000)
    for _ in range(100):
        await socket.send(TextMessage(data="wait1." + "0" * 4_000))
    await trio.testing.wait_all_tasks_blocked()
    assert socket.node.in_flight == IN_FLIGHT_MAX
    assert socket.guest.held < (IN_FLIGHT_MAX + 4) * 4_100
    for _ in range(100):
        assert (await socket.receive()).data.startswith("wait1.0")


async def test_a_client_that_goes_takes_its_requests_along(socket, autojump_clock):
    """N-R7: nothing works or waits for who is gone."""
    for _ in range(40):
        await socket.send(TextMessage(data="wait1000"))
    await trio.testing.wait_all_tasks_blocked()
    assert socket.node.in_flight == IN_FLIGHT_MAX
    await socket.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert socket.is_over and trio.current_time() == 0
    assert socket.node.in_flight == 0 and socket.node.begun == IN_FLIGHT_MAX


async def test_answers_that_nobody_reads_are_few_and_end_the_connection(nursery, autojump_clock):
    """N-R7: a slow reader holds the answers of what is in flight, and for a minute only."""
    client = Socket(trio.testing.lockstep_stream_pair)
    async with trio.open_nursery() as inner:
        nursery.start_soon(inner.start, client.serve)
        accepted = await client.receive()
        assert isinstance(accepted, AcceptConnection)
        for _ in range(100):
            await client.send(TextMessage(data="size100000"))
        await trio.testing.wait_all_tasks_blocked()
        assert client.guest.held < (IN_FLIGHT_MAX + 2) * 100_000
        assert client.node.ended == IN_FLIGHT_MAX
    assert client.is_over and trio.current_time() == pytest.approx(websocket.SEND_S)


async def test_an_answer_without_room_ends_the_connection(socket, autojump_clock):
    """N-R7: answers count with all that the node holds for its clients."""
    socket.room._bytes_max = 10_000
    await socket.send(TextMessage(data="size9000"))
    assert len((await socket.receive()).data) == 9_000
    await socket.send(TextMessage(data="size11000"))
    found = await socket.receive()
    assert isinstance(found, CloseConnection) and found.code == 1013


async def test_notifications_keep_their_order(socket, autojump_clock):
    """N-R7: among answers that come as they come."""
    for number in range(50):
        socket.push({"n": number})
        await socket.send(TextMessage(data=f"wait0.{number % 7}"))
    found = [(await socket.receive()).data for _ in range(100)]
    pushed = [json.loads(item)["n"] for item in found if item.startswith("{")]
    assert pushed == list(range(50)) and socket.guest.held == 0


async def test_notifications_that_nobody_reads_end_the_connection(socket, monkeypatch):
    """N-R7: bounded in number and in bytes."""
    monkeypatch.setattr(websocket, "PUSHED_BYTES_MAX", 10_000)
    for _ in range(5):
        socket.push({"data": "a" * 3_000})
    with trio.fail_after(5):
        while await socket.receive() is not None:
            pass
    await trio.testing.wait_all_tasks_blocked()
    assert socket.is_over


# --- frames of bytes ----------------------------------------------------------------------------


async def test_bytes_are_answered_as_text_is(socket, autojump_clock):
    """N-R11: web3.py 8 sends every request as bytes; it was closed with 1003."""
    await socket.send(BytesMessage(data='"€"'.encode()))
    found = await socket.receive()
    assert isinstance(found, TextMessage) and found.data == '"€"'
    for piece, is_last in ((b"\xe2", False), (b"", False), (b"\x82\xac", True)):
        await socket.send(BytesMessage(data=piece, message_finished=is_last))
    assert (await socket.receive()).data == "€"


async def test_bytes_are_bounded_as_text_is(socket, monkeypatch, autojump_clock):
    """N-R11: in size, in pieces and in time."""
    monkeypatch.setattr(websocket, "MESSAGE_BYTES_MAX", 6_400)
    await socket.send(BytesMessage(data=b"\xff", message_finished=False))
    for _ in range(100):
        await socket.send(BytesMessage(data=b"", message_finished=False))
    found = await socket.receive()
    assert isinstance(found, CloseConnection) and found.code == 1009
