"""Reads untrusted values and checks every field for type, size and range.

Any violation raises `FormError`, which names the field and the rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

INTEGER_MAX = 2**53 - 1
NAME_MAX = 64
PATH_MAX = 512


class FormError(ValueError):
    """A value in the wrong form; `is_version` if only its version or suite is unknown."""

    def __init__(self, text: str, *, is_version: bool = False) -> None:
        super().__init__(text)
        self.is_version = is_version


def read_object(value: object, keys: Iterable[str], what: str) -> dict[str, Any]:
    """Return an object with exactly these keys."""
    wanted = set(keys)
    if not isinstance(value, dict) or set(value) != wanted:
        raise FormError(f"{what}: an object with {', '.join(sorted(wanted))}")
    return value


def read_list(value: object, size_max: int, what: str) -> list[Any]:
    """Return a list of bounded length."""
    if not isinstance(value, list) or len(value) > size_max:
        raise FormError(f"{what}: a list of at most {size_max}")
    return value


def read_row(value: object, width: int, what: str) -> list[Any]:
    """Return a list of exactly `width` entries."""
    if not isinstance(value, list) or len(value) != width:
        raise FormError(f"{what}: lists of {width} entries")
    return value


def read_integer(value: object, what: str, value_max: int = INTEGER_MAX) -> int:
    """Return an integer from 0 to a bound."""
    if type(value) is not int or not 0 <= value <= value_max:
        raise FormError(f"{what}: an integer from 0 to {value_max}")
    return value


def read_text(value: object, what: str, size_max: int = NAME_MAX) -> str:
    """Return a text of bounded length."""
    if not isinstance(value, str) or len(value) > size_max:
        raise FormError(f"{what}: a text of at most {size_max} characters")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise FormError(f"{what}: a text without lone surrogates")
    return value


def read_bool(value: object, what: str) -> bool:
    """Return a boolean."""
    if type(value) is not bool:
        raise FormError(f"{what}: true or false")
    return value


def read_hex(value: object, size: int, what: str) -> bytes:
    """Return `size` bytes from lower-case hex."""
    if not isinstance(value, str) or len(value) != 2 * size or value != value.lower():
        raise FormError(f"{what}: {size} bytes in lower-case hex")
    try:
        found = bytes.fromhex(value)
    except ValueError as error:
        raise FormError(f"{what}: not hex") from error
    if len(found) != size:
        raise FormError(f"{what}: {size} bytes in lower-case hex")
    return found


def read_bytes(value: object, size_max: int, what: str) -> bytes:
    """Return bytes of bounded length from lower-case hex."""
    if not isinstance(value, str) or len(value) > 2 * size_max:
        raise FormError(f"{what}: at most {size_max} bytes in lower-case hex")
    return read_hex(value, len(value) // 2, what)


def read_paths(value: object, size_max: int, what: str) -> tuple[str, ...]:
    """Return a list of paths into a document."""
    return tuple(read_text(item, what, PATH_MAX) for item in read_list(value, size_max, what))


def covers(prefixes: Iterable[str], path: str) -> bool:
    """Whether a path is, or lies below, one of `prefixes`; the empty prefix covers all paths."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)
