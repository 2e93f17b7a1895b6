"""A document as typed, salted leaves under a Merkle root.

Each scalar, file, array and object of a document is a leaf: its path (RFC 6901), the kinds of the
containers on the way, a type byte, its value and a salt of 32 bytes. The type byte keeps 1 and "1"
apart, the kinds keep ["v"] and {"0": "v"} apart, and a container's value is its size, so a reader
can tell whether all of it is shown. Pad leaves hide the number of fields. Leaves stand in the order
of their salts, which says nothing about those that are not shown. Leaves and nodes are hashed with
different prefixes (RFC 9162).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any
from unicodedata import is_normalized, normalize

from lowu.institutions.package.canonical import STRING_MAX
from lowu.institutions.package.forms import (
    INTEGER_MAX,
    PATH_BYTES_MAX,
    PATH_STEPS_MAX,
    FormError,
    escape_step,
    split_path,
)
from lowu.institutions.package.tags import FIRST_VERSION, VERSION, tag

PAD_BUCKETS = (32, 64, 128, 192, 256, 384, 512)
LEAVES_MAX = PAD_BUCKETS[-1]
MEDIA_TYPE_MAX = 127
ANY_MEDIA_TYPE = "application/octet-stream"
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+\Z")
_INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,15})\Z")
_COUNT = re.compile(r"(0|[1-9][0-9]{0,15})\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+\Z")


class LeafType(IntEnum):
    """The type byte of a leaf."""

    NULL = 0
    FALSE = 1
    TRUE = 2
    INTEGER = 3
    DECIMAL = 4
    STRING = 5
    DATE = 6
    ARRAY = 7
    OBJECT = 8
    FILE = 9
    PAD = 15


CONTAINERS = (LeafType.ARRAY, LeafType.OBJECT)
KINDS = {LeafType.ARRAY: "a", LeafType.OBJECT: "o"}
"""The letter that stands for a container in the kinds of what it contains."""
_TEXTS = (LeafType.DECIMAL, LeafType.STRING, LeafType.DATE)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file whose digest, size and media type stand in a document; its bytes travel beside it."""

    data: bytes
    media_type: str = ANY_MEDIA_TYPE

    def __post_init__(self) -> None:
        if not is_media_type(self.media_type):
            raise ValueError(f"{self.media_type!r} is not a media type, such as image/png")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).digest()

    @property
    def value(self) -> str:
        """The value of the file's leaf."""
        return f"sha-256:{self.digest.hex()}:{len(self.data)}:{self.media_type}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field or container, with its position in the tree."""

    index: int
    path: str
    kinds: str
    """For each step of the path, "o" for a key or "a" for a position; empty in version 1."""
    type: LeafType
    value: str
    salt: bytes


def is_media_type(text: str) -> bool:
    """Whether a text is a media type: type/subtype, in lower case."""
    return len(text) <= MEDIA_TYPE_MAX and _MEDIA_TYPE.match(text) is not None


# --- from a document ------------------------------------------------------------------------------


def flatten(value: Any) -> Iterator[tuple[str, str, LeafType, str]]:
    """Yield path, kinds, type and value text of each leaf of a document.

    Raises:
        ValueError: a value, a field name or a path cannot stand in a document.
    """
    yield from _flatten(value, "", 0, "")


def _flatten(
    value: Any, path: str, depth: int, kinds: str
) -> Iterator[tuple[str, str, LeafType, str]]:
    if depth > PATH_STEPS_MAX or (
        4 * len(path) > PATH_BYTES_MAX and len(path.encode()) > PATH_BYTES_MAX
    ):
        raise ValueError(
            f"{path[:60]}…: a path has at most {PATH_STEPS_MAX} steps and {PATH_BYTES_MAX} bytes"
        )
    match value:
        case dict():
            yield path, kinds, LeafType.OBJECT, str(len(value))
            for key in value:
                _check_name(key, path)
                below = f"{path}/{escape_step(key)}"
                yield from _flatten(value[key], below, depth + 1, kinds + "o")
        case list():
            yield path, kinds, LeafType.ARRAY, str(len(value))
            for position, item in enumerate(value):
                yield from _flatten(item, f"{path}/{position}", depth + 1, kinds + "a")
        case _:
            yield path, kinds, *_describe(value, path)


def _check_name(name: object, path: str) -> None:
    is_text = isinstance(name, str) and (name.isascii() or is_normalized("NFC", name))
    if not is_text:
        raise ValueError(f"{path}: the field name {name!r} must be a text in Unicode NFC")


def _describe(value: Any, path: str) -> tuple[LeafType, str]:
    match value:
        case None:
            return LeafType.NULL, ""
        case bool():
            return (LeafType.TRUE if value else LeafType.FALSE), ""
        case int():
            if abs(value) > INTEGER_MAX:
                raise ValueError(f"{path}: integer beyond ±(2^53 − 1); write it as a string")
            return LeafType.INTEGER, str(value)
        case str():
            _check_text(value, path)
            return type_of_text(value), value
        case Attachment():
            return LeafType.FILE, value.value
    raise ValueError(
        f"{path}: {type(value).__name__} cannot stand in a document; write amounts as strings"
    )


def _check_text(text: str, path: str) -> None:
    """Raise `ValueError` unless a text can stand in a package."""
    if len(text) > STRING_MAX:
        raise ValueError(f"{path}: a text of {len(text)} characters; at most {STRING_MAX}")
    if text.isascii() or is_normalized("NFC", text):
        return
    other = normalize("NFC", text)
    place = next(at for at, char in enumerate(text) if other[at : at + 1] != char)
    char = text[place]
    raise ValueError(
        f"{path}: {_name_char(char)} in a text that is not in Unicode NFC, which has "
        f"{_name_char(other[place : place + 1])} there; write the text in NFC"
    )


