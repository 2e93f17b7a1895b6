"""A document as typed, salted leaves under a Merkle root.

Each scalar, empty array and empty object of a document is a leaf: its path (RFC 6901), a type
byte, its value and a salt of 32 bytes. The type byte keeps 1 and "1" apart. Empty containers are
leaves, so that nothing can be added unnoticed (open-attestation #277). Pad leaves hide the number
of fields. Leaves and nodes are hashed with different prefixes (RFC 9162).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Any

PAD_BUCKETS = (32, 64, 128, 256)
LEAVES_MAX = PAD_BUCKETS[-1]
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


class LeafType(IntEnum):
    """The type byte of a leaf."""

    NULL = 0
    FALSE = 1
    TRUE = 2
    INTEGER = 3
    DECIMAL = 4
    STRING = 5
    DATE = 6
    EMPTY_ARRAY = 7
    EMPTY_OBJECT = 8
    FILE = 9
    PAD = 15


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file whose digest and size stand in a document; its bytes travel beside it."""

    data: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).digest()

    @property
    def value(self) -> str:
        """The value of the file's leaf."""
        return f"sha-256:{self.digest.hex()}:{len(self.data)}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field with its position in the tree."""

    index: int
    path: str
    type: LeafType
    value: str
    salt: bytes


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, LeafType, str]]:
    """Yield path, type and value text of each leaf of a document."""
    match value:
        case dict() if value:
            for key in value:
                yield from flatten(value[key], f"{path}/{_escape(key)}")
        case list() if value:
            for position, item in enumerate(value):
                yield from flatten(item, f"{path}/{position}")
        case _:
            yield path, *_describe(value)


def _describe(value: Any) -> tuple[LeafType, str]:
    match value:
        case None:
            return LeafType.NULL, ""
        case bool():
            return (LeafType.TRUE if value else LeafType.FALSE), ""
        case int():
            return LeafType.INTEGER, str(value)
        case str():
            return _text_type(value), value
        case dict():
            return LeafType.EMPTY_OBJECT, ""
        case list():
            return LeafType.EMPTY_ARRAY, ""
        case Attachment():
            return LeafType.FILE, value.value
    raise ValueError(f"{type(value).__name__} cannot stand in a document")


def _text_type(text: str) -> LeafType:
    if _DECIMAL.match(text):
        return LeafType.DECIMAL
    if _DATE.match(text):
        try:
            date.fromisoformat(text)
        except ValueError:
            return LeafType.STRING
        return LeafType.DATE
    return LeafType.STRING


def derive_salt(seed: bytes, path: str) -> bytes:
    """Return the salt of a path; one salt reveals nothing about the others."""
    return hmac.digest(seed, b"salt" + path.encode(), "sha256")


def derive_pad_salt(seed: bytes, index: int) -> bytes:
    """Return the salt of a pad leaf; no path collides: paths are empty or begin with /."""
    return derive_salt(seed, f"pad {index}")


def build_leaves(content: dict[str, Any], seed: bytes) -> tuple[Leaf, ...]:
    """Return a document's leaves sorted by path, padded to a bucket size.

    Raises:
        ValueError: the document has more than 256 leaves.
    """
    fields = sorted(flatten(content), key=lambda item: item[0].encode())
    if len(fields) > LEAVES_MAX:
        raise ValueError(f"document has {len(fields)} leaves; at most {LEAVES_MAX}")
    leaves = [
        Leaf(index, path, kind, value, derive_salt(seed, path))
        for index, (path, kind, value) in enumerate(fields)
    ]
    bucket = next(size for size in PAD_BUCKETS if size >= len(fields))
    leaves += [
        Leaf(index, "", LeafType.PAD, "", derive_pad_salt(seed, index))
        for index in range(len(fields), bucket)
    ]
    return tuple(leaves)


def hash_leaf(schema_number: int, leaf: Leaf) -> bytes:
    """Return the hash of a leaf; it binds schema, path, type, value and salt."""
    path, value = leaf.path.encode(), leaf.value.encode()
    return hashlib.sha256(
        b"\x00dvp1-leaf"
        + schema_number.to_bytes(4, "big")
        + len(path).to_bytes(2, "big")
        + path
        + bytes([leaf.type])
        + len(value).to_bytes(4, "big")
        + value
        + leaf.salt
    ).digest()


def split(count: int) -> int:
    """Return the size of the left subtree: the largest power of two below `count` (RFC 9162)."""
    return 1 << ((count - 1).bit_length() - 1)


def compute_root(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle root over leaf hashes; nothing is duplicated."""
    if not hashes:
        raise ValueError("a tree has at least one leaf")
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    left, right = compute_root(hashes[:middle]), compute_root(hashes[middle:])
    return hashlib.sha256(b"\x01" + left + right).digest()
