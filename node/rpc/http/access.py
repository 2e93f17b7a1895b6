"""Access to a node's RPC: no web page that its user happens to open may use it.

A browser sends any page's requests to any address, even this machine's, and a page's own host
name may resolve to it (DNS rebinding). Three headers tell: Host is the name by which the page
calls the node, Origin is the page, and no page may send a content type of JSON without a
preflight. Programs other than browsers send no Origin and are not affected. Message framing that
two parsers could read differently is refused here, too (RFC 9112, 6.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import h11

from lowu.node.rpc.json_values import show

LOOPBACK_NAMES = ("localhost", "[::1]")
JSON_TYPES = frozenset((b"application/json", b"application/json-rpc"))
PREFLIGHT_S = 600
"""Seconds for which a browser may cache that a page is allowed."""
_HOST = re.compile(rb"(\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(?::[0-9]{0,5})?")
_LOOPBACK = re.compile(rb"127(?:\.[0-9]{1,3}){3}")
_WHERE = "in {0} of [rpc] in its config.ini, or in rpc_{1} of [network] in the network file"


class Refusal(Exception):
    """A request is refused, with an HTTP status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Access:
    """Checks the heads of requests against this node's names and the pages that may use it."""

    def __init__(
        self, listen_host: str, hosts: Iterable[str] = (), origins: Iterable[str] = ()
    ) -> None:
        own = f"[{listen_host}]" if ":" in listen_host else listen_host
        self._hosts = frozenset(name.lower().encode() for name in (*LOOPBACK_NAMES, own, *hosts))
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def is_host(self, value: bytes) -> bool:
        """Whether the value of a Host header names this node, on any port."""
        found = _HOST.fullmatch(value)
        if found is None:
            return False
        name = found[1].lower()
        return name in self._hosts or _LOOPBACK.fullmatch(name) is not None

    def check(self, request: h11.Request) -> None:
        """Raise `Refusal` if the node must not answer a request."""
        names = [name for name, _ in request.headers]
        if b"transfer-encoding" in names:
            if b"content-length" in names:
                raise Refusal(400, "both Content-Length and Transfer-Encoding are given: send one")
            if request.http_version < b"1.1":
                raise Refusal(400, "Transfer-Encoding needs HTTP/1.1")
        for name, value in request.headers:
            if name == b"host" and not self.is_host(value):
                reason = f"Host {_show(value)} is not allowed at this node; list the name "
                raise Refusal(403, reason + _WHERE.format("allowed_hosts", "hosts"))
            if name == b"origin" and value.lower() not in self._origins:
                reason = f"pages of {_show(value)} may not use this node; list their origin "
                raise Refusal(403, reason + _WHERE.format("allowed_origins", "origins"))
            is_post = request.method == b"POST"
            if is_post and name == b"content-type" and not is_json_type(value):
                hint = "send content-type: application/json (curl takes it by -H)"
                raise Refusal(415, f"content type {_show(value)} is not JSON; {hint}")

    @staticmethod
    def cors(request: h11.Request) -> list[tuple[str, bytes]]:
        """Return the headers that let a page, once it has passed `check`, read the answer."""
        for name, value in request.headers:
            if name == b"origin":
                return [
                    ("access-control-allow-origin", value),
                    ("access-control-allow-methods", b"POST"),
                    ("access-control-allow-headers", b"content-type"),
                    ("access-control-max-age", b"%d" % PREFLIGHT_S),
                    ("vary", b"origin"),
                ]
        return []


def is_json_type(value: bytes) -> bool:
    """Whether a content type is JSON, with any parameters."""
    return value in JSON_TYPES or value.partition(b";")[0].strip().lower() in JSON_TYPES


def _show(value: bytes) -> str:
    return show(value.decode("ascii", "backslashreplace"))
