"""0x05: base^exponent mod modulus of numbers of any length (EIP-198), by GMP.

GMP costs 3 to 40 ms for a million gas of EIP-2565's price, where CPython's `pow` costs up to 900 on
short moduli. A large call lets other threads run meanwhile.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from node.execution.precompiles.prices import price_modexp, read_modexp_lengths

HELD_GAS_MAX = 50_000
"""Calls that cost more gas release the interpreter's lock; cheaper ones end within 5 ms."""


def modexp(data: bytes) -> bytes:
    """Return base^exponent mod modulus, as long as the modulus; 0⁰ is 1, modulo 0 and 1 is 0.

    The gas is paid before: whatever lengths `data` states, the work fits the price. With a
    modulus of length 0 nothing else is read, whatever its length.
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
    """Return a number of `size` bytes; what `data` has too few are zeros at its end."""
    return mpz.from_bytes(data, "big") << 8 * (size - len(data))
