"""Plain requests: what is taken without h11, and that nothing else is."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowu.node.rpc.http import plain as plain_http
from lowu.node.rpc.http.access import Access
from lowu.node.rpc.http.plain import render_answer

BODY = b'{"jsonrpc":"2.0"}'
HEAD = (
    b"POST / HTTP/1.1\r\nHost: localhost:1\r\ncontent-type: application/json\r\n"
    b"Content-Length: 17\r\n"
)
PLAIN = HEAD + b"\r\n" + BODY


def find_body(data, body_bytes_max):
    return plain_http.find_body(data, body_bytes_max, Access("127.0.0.1"))


def test_a_plain_request_is_found():
    start, stop = find_body(PLAIN, 100)
    assert PLAIN[start:stop] == BODY
    assert find_body(PLAIN + b"POST / HT", 100) == (start, stop)
    kept = HEAD + b"Connection: Keep-Alive\r\nuser-agent: x y\tz\r\n\r\n" + BODY
    assert kept[slice(*find_body(kept, 100))] == BODY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        HEAD,
        b"\r\n" + PLAIN,
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"Host: localhost:1\r\n", b""),
        PLAIN.replace(b"Host: localhost:1\r\n", b"Host: localhost:1\r\nhost: b\r\n"),
        PLAIN.replace(b"Host:", b"Host :"),
        PLAIN.replace(b"Host: localhost:1", b"Host: a\x00:1"),
        PLAIN.replace(b"Content-Length: 17", b"x: y"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\ncontent-length: 17"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: +17"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 1_7"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length:"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\n folded"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\nTransfer-Encoding: chunked"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\nExpect: 100-continue"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\nUpgrade: websocket"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\nConnection: close"),
        PLAIN.replace(b"Host: localhost:1", b"Host: localhost:1\r\nx: " + b"y" * 9_000),
        PLAIN.replace(b"Host: localhost:1", b"Host: localhost:1\r\nx:" + b" " * 7_000 + b"\x01"),
        PLAIN.replace(b"localhost", b"evil.example"),
        PLAIN.replace(b"application/json", b"text/plain"),
        PLAIN.replace(b"Content-Length: 17", b"Content-Length: 17\r\nOrigin: https://a.example"),
    ],
)
def test_what_is_not_plain_is_left_to_h11(data):
    assert find_body(data, 100) is None


def test_a_large_body_is_left_to_h11():
    assert find_body(PLAIN, 16) is None
    assert find_body(PLAIN, 17) is not None


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b":",
        b"0",
        b"17",
        b"host: c\r\n",
        b"Content-Length: 5\r\n",
        b"\x00",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(PLAIN)), PIECES), min_size=1, max_size=3))
def test_what_is_taken_is_what_h11_would_take(changes):
    data = PLAIN
    for place, piece in changes:
        data = data[:place] + piece + data[place:]
    bounds = find_body(data, 1_000)
    if bounds is None:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    assert isinstance(server.next_event(), h11.Request)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert data[slice(*bounds)] == body
    assert server.trailing_data[0] == data[bounds[1] :]


def test_an_answer_is_what_h11_reads():
    client = h11.Connection(h11.CLIENT)
    headers = [("host", "a"), ("content-length", "0")]
    client.send(h11.Request(method="POST", target="/", headers=headers))
    client.send(h11.EndOfMessage())
    client.receive_data(render_answer(BODY))
    response = client.next_event()
    assert response.status_code == 200
    assert client.next_event().data == BODY
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.their_state is h11.DONE
