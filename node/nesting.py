"""How deeply a JSON text nests, found without parsing it.

py-evm raises the interpreter's recursion limit so far that the JSON parser would run out of C
stack, and take the process along, before it reached that limit.
"""

from __future__ import annotations

import re

DEPTH_MAX = 64
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Possessive, and to the end of the text if unclosed: linear whatever somebody sends."""
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def is_nested_too_deeply(text: bytes) -> bool:
    """Whether a JSON text nests deeper than `DEPTH_MAX` (or its brackets do not match)."""
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return False
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if shorter == brackets:
            break
        brackets = shorter
    return bool(brackets)
