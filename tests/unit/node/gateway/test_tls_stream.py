"""TLS over real sockets: what goes through, what is refused, what breaks."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from lowu.node.gateway.framing import FrameKind, encode_frame
from lowu.node.gateway.peer import Peer
from lowu.node.gateway.tls import build_contexts, read_node_id
from lowu.node.gateway.tls_stream import TlsStream
from lowu.node.topology.node_certificates import (
    issue_agency_ca,
    issue_consortium_ca,
    issue_node_certificate,
)

NODES = (b"\x01" * 64, b"\x02" * 64)
MEGABYTE = bytes(range(256)) * 4096


def write_identity(folder, agency, root, node_id):
    issued = issue_node_certificate(agency, node_id, "node")
    folder.mkdir()
    (folder / "ca.crt").write_bytes(root.certificate_pem)
    (folder / "ssl.crt").write_bytes(issued.certificate_pem + agency.certificate_pem)
    (folder / "ssl.key").write_bytes(issued.key_pem)
    return build_contexts(folder)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Of two members of one consortium, and of a stranger."""
    base = tmp_path_factory.mktemp("tls")
    root, other = issue_consortium_ca("one"), issue_consortium_ca("two")
    agency, stranger = issue_agency_ca(root, "a"), issue_agency_ca(other, "b")
    return (
        write_identity(base / "0", agency, root, NODES[0]),
        write_identity(base / "1", agency, root, NODES[1]),
        write_identity(base / "2", stranger, other, NODES[1]),
    )


@asynccontextmanager
async def linked(server, client):
    """Both ends of one connection; an end is None if its handshake failed."""
    ends = {}

    async def negotiate(stream, context, *, is_server):
        try:
            ends[is_server] = await TlsStream.negotiate(stream, context, is_server=is_server)
        except trio.BrokenResourceError:
            ends[is_server] = None

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        far = await listener.accept()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: negotiate(far, server[0], is_server=True))
            nursery.start_soon(lambda: negotiate(near, client[1], is_server=False))
        yield ends[True], ends[False]
        for end in ends.values():
            if end is not None:
                await end.aclose()


async def receive_exactly(stream, count):
    found = bytearray()
    while len(found) < count:
        data = await stream.receive_some()
        assert data
        found += data
    return bytes(found)


async def test_both_sides_know_each_other(contexts):
    async with linked(*contexts[:2]) as (server, client):
        assert read_node_id(server.get_certificate()) == NODES[1]
        assert read_node_id(client.get_certificate()) == NODES[0]


async def test_a_stranger_gets_no_byte_through(contexts):
    async with linked(contexts[0], contexts[2]) as (server, client):
        assert server is None and client is None


async def test_much_goes_through_in_both_directions(contexts):
    async with linked(*contexts[:2]) as (server, client), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, MEGABYTE)
        nursery.start_soon(client.send_all, MEGABYTE)
        assert await receive_exactly(client, len(MEGABYTE)) == MEGABYTE
        assert await receive_exactly(server, len(MEGABYTE)) == MEGABYTE


async def test_send_now_stops_at_a_full_socket(contexts):
    async with linked(*contexts[:2]) as (server, client):
        record, sent = MEGABYTE[:16_384], 0
        while (count := server.send_now(record)) == len(record):
            sent += count
        assert count == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, record)  # the rest comes next
            found = await receive_exactly(client, sent + len(record))
        assert found == record * (sent // len(record) + 1)


async def test_the_end_of_the_other_side_is_the_end(contexts):
    async with linked(*contexts[:2]) as (server, client):
        await client.aclose()
        with trio.fail_after(5):
            assert await server.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            client.send_now(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()


async def test_who_waits_learns_of_its_own_close(contexts):
    async with linked(*contexts[:2]) as (server, _), trio.open_nursery() as nursery:

        async def wait():
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()


async def test_what_is_no_tls_is_a_broken_connection(contexts):
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    far = await listener.accept()
    async with listener, near:
        await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await TlsStream.negotiate(far, contexts[0][0], is_server=True)


async def test_frames_keep_their_order_when_the_socket_is_full(contexts):
    """Some leave at once, some by the writer; none overtakes another of its class."""
    count, size = 400, 8_000
    async with linked(*contexts[:2]) as (server, client):
        sender, receiver = Peer(server, b"a", is_dialer=True), Peer(client, b"b", is_dialer=False)
        found = []

        async def take(source, frame):
            found.append(frame.payload)
            if len(found) == count:
                sender.close()
                receiver.close()

        async def ignore(source, frame):
            raise AssertionError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run, ignore)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(count):
                sender.send(FrameKind.CONSENSUS, number.to_bytes(size, "big"))
            assert any(sender._queues), "nothing was left for the writer"
            nursery.start_soon(receiver.run, take)
    payloads = (encode_frame(FrameKind.CONSENSUS, n.to_bytes(size, "big")) for n in range(count))
    assert found == [data[5:] for data in payloads]
