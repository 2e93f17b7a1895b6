"""Large and slow connections hold a bounded sum of a node's memory (N-R7)."""

import pytest
import trio
import trio.testing

from lowu.node.rpc.http import server as rpc_server
from lowu.node.rpc.http.room import Room
from tests.unit.node.rpc.test_rpc_access import ask, post, serve, status_of

LARGE = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60000\r\n\r\n"


class Node:
    """A dispatcher that waits, or answers with many bytes, if the body says so."""

    def __init__(self):
        self.in_flight = self.most = 0

    async def answer(self, body, extra=None, client=None):
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await trio.sleep(1_000 if body == b"wait" else 0)
            return bytes(int(body[4:])) if body.startswith(b"size") else body
        finally:
            self.in_flight -= 1


@pytest.fixture
def server():
    found = serve()
    found.dispatcher = Node()
    return found


async def connect(nursery, server, data=b"", pair=trio.testing.memory_stream_pair):
    """Open a connection and send something; return the client's end."""
    near, far = pair()
    nursery.start_soon(server.serve, far)
    if data:
        await near.send_all(data)
    await trio.testing.wait_all_tasks_blocked()
    return near


async def is_closed(stream):
    """Whether the server has closed a connection on which it had nothing to say."""
    with trio.move_on_after(0.001):
        return await stream.receive_some() == b""
    return False


async def test_the_largest_yields_its_memory():
    room = Room(bytes_max=100)
    with room.guest() as first, room.guest() as second, room.guest() as third:
        assert first.hold(60) and second.hold(30) and not third.hold(101)
        assert third.hold(20) and first.scope.cancel_called and not second.scope.cancel_called
        assert not second.hold(60), "it would be the largest itself"
        second.release(30)
        assert third.hold(80) and not third.hold(1) and not first.hold(0)
        third.release(100)
        assert second.hold(100)


async def test_requests_that_arrive_slowly_hold_a_bounded_sum(server, nursery, autojump_clock):
    """A thousand bodies of ten megabytes that never end were ten gigabytes."""
    server.room = Room(bytes_max=200_000)
    slow = [await connect(nursery, server, LARGE + bytes(50_000)) for _ in range(4)]
    small = b"POST / HTTP/1.1\r\nhost: localhost\r\nte: x\r\ncontent-length: 4\r\n\r\nsize"
    assert status_of(await ask(small.replace(b"size", b"abcd"), server)) == 200
    assert [await is_closed(item) for item in slow].count(True) == 1
    larger = LARGE + bytes(59_999)
    assert status_of(await ask(larger, server)) == 503
    assert [await is_closed(item) for item in slow].count(True) == 1
    assert status_of(await ask(small.replace(b"size", b"abcd"), server)) == 200


async def test_answers_that_are_not_read_hold_a_bounded_sum(server, nursery, autojump_clock):
    """N-R7: one that reads slowly holds its answer for a minute; all together hold so much."""
    server.room = Room(bytes_max=400_000)
    asked = post("host: localhost", body=b"size150000")
    pair = trio.testing.lockstep_stream_pair
    slow = []
    for _ in range(2):
        near, far = pair()
        nursery.start_soon(server.serve, far)
        await near.send_all(asked)
        slow.append(near)
    await trio.testing.wait_all_tasks_blocked()
    found = await ask(post("host: localhost", body=b"size300000"), server)
    assert b"no room for so large an answer" in found and status_of(found) == 200
    assert len(await ask(post("host: localhost", body=b"size90000"), server)) > 90_000
    await trio.sleep(rpc_server.SEND_S + 1)
    assert len(await ask(post("host: localhost", body=b"size300000"), server)) > 300_000


async def test_requests_in_one_piece_are_answered_one_by_one(server, autojump_clock):
    """Pipelined requests: in order, and never two at once."""
    many = b"".join(post("host: localhost", body=b"%d" % number) for number in range(500))
    found = await ask(many + post("host: localhost", "te: x", body=b"end"), server)
    bodies = [item.split(b"\r\n\r\n")[1] for item in found.split(b"HTTP/1.1 200")[1:]]
    assert [item.strip() for item in bodies] == [*(b"%d" % number for number in range(500)), b"end"]
    assert server.dispatcher.most == 1
