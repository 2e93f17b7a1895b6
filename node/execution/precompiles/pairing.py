"""0x08: whether a product of pairings on alt_bn128 is 1 (EIP-197).

The optimal ate pairing (Vercauteren 2010). The Miller loop keeps the second group's point Q in
affine coordinates on the twist, y² = x³ + 3/(9 + u). It ends at [6x + 2]Q + πQ − π²Q, which is
−π³Q if and only if Q has the group's order: this is the check that EIP-197 requires, for free.

(Proof: π² − tπ + p = 0 on the twist, so a point that 6x + 2 + π − π² + π³ takes to infinity has
an order that divides the resultant of the two polynomials. The greatest common divisor of the
resultant and the twist's number of points, order · (2p − order), is the order itself.)
"""

from __future__ import annotations

from collections.abc import Iterator

from gmpy2 import mpz

from lowu.node.errors import BadInput
from lowu.node.execution.precompiles.bn254 import P, Point, read_point
from lowu.node.execution.precompiles.fp12 import (
    FROBENIUS,
    ONE,
    SLOT_BITS,
    Fp2,
    conjugate,
    frobenius,
    invert,
    invert2,
    is_one,
    multiply2,
    reduce,
    twist2,
)
from lowu.node.execution.precompiles.pauses import Tick, go_on
from lowu.node.execution.precompiles.prices import PAIR_BYTES

X = 4965661367192848881
"""The curve's parameter x: its prime is 36x⁴ + 36x³ + 24x² + 6x + 1."""
_B2 = multiply2((mpz(3), mpz(0)), invert2((mpz(9), mpz(1))))

Point2 = tuple[Fp2, Fp2]
Line = tuple[mpz, mpz, mpz, mpz, mpz]
"""Coefficients of 1, w, w⁷, w³ and w⁹."""


def find_signed_bits(number: int) -> list[int]:
    """Return the non-adjacent form's digits (−1, 0, 1), without the highest, which is 1."""
    bits = []
    while number > 1:
        bit = (2 - number % 4) if number & 1 else 0
        bits.append(bit)
        number = (number - bit) >> 1
    return bits[::-1]


_LOOP = find_signed_bits(6 * X + 2)
_X_BITS = find_signed_bits(X)


def check_pairing(data: bytes, tick: Tick = go_on) -> bytes:
    """Return 1 or 0 in 32 bytes; `BadInput` for a point outside its group.

    `tick` is called for each pair at each step.
    """
    pairs = []
    for at in range(0, len(data), PAIR_BYTES):
        pairs.append((read_point(data[at : at + 64]), read_point2(data[at + 64 : at + PAIR_BYTES])))
        tick()
    try:
        product = run_miller_loop([(p, q) for p, q in pairs if q is not None], tick)
    except ZeroDivisionError:  # two multiples are equal that differ for points of the group
        raise BadInput("a point is not in the second group") from None
    return bytes(31) + bytes((is_one(exponentiate(product)),))


def read_point2(data: bytes) -> Point2 | None:
    """Read 128 bytes: x and y, each imaginary part first; `BadInput` if off the curve."""
    x1, x0, y1, y0 = (mpz.from_bytes(data[at : at + 32], "big") for at in (0, 32, 64, 96))
    if max(x0, x1, y0, y1) >= P:
        raise BadInput("a coordinate is not below the field's prime")
    if not (x0 or x1 or y0 or y1):
        return None
    x, y = (x0, x1), (y0, y1)
    left, right = multiply2(y, y), multiply2(multiply2(x, x), x)
    if (left[0] - right[0] - _B2[0]) % P or (left[1] - right[1] - _B2[1]) % P:
        raise BadInput("the point is not on the twisted curve")
    return x, y


def run_miller_loop(pairs: list[tuple[Point, Point2]], tick: Tick = go_on) -> mpz:
    """Return the product of the pairs' values before the final exponentiation.

    Raises `BadInput` or `ZeroDivisionError` if a second point does not have the group's order.
    """
    lines = [draw_lines(p, q) for p, q in pairs]
    value = ONE
    for bit in _LOOP:
        value = reduce(value * value)
        for _ in range(2 if bit else 1):
            for line in lines:
                value = multiply_by_line(value, next(line))
                tick()
    for _ in range(2):
        for line in lines:
            value = multiply_by_line(value, next(line))
            tick()
    for line in lines:
        next(line, None)  # runs its check
    return value


