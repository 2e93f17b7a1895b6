"""0x06 and 0x07: addition and multiplication on alt_bn128's first group (EIP-196).

Points are affine, on y² = x³ + 3 over the prime field, except inside a multiplication.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from lowu.node.errors import BadInput

P = mpz(21888242871839275222246405745257275088696311157297823662689037894645226208583)
"""The field's prime."""
ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The number of points: a prime, so every point except infinity generates the group."""

Point = tuple[mpz, mpz] | None
"""Coordinates below `P`, or None: the point at infinity, written (0, 0) in inputs."""

_BETA = mpz(2203960485148121921418603742825762020974279258880205651966)
_LAMBDA = 4407920970296243842393367215006156084916469457145843978461
"""[λ](x, y) = (βx, y), where β³ = 1 in the field and λ³ = 1 modulo the order."""
_SHORT = 9931322734385697763
_LONG = 147946756881789319000765030803803410728
"""−short + long·λ and −(long + short) − short·λ are 0 modulo the order: a lattice basis."""
_WINDOW = 4
"""A factor's digits are 0, or odd with an absolute value below 2³ and three zeros or more
between them."""


def ecadd(data: bytes) -> bytes:
    """Return the sum of two points of 64 bytes; `BadInput` if one is not on the curve."""
    data = data[:128].ljust(128, b"\0")
    return write_point(add(read_point(data[:64]), read_point(data[64:])))


def ecmul(data: bytes) -> bytes:
    """Return a point (64 bytes) times a number (32 bytes); `BadInput` if not on the curve."""
    data = data[:96].ljust(96, b"\0")
    return write_point(multiply(read_point(data[:64]), int.from_bytes(data[64:], "big")))


def read_point(data: bytes) -> Point:
    """Read 64 bytes; `BadInput` if they are not a point on the curve."""
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
    """Return `point` times `factor`, a non-negative number.

    The factor is split into two of half its length, for the point P and for [λ]P, which share
    the doublings (Gallant, Lambert and Vanstone 2001).
    """
    if point is None:
        return None
    first, second = split(factor % ORDER)
    twice = add(point, point)
    odd: list[tuple[mpz, mpz]] = [point]
    while len(odd) < 2 ** (_WINDOW - 2):
        odd.append(add(odd[-1], twice) or point)  # never infinity: the order is a large prime
    images = [(_BETA * x % P, y) for x, y in odd]
    places: dict[int, list[tuple[mpz, mpz]]] = {}
    for number, table in ((first, odd), (second, images)):
        for place, digit in find_digits(number).items():
            x, y = table[abs(digit) >> 1]
            places.setdefault(place, []).append((x, y) if digit > 0 else (x, P - y))
    return _add_up(places)


def _add_up(places: dict[int, list[tuple[mpz, mpz]]]) -> Point:
    """Return the sum of the points, each times 2^place.

    Works in Jacobian coordinates, x/z² and y/z³, where z = 0 is infinity: a doubling without an
    inversion takes half the time.
    """
    x, y, z = mpz(0), mpz(1), mpz(0)
    for place in range(max(places, default=0), -1, -1):
        y2 = y * y % P
        middle, slope = 4 * x * y2 % P, 3 * x * x % P
        z = 2 * y * z % P
        x = (slope * slope - 2 * middle) % P
        y = (slope * (middle - x) - 8 * y2 * y2) % P
        for point in places.get(place, ()):
            px, py = point
            z2 = z * z % P
            run = (px * z2 - x) % P
            if not z or not run:  # nothing added yet, or the same point, or its negative
                x, y, z = _lift(add(_lower(x, y, z), point))
                continue
            rise = (py * z2 * z - y) % P
            run2 = run * run % P
            run3, middle = run * run2 % P, x * run2
            z = z * run % P
            x = (rise * rise - run3 - 2 * middle) % P
            y = (rise * (middle - x) - y * run3) % P
    return _lower(x, y, z)


def _lift(point: Point) -> tuple[mpz, mpz, mpz]:
    return (mpz(0), mpz(1), mpz(0)) if point is None else (*point, mpz(1))


def _lower(x: mpz, y: mpz, z: mpz) -> Point:
    if not z:
        return None
    inverse = gmpy2.invert(z, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def split(factor: int) -> tuple[int, int]:
    """Return (a, b) with a + bλ = `factor` modulo the order, each of some 128 bits, any sign."""
    first = (2 * -_SHORT * factor + ORDER) // (2 * ORDER)
    second = (2 * -_LONG * factor + ORDER) // (2 * ORDER)
    return (
        factor + first * _SHORT + second * (_LONG + _SHORT),
        second * _SHORT - first * _LONG,
    )


def find_digits(factor: int) -> dict[int, int]:
    """Return the non-adjacent form: digits d by their places, with Σ d·2^place = `factor`."""
    digits, place = {}, 0
    while factor:
        zeros = (factor & -factor).bit_length() - 1
        factor >>= zeros
        digit = factor & (1 << _WINDOW) - 1
        if digit >> _WINDOW - 1:
            digit -= 1 << _WINDOW
        digits[place + zeros] = digit
        factor = factor - digit >> _WINDOW
        place += zeros + _WINDOW
    return digits
