"""The JSON-RPC client of institutions, experiments and the command line: h11 over trio.

One connection, kept open and reopened when it breaks. A request that failed with the connection
is sent once more, which is always safe here: transactions are identified by their hash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import h11
import trio

from lowu.node.limits.json_limits import load_json

RESPONSE_BYTES_MAX = 64 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024
VALUES_MAX = 2_000_000
"""Most values in an answer: some hundred megabytes."""
MESSAGE_MAX = 500
"""Most characters kept of an error's message."""
POLL_S = 0.02
POLL_S_MAX = 0.25


class ClientError(Exception):
    """A request failed: no connection, no answer in time, or an answer that is not JSON-RPC."""

    exit_code: ClassVar[int] = 1


class RemoteError(Exception):
    """A node answered with an error."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: int, message: str, data: str | None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class TransactionTimeout(ClientError):
    """No receipt in time. The transaction may still be committed: ask again."""


def build_requests(method: str, params: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return a request for each list of parameters, with its index as the id."""
    return [
        {"jsonrpc": "2.0", "id": position, "method": method, "params": list(item)}
        for position, item in enumerate(params)
    ]


def _clean(message: str) -> str:
    """Return a node's message in a form that can be shown and stored."""
    return "".join(char if char.isprintable() else "?" for char in message[:MESSAGE_MAX])


class RpcClient:
    """Client of one node."""

    def __init__(self, url: str, timeout_s: float = 30.0, chain_id: int | None = None) -> None:
        """Create a client; with `chain_id`, a node of another chain is an error, not an answer."""
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url!r} is not an http:// URL")
        self.url = url
        self._host, self._port = parts.hostname, parts.port or 80
        name = f"[{self._host}]" if ":" in self._host else self._host
        self._authority = f"{name}:{self._port}"
        self._timeout_s = timeout_s
        self._chain_id = chain_id
        self._stream: trio.SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._lock = trio.Lock()
        self._id = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method and return its result.

        Raises:
            RemoteError: the node answered with an error.
            ClientError: the request failed.
        """
        self._id += 1
        number = self._id  # other tasks may call meanwhile
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        answer = await self._exchange(json.dumps(request).encode())
        result = self._read(method, answer, number)
        if isinstance(result, RemoteError):
            raise result
        return result

    async def call_many(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Call a method once for each list of parameters, in one request.

        Returns the results in order, with a `RemoteError` for each error of the node.

        Raises:
            ClientError: the request failed.
        """
        requests = build_requests(method, params)
        if not requests:
            return []
        answers = await self._exchange(json.dumps(requests).encode())
        if not isinstance(answers, list):
            raise ClientError(f"{self.url}: the answer to a batch of {method} is not a list")
        known = {
            item["id"]: item
            for item in answers
            if isinstance(item, dict) and type(item.get("id")) is int
        }
        return [
            self._read(method, known.get(position), position) for position in range(len(requests))
        ]

    def _read(self, method: str, response: object, number: int) -> Any:
        """Return the result in a response, or a `RemoteError` (not raised)."""
        if isinstance(response, dict) and response.get("id") == number:
            error = response.get("error")
            if error is None:
                return response.get("result")
            if isinstance(error, dict):
                code, message, data = error.get("code"), error.get("message"), error.get("data")
                if isinstance(code, int) and isinstance(message, str):
                    text = _clean(message)
                    return RemoteError(code, text, data if isinstance(data, str) else None)
        raise ClientError(f"{self.url}: the answer to {method} is not JSON-RPC")

    async def wait_for_receipt(self, tx_hash: str, timeout_s: float = 60.0) -> Any:
        """Return a transaction's receipt, as the node sends it, once the node has committed it.

        Raises:
            TransactionTimeout: no receipt within `timeout_s`; the outcome is unknown, not failed.
        """
        wait_s = POLL_S
        with trio.move_on_after(timeout_s):
            while True:
                try:
                    receipt = await self.call("eth_getTransactionReceipt", tx_hash)
                except ClientError:
                    receipt = None  # the node may be restarting
                if receipt is not None:
                    return receipt
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 1.3, POLL_S_MAX)
        raise TransactionTimeout(f"{self.url}: no receipt of {tx_hash} within {timeout_s:.0f} s")

    async def _exchange(self, body: bytes) -> Any:
        async with self._lock:
            is_clean = False
            try:
                with trio.fail_after(self._timeout_s):
                    try:
                        answer = await self._try_exchange(body)
                    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                        await self.aclose()  # the kept connection was stale: retry on a new one
                        answer = await self._try_exchange(body)
                    is_clean = True
                    return answer
            except trio.TooSlowError as error:
                raise ClientError(
                    f"{self.url}: no answer within {self._timeout_s:.0f} s"
                ) from error
            except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
                raise ClientError(
                    f"{self.url}: cannot be reached ({error}). Is the node running? "
                    "Check with `lowu status`."
                ) from error
            finally:
                if not is_clean:
                    with trio.CancelScope(shield=True):
                        await self.aclose()

    async def _try_exchange(self, body: bytes) -> Any:
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
            self._http = h11.Connection(h11.CLIENT)
            if self._chain_id is not None:
                await self._check_chain(self._stream, self._chain_id)
            if self._stream is None:  # a server that closes after each answer
                self._stream = await trio.open_tcp_stream(self._host, self._port)
                self._http = h11.Connection(h11.CLIENT)
        return await self._send(self._stream, body)

    async def _check_chain(self, stream: trio.SocketStream, wanted: int) -> None:
        """Raise `ClientError` if a node of another chain answers on a new connection."""
        (request,) = build_requests("eth_chainId", [[]])
        answer = await self._send(stream, json.dumps(request).encode())
        found = self._read("eth_chainId", answer, 0)
        if isinstance(found, RemoteError):
            raise ClientError(f"{self.url}: does not say of which chain it is: {found}")
        if found != hex(wanted):
            raise ClientError(
                f"{self.url}: a node of another chain answers here ({_clean(str(found))[:40]}; "
                f"this network is {hex(wanted)}). Is another network running on its ports? "
                "`lowu status` shows it."
            )

    async def _send(self, stream: trio.SocketStream, body: bytes) -> Any:
        request = h11.Request(
            method="POST",
            target="/",
            headers=[
                ("host", self._authority),
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
            ],
        )
        data = self._http.send(request) or b""
        data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await stream.send_all(data)
        answer = await self._read_response(stream)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.aclose()
        try:
            return load_json(answer, VALUES_MAX)
        except ValueError as error:
            raise ClientError(f"{self.url}: the answer is {error}") from error

    async def _read_response(self, stream: trio.SocketStream) -> bytes:
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await stream.receive_some(RECEIVE_BYTES))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > RESPONSE_BYTES_MAX:
                    raise ClientError(f"{self.url}: the answer is too large")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            elif isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("closed without an answer")
