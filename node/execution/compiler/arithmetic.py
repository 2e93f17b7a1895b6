"""Operations on words that are no plain Python expression. All take and return 0…2²⁵⁶−1."""

from __future__ import annotations

SIGN = 1 << 255
_CEILING = 1 << 256


def _signed(word: int) -> int:
    return word - _CEILING if word & SIGN else word


def sdiv(a: int, b: int) -> int:
    """Return a / b of signed words, rounded towards zero; 0 if b is 0."""
    if not b:
        return 0
    left, right = _signed(a), _signed(b)
    quotient = abs(left) // abs(right)
    return (-quotient if (left < 0) != (right < 0) else quotient) % _CEILING


def smod(a: int, b: int) -> int:
    """Return a mod b of signed words, with the sign of a; 0 if b is 0."""
    if not b:
        return 0
    left, right = _signed(a), _signed(b)
    rest = abs(left) % abs(right)
    return (-rest if left < 0 else rest) % _CEILING


def signextend(a: int, b: int) -> int:
    """Return b, sign-extended from its byte number a (counted from the lowest)."""
    if a > 31:
        return b
    sign = 1 << (8 * a + 7)
    return (b | (_CEILING - sign)) if b & sign else b & (sign - 1)


def byte(a: int, b: int) -> int:
    """Return byte number a of b, counted from the highest; 0 if a is over 31."""
    return (b >> (8 * (31 - a))) & 0xFF if a < 32 else 0


def sar(a: int, b: int) -> int:
    """Return b shifted right by a, keeping its sign."""
    return (_signed(b) >> min(a, 255)) % _CEILING
