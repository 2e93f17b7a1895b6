"""Plain requests and their answers, read and written without a protocol library.

Nearly every request is a POST with a Content-Length whose body follows at once. h11 spends more
time on one than the node spends on most calls, so one strict pattern recognises such requests
here. All others are left to h11 and `access`: those not of exactly this form, incomplete ones, and
those whose access needs a closer check.
"""

from __future__ import annotations

import re

from lowu.node.rpc.http.access import Access, is_json_type

HEAD_BYTES_MAX = 8 * 1024
_HEAD = re.compile(
    rb"POST /[!-~]{0,256} HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}+:[!-~ \t]{0,1024}+\r\n){1,64}+)\r\n"
)
_MEANS_MORE = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"origin"))
"""Headers of requests that are more than a head and a body, or come from a web page."""
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"


def find_body(data: bytes, body_bytes_max: int, access: Access) -> tuple[int, int] | None:
    """Return the start and end of the body of a plain request at the start of `data`.

    None if it is not plain, incomplete, too large, or not allowed: it is then left to h11.
    """
    found = _HEAD.match(data, 0, HEAD_BYTES_MAX)
    if found is None:
        return None
    length, hosts = -1, 0
    for line in found[1].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if name == b"content-length":
            if length >= 0 or not value.isdigit() or len(value) > 9:
                return None
            length = int(value)
        elif name == b"host":
            hosts += 1
            if not access.is_host(value):
                return None
        elif name == b"content-type":
            if not is_json_type(value):
                return None
        elif name in _MEANS_MORE or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    start = found.end()
    stop = start + length
    is_whole = 0 <= length <= body_bytes_max and stop <= len(data)
    return (start, stop) if is_whole and hosts == 1 else None


def render_answer(body: bytes) -> bytes:
    """Return a complete answer with status 200."""
    return _ANSWER % (len(body), body)