def draw_lines(p: Point, q: Point2) -> Iterator[Line | None]:
    """Yield, at each step of the loop, the line through the twist's points, evaluated at `p`.

    Yields None if `p` is infinity: the pair's value is then 1, but `q` is checked all the same.
    """
    x, y = q
    for bit in _LOOP:
        (x0, x1), (y0, y1) = x, y
        squared = (3 * (x0 + x1) * (x0 - x1) % P, 6 * x0 * x1 % P)
        slope = multiply2(squared, invert2((y0 + y0, y1 + y1)))
        line, x, y = _go_along(slope, x, y, x, p)
        yield line
        if bit:
            line, x, y = _go_towards(x, y, q[0], q[1] if bit > 0 else _negate2(q[1]), p)
            yield line
    for power in (1, 2):
        other_x, other_y = _apply_frobenius(q, power)
        line, x, y = _go_towards(x, y, other_x, _negate2(other_y) if power == 2 else other_y, p)
        yield line
    other_x, other_y = _apply_frobenius(q, 3)
    if (x, y) != (other_x, _negate2(other_y)):
        raise BadInput("a point is not in the second group")


def _negate2(value: Fp2) -> Fp2:
    return -value[0] % P, -value[1] % P


def _apply_frobenius(q: Point2, power: int) -> Point2:
    """Return π(q), π²(q) or π³(q)."""
    _, _, by_x, by_y, _, _ = FROBENIUS[power]
    return multiply2(twist2(q[0], power), by_x), multiply2(twist2(q[1], power), by_y)


def _go_towards(
    x: Fp2, y: Fp2, other_x: Fp2, other_y: Fp2, p: Point
) -> tuple[Line | None, Fp2, Fp2]:
    """Add another point; return the line through both, and the sum."""
    rise = (other_y[0] - y[0], other_y[1] - y[1])
    run = (other_x[0] - x[0], other_x[1] - x[1])
    return _go_along(multiply2(rise, invert2(run)), x, y, other_x, p)


def _go_along(slope: Fp2, x: Fp2, y: Fp2, other_x: Fp2, p: Point) -> tuple[Line | None, Fp2, Fp2]:
    """Return the line through (x, y), and the negative of its third point on the curve.

    Untwisted, (x, y) is (xw², yw³) and the line is y_p − slope·x_p·w + (slope·x − y)·w³ at `p`.
    """
    (s0, s1), (x0, x1) = slope, x
    c0 = (s0 * x0 - s1 * x1 - y[0]) % P
    c1 = (s0 * x1 + s1 * x0 - y[1]) % P
    x0 = ((s0 + s1) * (s0 - s1) - x0 - other_x[0]) % P
    x1 = (2 * s0 * s1 - x1 - other_x[1]) % P
    y0 = (c0 - s0 * x0 + s1 * x1) % P
    y1 = (c1 - s0 * x1 - s1 * x0) % P
    line = None
    if p is not None:
        line = (p[1], (9 * s1 - s0) * p[0] % P, -s1 * p[0] % P, (c0 - 9 * c1) % P, c1)
    return line, (x0, x1), (y0, y1)


def multiply_by_line(value: mpz, line: Line | None) -> mpz:
    """Return the product; most of a line's coefficients are 0."""
    if line is None:
        return value
    at_0, at_1, at_7, at_3, at_9 = line
    odd = value * at_1 + (value * at_7 << 6 * SLOT_BITS)
    third = value * at_3 + (value * at_9 << 6 * SLOT_BITS)
    return reduce(value * at_0 + (odd << SLOT_BITS) + (third << 3 * SLOT_BITS))


def exponentiate(value: mpz) -> mpz:
    """Return the value to the power (p¹² − 1) / order, factored as in Scott et al. (2009)."""
    value = reduce(conjugate(value) * invert(value))
    value = reduce(frobenius(value, 2) * value)
    by_x = power_of_x(value)
    by_x2 = power_of_x(by_x)
    by_x3 = power_of_x(by_x2)
    first, second, third = (frobenius(value, power) for power in (1, 2, 3))
    y0 = reduce(first * reduce(second * third))
    y1, y5 = conjugate(value), conjugate(by_x2)
    y2, y3 = frobenius(by_x2, 2), conjugate(frobenius(by_x, 1))
    y4 = conjugate(reduce(by_x * frobenius(by_x2, 1)))
    y6 = conjugate(reduce(by_x3 * frobenius(by_x3, 1)))
    left = reduce(reduce(reduce(y6 * y6) * y4) * y5)
    right = reduce(reduce(y3 * y5) * left)
    left = reduce(left * y2)
    right = reduce(reduce(right * right) * left)
    right = reduce(right * right)
    left, right = reduce(right * y1), reduce(right * y0)
    return reduce(reduce(left * left) * right)


def power_of_x(value: mpz) -> mpz:
    """Return the value, of norm 1, to the power X."""
    result, inverse = value, conjugate(value)
    for bit in _X_BITS:
        result = reduce(result * result)
        if bit:
            result = reduce(result * (value if bit > 0 else inverse))
    return result
