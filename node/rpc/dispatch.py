"""From a request body to a response body: JSON-RPC 2.0 with batches and limits.

Every failure is an answer with a code; nothing that a client sends raises beyond `answer`.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from types import NoneType
from typing import Any, TypeAlias

import trio

from lowu.node.errors import (
    BadInput,
    BlockNotKept,
    CallAborted,
    DamagedData,
    FatalError,
    StateLoading,
    StateNotKept,
)
from lowu.node.limits.json_limits import load_json
from lowu.node.rpc.call_runner import Call, CallRunner, InlineRunner, Offloaded
from lowu.node.rpc.methods import Method, Methods
from lowu.node.rpc.rpc_errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    NOT_SUPPORTED,
    PARSE_ERROR,
    PRUNED,
    SERVER_ERROR,
    RpcError,
)

BATCH_MAX = 1_000
BATCH_RESPONSE_BYTES_MAX = 32 * 1024 * 1024
REQUEST_S = 30.0
BATCH_S = 60.0
"""What has not begun by then is refused: a thousand requests that wait would take hours."""
TOGETHER_MAX = 64
"""Requests of a batch whose calls go to a thread together."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

Extra: TypeAlias = Mapping[str, Callable[[list[Any]], Any]]

log = logging.getLogger("RPC")


class Dispatcher:
    """Answers request bodies from a table of methods."""

    def __init__(self, methods: Methods, runner: CallRunner | InlineRunner) -> None:
        self._table = methods.table
        self._runner = runner

    async def answer(
        self, body: bytes, extra: Extra | None = None, client: Hashable = None
    ) -> bytes:
        """Return the response to a body; empty if it holds only notifications.

        `extra` are methods that only this connection has (subscriptions). Calls of one `client`
        wait behind those of clients that have used less.
        """
        try:
            request = load_json(body)
        except ValueError as flaw:
            return encode_response(failure(None, RpcError(PARSE_ERROR, f"the body is {flaw}")))
        if not isinstance(request, list):
            response = await self._one(request, extra or {}, client)
            return encode_response(response) if response is not None else b""
        if not request:
            return encode_response(failure(None, RpcError(INVALID_REQUEST, "empty batch")))
        if len(request) > BATCH_MAX:
            error = RpcError(LIMIT_EXCEEDED, f"batch of {len(request)}; at most {BATCH_MAX}")
            return encode_response(failure(None, error))
        return await self._batch(request, extra or {}, client)

    async def _batch(self, requests: list[Any], extra: Extra, client: Hashable) -> bytes:
        parts: list[bytes] = []
        size = 0
        end_s = trio.current_time() + BATCH_S
        for start in range(0, len(requests), TOGETHER_MAX):
            responses = []
            for request in requests[start : start + TOGETHER_MAX]:
                await trio.lowlevel.checkpoint()
                is_late = trio.current_time() > end_s
                responses.append(await self._begin(request, extra, is_late=is_late))
            found = [item for item in responses if item is not None]
            await self._finish(found, client)
            for response in found:
                await trio.lowlevel.checkpoint()  # a large answer takes milliseconds
                is_too_large = size > BATCH_RESPONSE_BYTES_MAX
                parts.append(encode_response(_too_large(response) if is_too_large else response))
                response.clear()
                size += len(parts[-1])
        return b"[" + b",".join(parts) + b"]" if parts else b""

    async def _one(self, request: Any, extra: Extra, client: Hashable) -> dict[str, Any] | None:
        response = await self._begin(request, extra)
        if response is not None:
            await self._finish([response], client)
        return response

    async def _finish(self, responses: list[dict[str, Any]], client: Hashable) -> None:
        """Put results in the place of work that is to be done beside the event loop."""
        open_ones = [item for item in responses if isinstance(item.get("result"), Offloaded)]
        if not open_ones:
            return
        has_left = getattr(client, "has_left", lambda: False)
        calls = [Call(item["result"].work, client, has_left) for item in open_ones]
        with trio.move_on_after(REQUEST_S):
            await self._runner.run(calls)
        for response, call in zip(open_ones, calls, strict=True):
            if call.done.is_set() and call.error is None:
                response["result"] = call.result
                continue
            error = call.error if call.done.is_set() else trio.TooSlowError()
            del response["result"]
            response["error"] = _explain("a call", error).to_object()

    async def _begin(
        self, request: Any, extra: Extra, *, is_late: bool = False
    ) -> dict[str, Any] | None:
        """Return the response to a request, None to a notification; a late one is refused.

        Its result may be `Offloaded`: then `_finish` has to get it.
        """
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return failure(None, RpcError(INVALID_REQUEST, "a request is an object with a method"))
        request_id = request.get("id")
        is_flag = isinstance(request_id, bool)  # a bool is an int to Python
        if is_flag or not isinstance(request_id, (str, int, float, NoneType)):
            return failure(None, RpcError(INVALID_REQUEST, "id is a string or a number"))
        try:
            if is_late:
                raise RpcError(LIMIT_EXCEEDED, f"not begun within {BATCH_S:.0f} s: ask in parts")
            result = await self._call(request["method"], request.get("params"), extra)
        except RpcError as error:
            response = failure(request_id, error)
        else:
            response = {"jsonrpc": "2.0", "id": request_id, "result": result}
        return response if "id" in request else None

    async def _call(self, name: str, params: Any, extra: Extra) -> Any:
        values = [] if params is None else params
        if not isinstance(values, list):
            raise RpcError(INVALID_PARAMS, "params is an array")
        own = extra.get(name)
        if own is not None:
            return await self._run(name, Method(own, 1, 1, False), [values])
        method = self._table.get(name)
        if method is None:
            shown = name if len(name) <= 100 else name[:97] + "..."
            raise RpcError(METHOD_NOT_FOUND, f"the method {shown} does not exist/is not available")
        _check_count(name, method, values)
        return await self._run(name, method, values)

    async def _run(self, name: str, method: Method, values: list[Any]) -> Any:
        try:
            if not method.is_async:
                return method.handler(*values)
            with trio.fail_after(REQUEST_S):
                return await _resolve(method.handler(*values))
        except Exception as error:
            raise _explain(name, error) from error


