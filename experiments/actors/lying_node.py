"""A node that lies to its clients: it shows revoked records as active (threat T17).

A small HTTP server in front of a real node. It changes only answers to `getRecord`; all other
answers are the node's own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from lowu.contracts.registry import AnchorState, hash_function
from lowu.node.client import RemoteError, RpcClient

RECEIVE_BYTES = 64 * 1024
STATE_WORD = 4
"""Index of the state among the 32-byte words of a record."""


def _falsify(request: dict[str, Any], result: Any) -> Any:
    if request["method"] != "eth_call" or not isinstance(result, str):
        return result
    selector = "0x" + hash_function("getRecord").selector.hex()
    if not request["params"][0].get("data", "").startswith(selector):
        return result
    words = bytearray.fromhex(result[2:])
    state = slice(32 * STATE_WORD, 32 * (STATE_WORD + 1))
    if int.from_bytes(words[state], "big") == AnchorState.REVOKED:
        words[state] = int(AnchorState.ACTIVE).to_bytes(32, "big")
    return "0x" + words.hex()


async def _answer(client: RpcClient, body: bytes) -> bytes:
    requests = json.loads(body)
    if isinstance(requests, list):
        answers = [await _answer_one(client, request) for request in requests]
        return json.dumps(answers).encode()
    return json.dumps(await _answer_one(client, requests)).encode()


async def _answer_one(client: RpcClient, request: dict[str, Any]) -> dict[str, Any]:
    head = {"jsonrpc": "2.0", "id": request["id"]}
    try:
        result = await client.call(request["method"], *request["params"])
    except RemoteError as error:
        return {**head, "error": {"code": error.code, "message": str(error), "data": error.data}}
    return {**head, "result": _falsify(request, result)}


async def _serve(client: RpcClient, stream: trio.SocketStream) -> None:
    http = h11.Connection(h11.SERVER)
    body = b""
    async with stream:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(RECEIVE_BYTES))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                answer = await _answer(client, body)
                headers = [("content-length", str(len(answer)))]
                data = http.send(h11.Response(status_code=200, headers=headers)) or b""
                data += http.send(h11.Data(data=answer)) or b""
                data += http.send(h11.EndOfMessage()) or b""
                await stream.send_all(data)
                body = b""
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return


@asynccontextmanager
async def lying_node(url: str) -> AsyncIterator[str]:
    """Run a lying server in front of a node; yield its URL."""
    async with RpcClient(url) as client, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream: trio.SocketStream) -> None:
            await _serve(client, stream)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
