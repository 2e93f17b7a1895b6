"""Reads untrusted values and checks every field for type, size and range.

Any violation raises `FormError`, which names the field and the rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_BAD_ESCAPE = re.compile(r"~(?![01])")
INTEGER_MAX = 2**53 - 1
NAME_MAX = 64
PATH_BYTES_MAX = 1_024
PATH_STEPS_MAX = 32


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
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
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


def escape_step(step: str) -> str:
    """Return a step as it stands in a pointer."""
    return step.replace("~", "~0").replace("/", "~1")


def join_path(steps: Iterable[str]) -> str:
    """Return the pointer (RFC 6901) of steps into a document."""
    return "".join("/" + escape_step(step) for step in steps)


@lru_cache(maxsize=4_096)
def split_path(path: str) -> tuple[str, ...]:
    """Return the steps of a pointer (RFC 6901).

    Raises:
        FormError: it is not a pointer, or longer than a document's paths may be.
    """
    if len(path) > PATH_BYTES_MAX or len(path.encode()) > PATH_BYTES_MAX:
        raise FormError(f"{path[:60]}…: a path has at most {PATH_BYTES_MAX} bytes")
    if path == "":
        return ()
    if not path.startswith("/") or _BAD_ESCAPE.search(path):
        raise FormError(f"{path!r} is not a JSON Pointer (RFC 6901), such as /summary/lenders")
    steps = path.split("/")[1:]
    if len(steps) > PATH_STEPS_MAX:
        raise FormError(f"{path[:60]}…: a path has at most {PATH_STEPS_MAX} steps")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def read_path(value: object, what: str) -> str:
    """Return a path into a document (RFC 6901)."""
    path = read_text(value, what, PATH_BYTES_MAX)
    split_path(path)
    return path


def read_paths(value: object, size_max: int, what: str) -> tuple[str, ...]:
    """Return a list of paths into a document."""
    return tuple(read_path(item, what) for item in read_list(value, size_max, what))


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return paths in their order, each once, without those below another of them."""
    found = dict.fromkeys(paths)
    if "" in found:
        return ("",)
    return tuple(
        path
        for path in found
        if not any(path[:at] in found for at, char in enumerate(path) if char == "/" and at)
    )


def covers(prefixes: Iterable[str], path: str) -> bool:
    """Whether a path is, or lies below, one of `prefixes`; the empty prefix covers all paths."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)
