"""Untrusted JSON: bounded, in UTF-8 only, and only with values that can be serialised again.

py-evm raises the interpreter's recursion limit so far that the JSON parser would run out of C
stack, and crash the process, before it reached that limit. So the nesting is bounded in the bytes
before they are parsed. That works for UTF-8 only; the parser would accept UTF-16 and UTF-32 too.

Python reads more than JSON allows: NaN, Infinity, 1e999 (as Infinity), lone surrogates. A node
that echoed such a value, as in an id, would break the client's parser: all are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

DEPTH_MAX = 64
VALUES_MAX = 200_000
"""Most values in a request: it still parses in a moment, and the largest batch has far fewer."""
DIGITS_MAX = 100
"""Most digits of an integer: a 256-bit number has at most 78, and parsing takes quadratic time."""
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def load_json(text: bytes, values_max: int = VALUES_MAX) -> Any:
    """Return the value in a JSON text; ValueError says what is wrong with it."""
    if sum(map(text.count, (b"[", b"{", b","))) > values_max:
        raise ValueError(f"of more than {values_max} values")
    if _is_nested_too_deeply(text, values_max):
        raise ValueError(f"nested deeper than {DEPTH_MAX}, or unbalanced")
    try:
        value = _DECODER.decode(text.decode())
        if rb"\u" in text and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("with half of a surrogate pair, which is not a character") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not JSON in UTF-8") from error
    return value


def _is_nested_too_deeply(text: bytes, values_max: int) -> bool:
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return False
    # Without escapes, every second piece between quotation marks is a string. The parser fails at
    # a backslash outside strings, so the text after it does not matter.
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * values_max + 2:  # a key and a value for each comma and bracket
        raise ValueError(f"of more than {values_max} values")
    brackets = b"".join(plain.split(b'"')[::2]).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        shorter = brackets.replace(b"[]", b"")  # one level less
        if shorter == brackets:
            break
        brackets = shorter
    return bool(brackets)


def _read_integer(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError(f"with an integer of more than {DIGITS_MAX} digits")
    return int(text)


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("with a number that is beyond what a double holds")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"with {text}, which is not JSON")


_DECODER = json.JSONDecoder(
    parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse_constant
)
