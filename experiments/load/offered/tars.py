"""Writes structures in Tars' binary form: as much of it as a transaction of FISCO BCOS 3.x needs.

A field begins with its tag in the upper half of a byte and its type in the lower one.
"""

from __future__ import annotations

INT_TYPES = ((0, 1), (1, 2), (2, 4), (3, 8))
"""Types of whole numbers, with how many bytes they take."""
SHORT_TEXT, LONG_TEXT = 6, 7
STRUCT_BEGIN, STRUCT_END, ZERO, BYTES = 10, 11, 12, 13
SHORT_MAX = 255
TAG_MAX = 14


class TarsWriter:
    """Fields of one structure, in the order of their tags."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @property
    def written(self) -> bytes:
        """All fields so far."""
        return b"".join(self._parts)

    def _begin(self, tag: int, kind: int) -> None:
        if not 0 <= tag <= TAG_MAX:
            raise ValueError(f"no tag of one byte: {tag}")
        self._parts.append(bytes([tag << 4 | kind]))

    def write_int(self, tag: int, value: int) -> None:
        """Write a whole number in as few bytes as hold it."""
        if value == 0:
            self._begin(tag, ZERO)
            return
        for kind, size in INT_TYPES:
            if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
                self._begin(tag, kind)
                self._parts.append(value.to_bytes(size, "big", signed=True))
                return
        raise ValueError(f"no number of 64 bits: {value}")

    def write_text(self, tag: int, text: str) -> None:
        """Write a text, as UTF-8."""
        data = text.encode()
        if len(data) <= SHORT_MAX:
            self._begin(tag, SHORT_TEXT)
            self._parts += [bytes([len(data)]), data]
        else:
            self._begin(tag, LONG_TEXT)
            self._parts += [len(data).to_bytes(4, "big"), data]

    def write_bytes(self, tag: int, data: bytes) -> None:
        """Write bytes: their own type, that of what they consist of, their number, themselves."""
        self._begin(tag, BYTES)
        self._parts.append(b"\0")
        self.write_int(0, len(data))
        self._parts.append(data)

    def write_struct(self, tag: int, fields: TarsWriter) -> None:
        """Write a structure within this one."""
        self._begin(tag, STRUCT_BEGIN)
        self._parts.append(fields.written)
        self._begin(0, STRUCT_END)
