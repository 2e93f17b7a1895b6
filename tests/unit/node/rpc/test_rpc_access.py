"""Who may use a node's JSON-RPC from a browser, and how requests may be framed (N-F13, N-F15)."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from lowu.node.client import RpcClient
from lowu.node.errors import ConfigError
from lowu.node.rpc.http.access import Access
from lowu.node.rpc.http.server import RpcServer
from lowu.node.topology.spec import parse_spec
from lowu.node.traffic_tap import Tap

NETWORK = Path(__file__).parents[4] / "configs" / "networks" / "dev-4.toml"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
PAGE = "https://desk.example"
JSON = "content-type: application/json"
UPGRADE = (
    "GET / HTTP/1.1", "host: localhost", "connection: upgrade", "upgrade: websocket",
    "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


class Echo:
    """A dispatcher that gives back what it is asked."""

    async def answer(self, body, extra=None, client=None):
        await trio.lowlevel.checkpoint()
        return body


def serve(access=None):
    """Return a server whose answers are what it was asked."""
    session = SimpleNamespace(subscribe=None, unsubscribe=None, close=lambda: None)
    subscriptions = SimpleNamespace(open_session=lambda push: session)
    methods = SimpleNamespace(table={}, subscriptions=subscriptions)
    server = RpcServer(
        methods, Tap(None), access or Access("127.0.0.1"), connections_max=9, is_threaded=False
    )
    server.dispatcher = Echo()
    return server


async def ask(data, server=None):
    """Send bytes and the end of them; return all that comes back."""
    near, far = trio.testing.memory_stream_pair()
    found = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon((server or serve()).serve, far)
        await near.send_all(data)
        await near.send_eof()
        async for piece in near:
            found += piece
    return found


def post(*headers, body=BODY, line="POST / HTTP/1.1"):
    lines = [line, *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


RIGHT_HOSTS = (
    "127.0.0.1", "127.0.0.1:8545", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8545", "127.1.2.3:9",
    "10.0.0.5:8545", "node.lowu.example", "Node.Lowu.Example:8545",
)  # fmt: skip
WRONG_HOSTS = (
    "evil.example", "evil.example:8545", "127.0.0.1.evil.example", "localhost.evil.example", "",
    "evil.localhost.example", "10.0.0.6", "0.0.0.0", "127.0.0.1@evil.example", "127.0.0.1:x",
    "127.0.0.1 evil.example", "[::2]", "[::1", "::1", "127.0.0.1,evil.example", "localhost:1:2",
    "xnode.lowu.example", "\xe9",
)  # fmt: skip
"""What a page's own name looks like once it points to this machine (DNS rebinding)."""


@pytest.mark.parametrize("host", RIGHT_HOSTS)
@pytest.mark.parametrize("more", ["x: y", "te: trailers"], ids=["plain", "h11"])
async def test_names_of_a_node(host, more):
    """N-F13: loopback, the address that it listens on, and what is listed, on any port."""
    server = serve(Access("10.0.0.5", ["node.lowu.example"]))
    answer = await ask(post(f"host: {host}", JSON, more), server)
    assert status_of(answer) == 200 and answer.endswith(BODY)
    assert b"access-control" not in answer


@pytest.mark.parametrize("url", ["http://[::1]:8545", "http://localhost", "http://127.0.0.1:1"])
async def test_a_client_of_our_own_names_the_node(url, monkeypatch):
    """N-F13: by the host of its URL, an IPv6 address in brackets."""
    near, far = trio.testing.memory_stream_pair()

    async def connect(host, port):
        await trio.lowlevel.checkpoint()
        return near

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve().serve, far)
        async with RpcClient(url) as client:
            assert await client.call("eth_chainId") is None, "an echo, where a refusal raises"


@pytest.mark.parametrize("host", WRONG_HOSTS)
@pytest.mark.parametrize("more", ["x: y", "te: trailers"], ids=["plain", "h11"])
async def test_rebound_names_are_refused(host, more):
    """N-F13: any Host was served."""
    server = serve(Access("10.0.0.5", ["node.lowu.example"]))
    answer = await ask(post(f"host: {host}", JSON, more), server)
    assert status_of(answer) in (400, 403) and BODY not in answer
    if status_of(answer) == 403:
        assert b"allowed_hosts" in answer and b"rpc_hosts" in answer


@pytest.mark.parametrize("kind", ["POST / HTTP/1.1", "OPTIONS / HTTP/1.1", "GET / HTTP/1.1"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "*", "", f"{PAGE}.evil", "x y"])
async def test_pages_are_refused(kind, origin):
    """N-F13: CORS was `*`, and a simple request needs no permission to be sent."""
    access = Access("127.0.0.1", (), [PAGE])
    answer = await ask(post("host: localhost", f"origin: {origin}", JSON, line=kind), serve(access))
    assert status_of(answer) == 403 and BODY not in answer
    assert b"access-control" not in answer and b"rpc_origins" in answer


