"""Plain requests and their answers, read and written without a protocol library.

Nearly everything that arrives is a POST whose body follows at once and whose length is given.
h11 takes longer over one than the node over most calls, so such requests are recognised here,
by one strict pattern. Whatever is not of exactly this form, and whatever has not arrived whole,
is left to h11, which judges it.
"""

from __future__ import annotations

import re

HEAD_BYTES_MAX = 8 * 1024
CORS = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "POST, OPTIONS"),
    ("access-control-allow-headers", "content-type"),
]
_HEAD = re.compile(
    rb"POST /[!-~]{0,256} HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}+:[!-~ \t]{0,1024}+\r\n){1,64}+)\r\n"
)
_MEANS_MORE = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"))
"""Headers with which a request is more than its head and its body."""
_ANSWER = "".join(
    f"{name}: {value}\r\n" for name, value in [("content-type", "application/json"), *CORS]
).encode()


def find_body(data: bytes, body_bytes_max: int) -> tuple[int, int] | None:
    """Return where the body of a plain request at the start of `data` begins and ends.

    None if it is not plain, not whole, or too large: then h11 decides what it is.
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
        elif name in _MEANS_MORE or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    start = found.end()
    stop = start + length
    is_whole = 0 <= length <= body_bytes_max and stop <= len(data)
    return (start, stop) if is_whole and hosts == 1 else None


def render_answer(body: bytes) -> bytes:
    """Return a whole answer with status 200."""
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (_ANSWER, len(body), body)
