"""0x05: base^exponent mod modulus of numbers of any length (EIP-198), by GMP.

GMP takes 3 to 40 ms a million gas at EIP-2565's price; CPython's `pow` takes up to 900 ms on
short moduli. Other threads can run during a large call.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from lowu.node.execution.precompiles.prices import price_modexp, read_modexp_lengths

HELD_GAS_MAX = 50_000
"""Calls that cost more gas release Python's global lock; cheaper ones finish within 5 ms."""


def modexp(data: bytes) -> bytes:
    """Return base^exponent mod modulus, as long as the modulus; 0⁰ is 1; modulo 0 or 1 gives 0.

    The gas is paid before, so the work fits the price whatever lengths `data` claims. If the
    modulus has length 0, base and exponent are not read, whatever their lengths.
    """
    base_bytes, exponent_bytes, modulus_bytes = read_modexp_lengths(data)
    if modulus_bytes == 0:
        return b""
    numbers = data[96 : 96 + base_bytes + exponent_bytes + modulus_bytes]
    end = base_bytes + exponent_bytes
    modulus = _read(numbers[end:], modulus_bytes)
    if modulus <= 1:
        return bytes(modulus_bytes)
    base = _read(numbers[:base_bytes], base_bytes)
    exponent = _read(numbers[base_bytes:end], exponent_bytes)
    if price_modexp(data) > HELD_GAS_MAX:
        with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
            power = gmpy2.powmod(base, exponent, modulus)
    else:
        power = gmpy2.powmod(base, exponent, modulus)
    return bytes(power.to_bytes(modulus_bytes, "big"))


def _read(data: bytes, size: int) -> mpz:
    """Return a number of `size` bytes; missing bytes at the end of `data` are zeros."""
    return mpz.from_bytes(data, "big") << 8 * (size - len(data))