async def test_a_listed_page_is_served():
    """N-F13: its preflight and its request, with its own name in the answers and no other."""
    server = serve(Access("127.0.0.1", (), [PAGE, "http://localhost:3000"]))
    head = ("host: localhost:8545", f"origin: {PAGE}")
    before = await ask(post(*head, body=b"", line="OPTIONS / HTTP/1.1"), server)
    answer = await ask(post(*head, JSON), server)
    assert (status_of(before), status_of(answer)) == (204, 200) and answer.endswith(BODY)
    for item in (before, answer):
        assert f"access-control-allow-origin: {PAGE}\r\n".encode() in item
        assert b"vary: origin\r\n" in item
    other = await ask(post("host: localhost", JSON, "te: x"), server)
    assert status_of(other) == 200 and b"access-control" not in other


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
async def test_types_that_a_page_may_send_unasked_are_refused(kind):
    """N-F13: a form's POST was taken for JSON."""
    answer = await ask(post("host: localhost", f"content-type: {kind}"))
    assert status_of(answer) == 415 and BODY not in answer and b"application/json" in answer
    doubled = post("host: localhost", JSON, f"content-type: {kind}")
    assert status_of(await ask(doubled)) == 415


@pytest.mark.parametrize(
    "header", [JSON, "content-type: Application/JSON; charset=utf-8", "accept: */*"]
)
async def test_types_of_clients_are_taken(header):
    assert status_of(await ask(post("host: localhost", header))) == 200


async def test_an_upgrade_is_judged_as_any_request():
    """N-F13: a page may open a WebSocket to anywhere, unless the server looks at its Origin."""
    server = serve(Access("127.0.0.1", (), [PAGE]))

    def upgrade(*more, host="localhost"):
        lines = [item.replace("localhost", host) for item in UPGRADE]
        return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode()

    assert status_of(await ask(upgrade(), server)) == 101
    assert status_of(await ask(upgrade(f"origin: {PAGE}"), server)) == 101
    assert status_of(await ask(upgrade("origin: null"), server)) == 403
    assert status_of(await ask(upgrade("origin: https://evil.example"), server)) == 403
    assert status_of(await ask(upgrade(host="evil.example"), server)) == 403


async def test_http_without_a_host():
    """HTTP/1.0 has none, and no browser speaks it; HTTP/1.1 has one."""
    old = await ask(post(JSON, line="POST / HTTP/1.0"))
    assert status_of(old) == 200 and old.endswith(BODY)
    wrong = post(JSON, "host: evil.example", line="POST / HTTP/1.0")
    assert status_of(await ask(wrong)) == 403
    assert status_of(await ask(post(JSON))) == 400
    assert status_of(await ask(post(JSON, "host: localhost", "host: localhost"))) == 400


CHUNKS = b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'
FRAMES = {
    "both": ("content-length: 7", "transfer-encoding: chunked"),
    "both, folded": ("content-length: 7", "transfer-encoding:\r\n chunked"),
    "both, in capitals": ("Content-Length: 7", "TRANSFER-ENCODING: Chunked"),
    "both, other order": ("transfer-encoding: chunked", "content-length: 7"),
    "an unknown encoding": ("transfer-encoding: gzip, chunked",),
    "an encoding twice": ("transfer-encoding: chunked", "transfer-encoding: chunked"),
    "two lengths": ("content-length: 5", "content-length: 7"),
    "two lengths in one": ("content-length: 5, 7",),
    "a folded length": ("content-length: 1\r\n 7",),
    "a signed length": ("content-length: +7",),
    "a length in hex": ("content-length: 0x7",),
    "a space before the colon": ("transfer-encoding : chunked", "content-length: 7"),
    "a bare carriage return": ("x: y\rtransfer-encoding: chunked", "content-length: 7"),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_framing_of_two_meanings_is_refused_and_closed(name):
    """N-F15: RFC 9112, 6.1 and 6.3: what follows could be another request to another reader."""
    head = "\r\n".join(["POST / HTTP/1.1", "host: localhost", JSON, *FRAMES[name]])
    answer = await ask(head.encode() + b"\r\n\r\n" + CHUNKS + post("host: localhost", JSON))
    assert status_of(answer) in (400, 501) and answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer and b"eth_chainId" not in answer


async def test_an_encoding_in_http_1_0_is_refused():
    """N-F15: RFC 9112, 6.1: such framing is faulty."""
    data = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS
    assert status_of(await ask(data)) == 400


async def test_chunks_are_read():
    head = f"POST / HTTP/1.1\r\nhost: localhost\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await ask(head.encode() + CHUNKS)).endswith(b'\r\n\r\n{"a":1}')


def test_the_network_file_says_who_may():
    """N-F13: names and origins, checked; neither `*` nor `null` is one."""
    text = NETWORK.read_text()
    lists = 'rpc_hosts = ["a.example", "[fe80::1]"]\nrpc_origins = ["http://[::1]:3000"]\n'
    spec = parse_spec(text.replace("[network]\n", "[network]\n" + lists), Path("net.toml"))
    assert spec.settings.rpc_hosts == ("a.example", "[fe80::1]")
    for wrong in ('["*"]', '["null"]', '["http://a/b"]', '["a"]', "[5]", '"x"', '["http://*"]'):
        changed = text.replace("[network]\n", f"[network]\nrpc_origins = {wrong}\n")
        with pytest.raises(ConfigError, match=r"net\.toml:\d+: rpc_origins"):
            parse_spec(changed, Path("net.toml"))
    for wrong in ('["*"]', '["a:1"]', '["http://a"]', '[""]', "[true]"):
        changed = text.replace("[network]\n", f"[network]\nrpc_hosts = {wrong}\n")
        with pytest.raises(ConfigError, match=r"net\.toml:\d+: rpc_hosts"):
            parse_spec(changed, Path("net.toml"))
