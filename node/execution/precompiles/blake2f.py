"""0x09: BLAKE2b's compression function with a chosen number of rounds (EIP-152).

Each step handles the four columns of the state at once: a row of four 64-bit words is one
integer with 128 bits for each word, so that carries and rotations stay within their lanes.
"""

from __future__ import annotations

import struct

from lowu.node.execution.precompiles.pauses import Tick, go_on
from lowu.node.execution.precompiles.prices import count_rounds

_ROUNDS_AT_ONCE = 500
"""Takes 2 ms; a multiple of ten, the period of the rounds."""

_WORD = (1 << 64) - 1
_ROW = sum(_WORD << 128 * lane for lane in range(4))
"""Mask of the words: the lower half of each lane."""
_LANES = (1 << 512) - 1
_GAP = bytes(8)
"""The upper half of a lane."""
_IV = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_ORDERS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
"""Order of the message's words in each of ten rounds (RFC 7693, 2.7)."""
_PICKS = tuple(
    number for order in _ORDERS for first in (0, 1, 8, 9) for number in order[first : first + 8 : 2]
)
"""The same in order of use: each round adds four rows of four words."""


def blake2f(data: bytes, tick: Tick = go_on) -> bytes:
    """Return the new state of 64 bytes; `BadInput` for a wrong length or final flag.

    `data` is rounds (4 bytes, big-endian) and, little-endian, h (8 words), m (16), t (2) and the
    final flag (1 byte, 0 or 1). `tick` is called every few milliseconds.
    """
    rounds = count_rounds(data)
    h = struct.unpack_from("<8Q", data, 4)
    t0, t1 = struct.unpack_from("<2Q", data, 196)
    words = [data[at : at + 8] + _GAP for at in range(68, 196, 8)]
    a, b = _pack(h[:4]), _pack(h[4:])
    c, d = _pack(_IV[:4]), _pack((_IV[4] ^ t0, _IV[5] ^ t1, _IV[6] ^ -data[212] & _WORD, _IV[7]))
    for begun in range(0, rounds, _ROUNDS_AT_ONCE):
        a, b, c, d = _mix(a, b, c, d, min(_ROUNDS_AT_ONCE, rounds - begun), words)
        tick()
    return struct.pack("<8Q", *map(int.__xor__, h, _unpack(a ^ c) + _unpack(b ^ d)))


def _pack(row: tuple[int, ...]) -> int:
    return row[0] | row[1] << 128 | row[2] << 256 | row[3] << 384


def _unpack(row: int) -> tuple[int, ...]:
    return tuple(row >> 128 * lane & _WORD for lane in range(4))


def _lay_out(words: list[bytes], rounds: int) -> list[list[int]]:
    """Return the four rows that each round adds, for at most ten rounds, since they repeat."""
    rows = b"".join([words[number] for number in _PICKS[: 16 * rounds]])
    return [
        [int.from_bytes(rows[at : at + 64], "little") for at in range(start, start + 256, 64)]
        for start in range(0, len(rows), 256)
    ]


def _mix(
    a: int, b: int, c: int, d: int, rounds: int, words: list[bytes]
) -> tuple[int, int, int, int]:
    """Mix the four rows for `rounds` rounds.

    Written out, because a call would cost as much as a step. With a lane's word copied into its
    upper half (``d << 64 | d``), a shift is a rotation.
    """
    row, lanes = _ROW, _LANES
    layouts = _lay_out(words, rounds)
    for number in range(rounds):
        first, second, third, fourth = layouts[number % 10]
        a = (a + b + first) & row
        d ^= a
        d = ((d << 64 | d) >> 32) & row
        c = (c + d) & row
        b ^= c
        b = ((b << 64 | b) >> 24) & row
        a = (a + b + second) & row
        d ^= a
        d = ((d << 64 | d) >> 16) & row
        c = (c + d) & row
        b ^= c
        b = ((b << 64 | b) >> 63) & row
        # rotate the rows so that the diagonals become columns
        b = b >> 128 | b << 384 & lanes
        c = c >> 256 | c << 256 & lanes
        d = d >> 384 | d << 128 & lanes
        a = (a + b + third) & row
        d ^= a
        d = ((d << 64 | d) >> 32) & row
        c = (c + d) & row
        b ^= c
        b = ((b << 64 | b) >> 24) & row
        a = (a + b + fourth) & row
        d ^= a
        d = ((d << 64 | d) >> 16) & row
        c = (c + d) & row
        b ^= c
        b = ((b << 64 | b) >> 63) & row
        b = b >> 384 | b << 128 & lanes
        c = c >> 256 | c << 256 & lanes
        d = d >> 128 | d << 384 & lanes
    return a, b, c, d
