"""JSON of whoever: as UTF-8 only, and no deeper and with no more values than a bound.

py-evm raises the interpreter's recursion limit so far that the JSON parser would run out of C
stack, and take the process along, before it reached that limit. The bound is found in the bytes
before they are parsed; that holds for UTF-8, and the parser would take UTF-16 and UTF-32 too.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEPTH_MAX = 64
VALUES_MAX = 200_000
"""Of a request: what parses in a moment, and many times what the largest batch has."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Possessive, and to the end of the text if unclosed: linear whatever somebody sends."""
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def load_json(text: bytes, values_max: int = VALUES_MAX) -> Any:
    """Return the value in a JSON text; ValueError says what is wrong with it."""
    if sum(map(text.count, (b"[", b"{", b","))) > values_max:
        raise ValueError(f"of more than {values_max} values")
    if _is_nested_too_deeply(text):
        raise ValueError(f"nested deeper than {DEPTH_MAX}, or unbalanced")
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON in UTF-8") from error


def _is_nested_too_deeply(text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return False
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        shorter = brackets.replace(b"[]", b"")  # one level less
        if shorter == brackets:
            break
        brackets = shorter
    return bool(brackets)
