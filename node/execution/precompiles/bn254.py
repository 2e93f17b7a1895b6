"""0x06 and 0x07: addition and multiplication on alt_bn128's first group (EIP-196).

Points are affine, y² = x³ + 3 over the prime field; GMP inverts in the time of some six
multiplications, so that affine formulas are as fast as projective ones and much shorter.
"""

from __future__ import annotations

from itertools import zip_longest

import gmpy2
from gmpy2 import mpz

from node.errors import BadInput

P = mpz(21888242871839275222246405745257275088696311157297823662689037894645226208583)
"""The field's prime."""
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The number of points: a prime, so that every point but infinity generates the group."""

Point = tuple[mpz, mpz] | None
"""Coordinates below `P`, or None: the point at infinity, written (0, 0) in inputs."""

_BETA = mpz(2203960485148121921418603742825762020974279258880205651966)
_LAMBDA = 4407920970296243842393367215006156084916469457145843978461
"""[λ](x, y) = (βx, y), where β³ = 1 in the field and λ³ = 1 modulo the order."""
_SHORT = 9931322734385697763
_LONG = 147946756881789319000765030803803410728
"""−short + long·λ and −(long + short) − short·λ are 0 modulo the order: a basis of such pairs."""
_WINDOW = 5
"""Digits of a factor are odd numbers below 2⁴, or 0, with at least four zeros between."""


def ecadd(data: bytes) -> bytes:
    """Return the sum of two points of 64 bytes; `BadInput` if one is not on the curve."""
    data = data[:128].ljust(128, b"\0")
    return write_point(add(read_point(data[:64]), read_point(data[64:])))


def ecmul(data: bytes) -> bytes:
    """Return a point (64 bytes) times a number (32 bytes); `BadInput` if it is not on the curve."""
    data = data[:96].ljust(96, b"\0")
    return write_point(multiply(read_point(data[:64]), int.from_bytes(data[64:], "big")))


def read_point(data: bytes) -> Point:
    """Read 64 bytes; `BadInput` if they are no point of the curve."""
    x, y = mpz.from_bytes(data[:32], "big"), mpz.from_bytes(data[32:], "big")
    if x >= P or y >= P:
        raise BadInput("a coordinate is not below the field's prime")
    if not x and not y:
        return None
    if (y * y - x * x * x - 3) % P:
        raise BadInput("the point is not on the curve")
    return x, y


def write_point(point: Point) -> bytes:
    """Return 64 bytes."""
    if point is None:
        return bytes(64)
    x, y = point
    return bytes(x.to_bytes(32, "big") + y.to_bytes(32, "big"))


def add(first: Point, second: Point) -> Point:
    """Return the sum of any two points."""
    if first is None:
        return second
    if second is None:
        return first
    (x1, y1), (x2, y2) = first, second
    if x1 != x2:
        slope = (y2 - y1) * gmpy2.invert(x2 - x1, P) % P
    elif y1 == y2:  # y is never 0: no point has order 2
        slope = 3 * x1 * x1 * gmpy2.invert(y1 + y1, P) % P
    else:
        return None
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(point: Point, factor: int) -> Point:
    """Return `point` times `factor`, any number that is not negative.

    The factor is split into two of half its length, for the point and for [λ] of it, which share
    the doublings (Gallant, Lambert and Vanstone 2001).
    """
    if point is None:
        return None
    first, second = split(factor % ORDER)
    odd: list[Point] = [point]
    twice = add(point, point)
    for _ in range(2 ** (_WINDOW - 2) - 1):
        odd.append(add(odd[-1], twice))
    images = [multiple and (_BETA * multiple[0] % P, multiple[1]) for multiple in odd]
    total: Point = None
    digits = zip_longest(find_digits(first), find_digits(second), fillvalue=0)
    for mine, others in reversed(list(digits)):
        total = add(total, total)
        if mine:
            total = add(total, _pick(odd, mine))
        if others:
            total = add(total, _pick(images, others))
    return total


def split(factor: int) -> tuple[int, int]:
    """Return (a, b) with a + bλ = `factor` modulo the order, each of some 128 bits, any sign."""
    first = (2 * -_SHORT * factor + ORDER) // (2 * ORDER)
    second = (2 * -_LONG * factor + ORDER) // (2 * ORDER)
    return (
        factor + first * _SHORT + second * (_LONG + _SHORT),
        second * _SHORT - first * _LONG,
    )


def find_digits(factor: int) -> list[int]:
    """Return digits d with Σ d·2ⁱ = `factor`, the lowest first: its non-adjacent form."""
    digits = []
    while factor:
        digit = 0
        if factor & 1:
            digit = factor & (1 << _WINDOW) - 1
            if digit >> _WINDOW - 1:
                digit -= 1 << _WINDOW
            factor -= digit
        digits.append(digit)
        factor >>= 1
    return digits


def _pick(odd: list[Point], digit: int) -> Point:
    """Return `digit` times the point whose odd multiples are given."""
    point = odd[abs(digit) >> 1]
    return point if point is None or digit > 0 else (point[0], P - point[1])