async def _resolve(result: Awaitable[Any]) -> Any:
    if not inspect.isawaitable(result):
        raise TypeError("handler is not awaitable")
    return await result


def _check_count(name: str, method: Method, values: list[Any]) -> None:
    too_many = method.params_max is not None and len(values) > method.params_max
    if len(values) < method.params_min or too_many:
        upper = "any number" if method.params_max is None else str(method.params_max)
        raise RpcError(
            INVALID_PARAMS,
            f"{name} takes {method.params_min} to {upper} parameters, got {len(values)}",
        )


def _explain(name: str, error: Exception | None) -> RpcError:
    """Return what a client may know of a failure; only a fatal one is raised on."""
    match error:
        case RpcError():
            return error
        case CallAborted():
            return RpcError(SERVER_ERROR, str(error))
        case trio.TooSlowError():
            return RpcError(LIMIT_EXCEEDED, f"no result within {REQUEST_S:.0f} s")
        case StateNotKept():
            return RpcError(NOT_SUPPORTED, str(error))
        case BlockNotKept():
            return RpcError(PRUNED, str(error))
        case StateLoading():
            return RpcError(SERVER_ERROR, str(error))
        case BadInput():
            return RpcError(INVALID_PARAMS, str(error))
        case DamagedData():  # no client may stop the node by asking for it
            log.error("method failed,method=%s,reason=%s", name, error)
            return RpcError(INTERNAL_ERROR, f"this node's storage is damaged: {error}")
        case FatalError():
            raise error
    log.error("method failed,method=%s", name, exc_info=error)  # a client never sees a traceback
    return RpcError(INTERNAL_ERROR, "internal error; see the node's log")


def _too_large(response: dict[str, Any]) -> dict[str, Any]:
    error = RpcError(LIMIT_EXCEEDED, "the answer to this batch is too large")
    return failure(response.get("id"), error)


def failure(request_id: Any, error: RpcError) -> dict[str, Any]:
    """Return the response that is an error."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error.to_object()}


def encode_response(response: dict[str, Any]) -> bytes:
    """Return a response, or a notification, as bytes."""
    return _ENCODER.encode(response).encode()
