"""Plain requests and their answers, read and written without a protocol library.

Nearly everything that arrives is a POST whose body follows at once and whose length is given.
h11 takes longer over one than the node over most calls, so such requests are recognised here,
by one strict pattern. Whatever is not of exactly this form, whatever has not arrived whole, and
whatever needs a word about who may ask, is left to h11 and `access`, which judge it.
"""

from __future__ import annotations

import re

from node.rpc.http.access import Access, is_json_type

HEAD_BYTES_MAX = 8 * 1024
_HEAD = re.compile(
    rb"POST /[!-~]{0,256} HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}+:[!-~ \t]{0,1024}+\r\n){1,64}+)\r\n"
)
_MEANS_MORE = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"origin"))
"""Headers with which a request is more than its head and its body, or comes from a page."""
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"


def find_body(data: bytes, body_bytes_max: int, access: Access) -> tuple[int, int] | None:
    """Return where the body of a plain request at the start of `data` begins and ends.

    None if it is not plain, not whole, too large, or not allowed: then h11 decides what it is.
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
    """Return a whole answer with status 200."""
    return _ANSWER % (len(body), body)
