"""A cheap JSON-RPC client, for offering load from the machine under load.

A general HTTP client spends more CPU time on a request than a node does, and would take the cores
from the measured nodes. This client sends pre-rendered requests and reads only answers with a
content length, as every JSON-RPC server gives; anything else is an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import trio

from lowu.node.client import ClientError, build_requests

RECEIVE_BYTES = 64 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024
_LENGTH = b"\r\ncontent-length:"


def render_calls(method: str, params: Sequence[Sequence[Any]]) -> bytes:
    """Return the body of one call, or of a batch if there are several parameter lists."""
    calls = build_requests(method, params)
    return json.dumps(calls[0] if len(calls) == 1 else calls, separators=(",", ":")).encode()


class LightClient:
    """One connection to one node; one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._head = (
            f"POST / HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self._stream: trio.SocketStream | None = None

    async def __aenter__(self) -> Self:
        try:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
        except OSError as error:
            raise ClientError(f"{self.url}: cannot be reached ({error})") from error
        return self

    async def __aexit__(self, *details: object) -> None:
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)

    async def post(self, body: bytes) -> bytes:
        """Send a body; return the answer's body.

        Raises:
            ClientError: the connection broke, or the answer is not plain HTTP.
        """
        stream = self._stream
        if stream is None:
            raise ClientError(f"{self.url}: not connected")
        try:
            await stream.send_all(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
            data = await self._more(stream, b"")
            while (end := data.find(b"\r\n\r\n")) < 0:
                data = await self._more(stream, data)
            start = end + 4
            stop = start + self._length(data[:end])
            while len(data) < stop:
                data = await self._more(stream, data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientError(f"{self.url}: the connection broke") from error
        if len(data) != stop:
            raise ClientError(f"{self.url}: more was answered than was asked")
        return data[start:]

    async def _more(self, stream: trio.SocketStream, data: bytes) -> bytes:
        more = await stream.receive_some(RECEIVE_BYTES)
        if not more or len(data) > ANSWER_BYTES_MAX:
            raise ClientError(f"{self.url}: the connection ended within an answer")
        return data + bytes(more)

    def _length(self, head: bytes) -> int:
        """Return the body length that an HTTP head announces."""
        at = head.lower().find(_LENGTH)
        value = head[at + len(_LENGTH) :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""
        if not head.startswith(b"HTTP/1.1 200") or not value.isdigit():
            raise ClientError(f"{self.url}: not a plain answer: {head[:80]!r}")
        return int(value)
