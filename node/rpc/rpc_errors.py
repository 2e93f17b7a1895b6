"""JSON-RPC errors: one class, fixed codes (JSON-RPC 2.0, EIP-1474, revert as code 3)."""

from __future__ import annotations

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
RESOURCE_NOT_FOUND = -32001
UNAVAILABLE = -32002
TX_REJECTED = -32003
NOT_SUPPORTED = -32004
LIMIT_EXCEEDED = -32005
EXECUTION_REVERTED = 3
PRUNED = 4444
"""EIP-4444: the block is older than what the node keeps."""
TIMED_OUT = 4
"""EIP-7966."""
NODE_NOT_FOUND = -32000
GROUP_NOT_FOUND = -32005
"""FISCO BCOS's own meanings of these two codes."""


class RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_object(self) -> dict[str, Any]:
        """Return the error object of a response."""
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            found["data"] = self.data
        return found


def invalid_params(message: str) -> RpcError:
    """Return the error for parameters that cannot be used."""
    return RpcError(INVALID_PARAMS, message)
