"""The tags that keep hashes of different things apart (docs/PACKAGE.md)."""

from __future__ import annotations

from functools import cache

VERSION = 2
FIRST_VERSION = 1
"""Packages of version 1 can still be read; nothing is made in it."""

_OLD_NAMES = {"subject": "subj"}


@cache
def tag(name: str, version: int = VERSION) -> bytes:
    """Return the tag of a name; of version 2, no tag is a prefix of another."""
    if version == FIRST_VERSION:
        return b"dvp1-" + _OLD_NAMES.get(name, name).encode()
    text = f"dvp2-{name}".encode()
    return bytes([len(text)]) + text


def frame(data: bytes) -> bytes:
    """Return bytes after their length in two bytes."""
    return len(data).to_bytes(2, "big") + data
