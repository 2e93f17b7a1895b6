"""RLP of plain values, for hot paths.

The rlp library finds the kind of each value through abstract base classes, and reads each item
with several calls. Together that is half the time of decoding a transaction, apart from
recovering its sender. Only canonical encodings are accepted: bytes that do not encode back to
themselves are refused. Tests compare both directions with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any, TypeAlias

Item: TypeAlias = bytes | int | Sequence["Item"]
DEPTH_MAX = 16
"""Greatest nesting depth of lists; the records stored here need four."""
_SHORT_MAX = 55
_STRING = tuple(bytes((0x80 + size,)) for size in range(_SHORT_MAX + 1))
_LIST = tuple(bytes((0xC0 + size,)) for size in range(_SHORT_MAX + 1))


def encode_rlp(item: Item) -> bytes:
    """Return the RLP bytes of a string, a number (0 is the empty string), or a list of items."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        size = len(item)
        if size <= _SHORT_MAX:
            return item if size == 1 and item < b"\x80" else _STRING[size] + item
        return _long_prefix(0xB7, size) + item
    return encode_rlp_list([encode_rlp(member) for member in item])


def encode_rlp_list(members: Sequence[bytes]) -> bytes:
    """Return the RLP bytes of a list of already encoded items."""
    payload = b"".join(members)
    size = len(payload)
    return (_LIST[size] if size <= _SHORT_MAX else _long_prefix(0xF7, size)) + payload


def _long_prefix(offset: int, length: int) -> bytes:
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((offset + len(size),)) + size


def decode_rlp(data: bytes, items_max: int | None = None) -> Any:
    """Return the strings and lists in `data`; ValueError unless canonically encoded.

    With `items_max`, more strings and lists than that, in all lists together, are refused before
    they take memory: an item of one byte takes forty.
    """
    left = [len(data) if items_max is None else items_max]
    items, _ = _scan(data, 0, len(data), 0, left)
    if len(items) != 1:
        raise ValueError(f"RLP of {len(items)} items instead of one")
    return items[0]


def decode_rlp_list(data: bytes) -> tuple[list[Any], list[int]]:
    """Return the items of the list in `data`, the offset of each, and the end of the last one.

    Raises:
        ValueError: `data` is not one canonically encoded list.
    """
    start, end = _bounds(data, 0, len(data)) if data else (0, 0)
    if not data or data[0] < 0xC0 or end != len(data):
        raise ValueError("not one RLP list")
    return _scan(data, start, end, 1, [len(data)])


def _scan(
    data: bytes, at: int, end: int, depth: int, left: list[int]
) -> tuple[list[Any], list[int]]:
    """Return the items between two offsets, and their bounds; `left` has how many may follow."""
    if depth > DEPTH_MAX:
        raise ValueError("RLP lists are nested too deeply")
    items: list[Any] = []
    edges = [at]
    for _ in repeat(None, left[0] + 1):
        if at >= end:
            break
        head = data[at]
        if head < 0x80:
            stop = at + 1
            items.append(data[at:stop])
        elif head <= 0x80 + _SHORT_MAX:
            start, stop = at + 1, at + head - 0x7F
            if stop > end or (head == 0x81 and data[start] < 0x80):
                raise ValueError("RLP string is cut off, or longer than it need be")
            items.append(data[start:stop])
        else:
            start, stop = _bounds(data, at, end)
            items.append(
                data[start:stop] if head < 0xC0 else _scan(data, start, stop, depth + 1, left)[0]
            )
        edges.append(stop)
        at = stop
    left[0] -= len(items)
    if left[0] < 0:
        raise ValueError("RLP has too many items")
    return items, edges


def _bounds(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the start and end of the payload of a list or a long string."""
    head = data[at]
    offset = 0xF7 if head >= 0xC0 else 0xB7
    if head <= offset:
        start, size = at + 1, head - 0xC0
    else:
        start = at + 1 + head - offset
        size = int.from_bytes(data[at + 1 : start], "big")
        if start > end or size <= _SHORT_MAX or data[at + 1] == 0:
            raise ValueError("RLP length is cut off, or longer than it need be")
    if start + size > end:
        raise ValueError("RLP payload is cut off")
    return start, start + size
