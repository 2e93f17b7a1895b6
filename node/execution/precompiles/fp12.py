"""The extension of alt_bn128's field with p¹² elements, each element one integer.

An element is a polynomial in w with twelve coefficients, modulo w¹² − 18w⁶ + 82; u = w⁶ − 9 is
the root of −1 that EIP-197 calls i. Each coefficient has `SLOT_BITS` bits of the integer. So one
GMP multiplication multiplies two polynomials, and reducing all coefficients takes ten operations
on whole elements instead of hundreds: in Python the number of operations decides the time.

Coefficients are at least 0 and below 2²⁵⁵, not always below p.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from lowu.node.execution.precompiles.bn254 import P

SLOT_BITS = 576
"""Nine limbs of 64 bits: a product's coefficients are below 12·2⁵¹⁰; reducing them needs 2⁵⁵²."""
_HALF_BITS, _ALL_BITS = 6 * SLOT_BITS, 12 * SLOT_BITS


def _repeat(value: int, slots: int, every: int = 1) -> mpz:
    return mpz(sum(value << SLOT_BITS * slot for slot in range(0, slots, every)))


_HALF, _ALL = (mpz(1) << _HALF_BITS) - 1, (mpz(1) << _ALL_BITS) - 1
_LIFT = _repeat((2**528 // int(P) + 1) * int(P), 6)
"""A multiple of p in each slot of the lower half, greater than anything subtracted there."""
_HIGH_SHIFT, _QUOTIENT_SHIFT = 253, 277
_HIGH = _repeat((1 << SLOT_BITS - _HIGH_SHIFT) - 1, 12)
_QUOTIENT = _repeat((1 << SLOT_BITS - _QUOTIENT_SHIFT) - 1, 12)
_RECIPROCAL = mpz(2 ** (_HIGH_SHIFT + _QUOTIENT_SHIFT) // int(P))
_EVEN = _repeat((1 << SLOT_BITS) - 1, 12, every=2)
_ODD = _EVEN << SLOT_BITS
_ODD_2P = _repeat(2 * int(P), 12, every=2) << SLOT_BITS

ONE = mpz(1)


def reduce(product: mpz) -> mpz:
    """Reduce a product of two elements, or a sum of a few products, to an element.

    w¹² = 18w⁶ − 82 and w¹⁸ = 242w⁶ − 1476 bring the degree below 12; then Barrett's method
    subtracts a multiple of p from each coefficient, at most 2p too little.
    """
    above = product >> _ALL_BITS
    third, fourth = above & _HALF, above >> _HALF_BITS
    product &= _ALL
    product += (18 * third + 242 * fourth << _HALF_BITS) + _LIFT
    product -= 82 * third + 1476 * fourth
    quotients = (product >> _HIGH_SHIFT & _HIGH) * _RECIPROCAL >> _QUOTIENT_SHIFT & _QUOTIENT
    return product - quotients * P


def conjugate(element: mpz) -> mpz:
    """Return the element to the power p⁶, by w → −w; this is its inverse if its norm is 1."""
    return (element & _EVEN) + (_ODD_2P - (element & _ODD))


def read_coefficients(element: mpz) -> list[mpz]:
    """Return the twelve coefficients, below p."""
    coefficients = [value % P for value in gmpy2.unpack(element, SLOT_BITS)]
    return coefficients + [mpz(0)] * (12 - len(coefficients))


def from_coefficients(coefficients: list[mpz]) -> mpz:
    """Return the element with these coefficients, each at least 0 and below 2²⁵⁵."""
    return gmpy2.pack(coefficients, SLOT_BITS)


def is_one(element: mpz) -> bool:
    """Whether it is 1."""
    return read_coefficients(element) == [1] + [0] * 11


# The field with p² elements: (a, b) is a + bu.

Fp2 = tuple[mpz, mpz]


def multiply2(first: Fp2, second: Fp2) -> Fp2:
    """Return the product."""
    (a, b), (c, d) = first, second
    return (a * c - b * d) % P, (a * d + b * c) % P


def invert2(value: Fp2) -> Fp2:
    """Return the inverse; `ZeroDivisionError` for 0."""
    a, b = value
    scale = gmpy2.invert(a * a + b * b, P)
    return a * scale % P, -b * scale % P


def power2(value: Fp2, exponent: int) -> Fp2:
    """Return `value` to the power of `exponent`."""
    result: Fp2 = (mpz(1), mpz(0))
    for bit in f"{exponent:b}":
        result = multiply2(result, result)
        if bit == "1":
            result = multiply2(result, value)
    return result


def twist2(value: Fp2, power: int) -> Fp2:
    """Return `value` to the power p^`power`: its conjugate, or itself."""
    return (value[0], -value[1] % P) if power & 1 else value


_XI: Fp2 = (mpz(9), mpz(1))
"""w⁶ = 9 + u."""
FROBENIUS = {
    power: [power2(_XI, place * (int(P) ** power - 1) // 6) for place in range(6)]
    for power in (1, 2, 3)
}
"""wⁱ to the power p^k is FROBENIUS[k][i]·wⁱ, for k = 1, 2, 3."""


def frobenius(element: mpz, power: int) -> mpz:
    """Return the element to the power p, p² or p³."""
    coefficients = read_coefficients(element)
    low, high = coefficients[:6], coefficients[6:]
    for place, factor in enumerate(FROBENIUS[power]):
        value = (low[place] + 9 * high[place], high[place])
        real, imaginary = multiply2(twist2(value, power), factor)
        low[place], high[place] = (real - 9 * imaginary) % P, imaginary
    return from_coefficients(low + high)


def invert(element: mpz) -> mpz:
    """Return the inverse; `ZeroDivisionError` for 0.

    x⁻¹ = x̄ · (x x̄)⁻¹, where n = x x̄ has only even powers of w; n · n^(p²) · n^(p⁴) is in the
    field with p² elements.
    """
    opposite = conjugate(element)
    norm = reduce(element * opposite)
    second = frobenius(norm, 2)
    others = reduce(second * frobenius(second, 2))
    rest = read_coefficients(reduce(norm * others))
    real, imaginary = invert2((rest[0] + 9 * rest[6], rest[6]))
    scale = from_coefficients([(real - 9 * imaginary) % P, *[mpz(0)] * 5, imaginary, *[mpz(0)] * 5])
    return reduce(opposite * reduce(others * scale))
