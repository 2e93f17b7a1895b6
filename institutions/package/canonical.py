"""Canonical JSON: RFC 8785 in a restricted profile that leaves no room for ambiguity.

No floats (amounts are strings), integers within ±(2^53 − 1), ASCII keys, strings in NFC without
lone surrogates, bounded depth, size and number of values. The parser refuses duplicate keys and
anything not already in canonical form.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any, ClassVar, NoReturn

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 16
STRING_MAX = 64 * 1024
VALUES_MAX = 100_000
"""Enough for a 4 MiB package with proofs; parsing a value takes about eight microseconds."""
DIGITS_MAX = 100
"""Longest integer: parsing one takes quadratic time."""
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b"[]{},")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class CanonicalError(ValueError):
    """A value or text outside the profile."""

    exit_code: ClassVar[int] = 2


def check_value(value: Any, depth: int = 0) -> None:
    """Raise `CanonicalError` unless a value lies within the profile."""
    if depth > DEPTH_MAX:
        raise CanonicalError(f"nested deeper than {DEPTH_MAX}")
    kind = type(value)
    if kind is str:
        if len(value) > STRING_MAX or not value.isascii():
            _check_string(value)
    elif kind is list or kind is tuple:
        for item in value:
            check_value(item, depth + 1)
    elif kind is int:
        if abs(value) > INTEGER_MAX:
            raise CanonicalError("integer beyond 2^53 − 1: write it as a string")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise CanonicalError(f"key {key!r} is not ASCII text")
            check_value(item, depth + 1)
    elif isinstance(value, str):  # a member of an enumeration
        _check_string(str(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        check_value(int(value), depth)
    elif value is not None and kind is not bool:
        raise CanonicalError(f"{kind.__name__} is not allowed; write it as a string")


def _check_string(text: str) -> None:
    if len(text) > STRING_MAX:
        raise CanonicalError("string too long")
    if text.isascii():
        return
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise CanonicalError("string with a lone surrogate")
    if not unicodedata.is_normalized("NFC", text):
        raise CanonicalError("string not in Unicode NFC")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def encode_canonical(value: Any) -> bytes:
    """Return the canonical encoding of a value.

    Within the profile (no floats, ASCII keys) it is what Python's encoder writes with sorted keys
    and without spaces; `test_the_encoding_is_that_of_rfc_8785` compares it with a library.
    """
    check_value(value)
    return _encode(value).encode()


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CanonicalError(f"key {key[:60]!r} twice in one object")
            seen.add(key)
    return found


def _refuse_number(text: str) -> NoReturn:
    raise CanonicalError(f"number {text[:20]} is not an integer")


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise CanonicalError(f"number {text[:20]} is beyond what a double holds")
    return number


def _read_integer(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise CanonicalError(f"an integer of more than {DIGITS_MAX} digits")
    return int(text)


def _check_bounds(data: bytes) -> None:
    """Refuse data that would keep the parser busy, or exhaust its C stack (py-evm lifts the limit).

    Once escapes are removed, every second piece between quotation marks is a string. The parser
    fails at a backslash outside of strings, so what follows need not be understood.
    """
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') <= 4 * VALUES_MAX + 2:  # a key and a value for each comma and bracket
        marks = b"".join(plain.split(b'"')[::2]).translate(_ONE_KIND, _NO_MARKS)
        if marks.count(b"[") + marks.count(b",") <= VALUES_MAX:
            brackets = marks.replace(b",", b"")
            for _ in range(DEPTH_MAX + 1):
                brackets = brackets.replace(b"[]", b"")  # one level less
            if brackets:
                raise CanonicalError(f"nested deeper than {DEPTH_MAX}, or brackets do not match")
            return
    raise CanonicalError(f"more than {VALUES_MAX} values")


def load_json(data: bytes) -> Any:
    """Return the value of JSON that need not be canonical, but can be encoded again.

    Raises:
        CanonicalError: not JSON, too deep, too many values, a key twice in one object, or with
            values that JSON lacks: NaN, 1e999, lone surrogates.
    """
    _check_bounds(data)
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_refuse_duplicates,
            parse_int=_read_integer,
            parse_float=_read_float,
            parse_constant=_refuse_number,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except CanonicalError:
        raise
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 30) : error.start]
        raise CanonicalError(f"a text with half of a surrogate pair, after {around!r}") from error
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not JSON ({error})") from error
    return value


def decode_canonical(data: bytes, size_max: int) -> Any:
    """Return the value that canonical bytes encode; `CanonicalError` says what is wrong."""
    if len(data) > size_max:
        raise CanonicalError(f"{len(data)} bytes; at most {size_max}")
    _check_bounds(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
            parse_int=_read_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except CanonicalError:
        raise
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not JSON ({error})") from error
    if encode_canonical(value) != data:
        raise CanonicalError("not in canonical form")
    return value
