"""Gateways over real sockets while strangers hold their ports' connections (N-F6)."""

import ssl
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from lowu.node.gateway import entrance
from lowu.node.gateway.gateway import Gateway
from lowu.node.topology.node_certificates import issue_agency_ca, issue_consortium_ca
from lowu.node.traffic_tap import Tap
from tests.unit.node.gateway.test_tls_stream import NODES, write_identity

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    base = tmp_path_factory.mktemp("entrance")
    root = issue_consortium_ca("one")
    agency = issue_agency_ca(root, "a")
    return [write_identity(base / str(i), agency, root, node) for i, node in enumerate(NODES)]


def build(contexts, index, places):
    return Gateway(
        node_id=NODES[index],
        members=lambda: frozenset(NODES),
        genesis_hash=bytes(32),
        contexts=contexts[index],
        tap=Tap(None),
        entrants_max=places,
    )


@asynccontextmanager
async def listening(nursery, gateway):
    """Serve a gateway; give its port."""
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    nursery.start_soon(gateway.run, listeners, [])
    yield listeners[0].socket.getsockname()[1]


def client_hello(context):
    """The first bytes of a TLS client that means it, for a while."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def first_words(kind, contexts):
    hello = client_hello(contexts[1][1])
    return {"silent": b"", "one byte": b"\x16", "hello": hello, "half": hello[:100]}[kind]


@pytest.mark.parametrize("kind", ["silent", "one byte", "hello", "half"])
async def test_a_member_gets_past_strangers_that_come_back_for_ever(contexts, nursery, kind):
    """N-F6: all places are taken, and each that is freed is taken again at once."""
    gateway, dialer = build(contexts, 0, 16), build(contexts, 1, 16)
    words = first_words(kind, contexts)
    linked = trio.Event()
    dialer.on_links_changed = lambda links: linked.set()

    async def pester(port):
        while True:
            stream = await trio.open_tcp_stream(HOST, port)
            async with stream:
                try:
                    await stream.send_all(words)
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass

    async with listening(nursery, gateway) as port:
        for _ in range(40):
            nursery.start_soon(pester, port)
        with trio.fail_after(10):
            while not gateway._entrance._table.is_full:
                await trio.sleep(0.001)
            nursery.start_soon(dialer._dial, HOST, port)
            await linked.wait()
        nursery.cancel_scope.cancel()


async def test_strangers_take_no_place_of_a_member_that_is_linked(contexts, nursery):
    gateway, dialer = build(contexts, 0, 2), build(contexts, 1, 2)
    linked, strangers = trio.Event(), []
    gateway.on_links_changed = lambda links: linked.set()
    async with listening(nursery, gateway) as port:
        nursery.start_soon(dialer._dial, HOST, port)
        with trio.fail_after(10):
            await linked.wait()
            assert not gateway._entrance._table._places
            async with AsyncExitStack() as stack:
                for _ in range(6):
                    stranger = await trio.open_tcp_stream(HOST, port)
                    await stack.enter_async_context(stranger)
                    strangers.append(stranger)
                for stranger in strangers[:4]:  # they make way for the others
                    assert await stranger.receive_some() == b""
            assert gateway.connected == {NODES[1]}
        nursery.cancel_scope.cancel()


async def test_a_stranger_in_silence_is_closed_in_time(contexts, nursery, monkeypatch, caplog):
    monkeypatch.setattr(entrance, "GREETING_S", 0.02)
    gateway = build(contexts, 0, 8)
    async with listening(nursery, gateway) as port:
        for words in (b"", b"\x16", client_hello(contexts[1][1])):
            with trio.fail_after(10):
                async with await trio.open_tcp_stream(HOST, port) as stream:
                    await stream.send_all(words)
                    while await stream.receive_some():
                        pass
        nursery.cancel_scope.cancel()
    assert "refused,peer=inbound,reason=no handshake in time" in caplog.text


async def test_dialling_needs_no_place(contexts, nursery):
    """A node whose entrance is full of strangers reaches the others all the same."""
    gateway, dialer = build(contexts, 0, 8), build(contexts, 1, 1)
    linked = trio.Event()
    dialer.on_links_changed = lambda links: linked.set()
    async with listening(nursery, gateway) as port, listening(nursery, dialer) as own:
        async with await trio.open_tcp_stream(HOST, own):
            with trio.fail_after(10):
                while not dialer._entrance._table.is_full:
                    await trio.sleep(0.001)
                nursery.start_soon(dialer._dial, HOST, port)
                await linked.wait()
        nursery.cancel_scope.cancel()