def _name_char(char: str) -> str:
    return f"{char!r} (U+{ord(char):04X})" if char else "nothing"


def type_of_text(text: str) -> LeafType:
    """Return the type of a string: a decimal number, a date of the calendar, or any other."""
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


def derive_pad(seed: bytes, number: int) -> Leaf:
    """Return a pad, not yet in its place; no path collides: paths are empty or begin with /."""
    return Leaf(number, "", "", LeafType.PAD, "", derive_salt(seed, f"pad {number}"))


def build_leaves(content: dict[str, Any], seed: bytes) -> tuple[Leaf, ...]:
    """Return a document's leaves, padded to a bucket size, in the order of their salts.

    Raises:
        ValueError: the document has too many leaves, or something that cannot stand in one.
    """
    rows = [(derive_salt(seed, row[0]), *row) for row in flatten(content)]
    if len(rows) > LEAVES_MAX:
        places = Counter(row[1].split("/", 2)[1] for row in rows if row[1])
        largest, count = places.most_common(1)[0]
        raise ValueError(
            f"/{largest}: {count} of the document's {len(rows)} leaves are there; at most "
            f"{LEAVES_MAX} leaves, one for each value, list and object, fit in one document"
        )
    bucket = next(size for size in PAD_BUCKETS if size >= len(rows))
    pads = (derive_salt(seed, f"pad {number}") for number in range(bucket - len(rows)))
    rows += [(salt, "", "", LeafType.PAD, "") for salt in pads]
    rows.sort(key=itemgetter(0))
    return tuple(
        Leaf(index, path, kinds, kind, value, salt)
        for index, (salt, path, kinds, kind, value) in enumerate(rows)
    )


def place_leaves(leaves: Iterable[Leaf]) -> tuple[Leaf, ...]:
    """Return leaves in the order of their salts, each with its index."""
    ordered = sorted(leaves, key=attrgetter("salt"))
    return tuple(
        Leaf(index, leaf.path, leaf.kinds, leaf.type, leaf.value, leaf.salt)
        for index, leaf in enumerate(ordered)
    )


# --- from a package -------------------------------------------------------------------------------


def check_leaf(leaf: Leaf, version: int) -> None:
    """Raise `FormError` unless path, kinds, type and value of a leaf agree."""
    steps = split_path(leaf.path)
    if version != FIRST_VERSION:
        is_fit = len(leaf.kinds) == len(steps) and all(
            kind == "o" or (kind == "a" and _COUNT.match(step))
            for kind, step in zip(leaf.kinds, steps, strict=True)
        )
        if not is_fit:
            raise FormError(f"{leaf.path}: kinds {leaf.kinds!r} do not fit the path")
    elif leaf.kinds:
        raise FormError(f"{leaf.path}: version 1 has no kinds")
    if not _is_value(leaf, version):
        # Without the value: of what is rejected, nothing is shown.
        raise FormError(f"{leaf.path}: its value is not of type {leaf.type.name}")


def _is_value(leaf: Leaf, version: int) -> bool:
    match leaf.type:
        case LeafType.NULL | LeafType.FALSE | LeafType.TRUE:
            return leaf.value == ""
        case LeafType.INTEGER:
            return bool(_INTEGER.match(leaf.value)) and abs(int(leaf.value)) <= INTEGER_MAX
        case LeafType.DECIMAL | LeafType.STRING | LeafType.DATE:
            return type_of_text(leaf.value) is leaf.type
        case LeafType.ARRAY | LeafType.OBJECT:
            if version == FIRST_VERSION:
                return leaf.value == ""
            return bool(_COUNT.match(leaf.value)) and int(leaf.value) < LEAVES_MAX
        case LeafType.FILE:
            return _is_file(leaf.value, version)
    return False


def _is_file(value: str, version: int) -> bool:
    parts = value.split(":", 3)
    if len(parts) != (3 if version == FIRST_VERSION else 4):
        return False
    is_described = parts[0] == "sha-256" and _DIGEST.match(parts[1]) and _COUNT.match(parts[2])
    return bool(is_described) and (version == FIRST_VERSION or is_media_type(parts[3]))


def is_file_of(data: bytes, value: str) -> bool:
    """Whether a file has the digest and the size that the value of its leaf gives."""
    return value.split(":")[1:3] == [hashlib.sha256(data).hexdigest(), str(len(data))]


@lru_cache(maxsize=256)
def _leaf_prefix(schema_number: int, version: int) -> bytes:
    return b"\x00" + tag("leaf", version) + schema_number.to_bytes(4, "big")


def hash_leaf(schema_number: int, leaf: Leaf, version: int = VERSION) -> bytes:
    """Return the hash of a leaf; it binds schema, path, kinds, type, value and salt."""
    path, kinds, value = leaf.path.encode(), leaf.kinds.encode(), leaf.value.encode()
    if version != FIRST_VERSION:
        kinds = len(kinds).to_bytes(2, "big") + kinds
    parts = (
        _leaf_prefix(schema_number, version),
        len(path).to_bytes(2, "big"),
        path,
        kinds,
        bytes((leaf.type,)),
        len(value).to_bytes(4, "big"),
        value,
        leaf.salt,
    )
    return hashlib.sha256(b"".join(parts)).digest()


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
