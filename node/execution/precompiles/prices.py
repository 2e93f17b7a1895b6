"""The gas prices of precompiles: Ethereum's as of Cancun, and ours where they differ.

Every price is computed from the input's length and a few of its bytes, before any work, without
allocating the lengths that the input claims.
"""

from __future__ import annotations

from collections.abc import Callable

from lowu.node.errors import BadInput

ECRECOVER_GAS = 3_000
SHA256_GAS, SHA256_WORD_GAS = 60, 12
RIPEMD160_GAS, RIPEMD160_WORD_GAS = 600, 120
IDENTITY_GAS, IDENTITY_WORD_GAS = 15, 3
ECADD_GAS, ECMUL_GAS = 150, 6_000
"""EIP-1108."""
PAIRING_GAS, PAIRING_PAIR_GAS = 45_000, 34_000
"""EIP-1108: for the call, and for each pair of 192 bytes."""
POINT_EVALUATION_GAS = 50_000
"""EIP-4844."""
MODEXP_GAS_MIN = 200
"""EIP-2565."""

BLAKE2F_OFFICIAL_ROUND_GAS = 1
"""EIP-152: for a round; the call itself is free."""
BLAKE2F_CALL_GAS = 400
"""Ours, for a call: reading the input and laying out the message costs as much as eight rounds."""
BLAKE2F_ROUND_GAS = 50
"""Ours, for a round. Python needs some 4 µs where native code needs 15 ns, and no library with
wheels for all our platforms offers it. One BLAKE2b block (12 rounds) costs 1,000 gas in all."""

BLAKE2F_BYTES = 213
PAIR_BYTES = 192


def words(data: bytes | memoryview) -> int:
    """Return the number of 32-byte words that hold `data`."""
    return (len(data) + 31) // 32


def price_sha256(data: bytes | memoryview) -> int:
    """Return the gas of hashing `data`."""
    return SHA256_GAS + SHA256_WORD_GAS * words(data)


def price_ripemd160(data: bytes | memoryview) -> int:
    """Return the gas of hashing `data`."""
    return RIPEMD160_GAS + RIPEMD160_WORD_GAS * words(data)


def price_identity(data: bytes | memoryview) -> int:
    """Return the gas of copying `data`."""
    return IDENTITY_GAS + IDENTITY_WORD_GAS * words(data)


def price_pairing(data: bytes | memoryview) -> int:
    """Return the gas of a pairing check; `BadInput` if `data` is not whole pairs."""
    pairs, rest = divmod(len(data), PAIR_BYTES)
    if rest:
        raise BadInput(f"pairing input has {len(data)} bytes, not a multiple of {PAIR_BYTES}")
    return PAIRING_GAS + PAIRING_PAIR_GAS * pairs


def count_rounds(data: bytes | memoryview) -> int:
    """Return the number of rounds in a BLAKE2F input; `BadInput` for a wrong length or flag."""
    if len(data) != BLAKE2F_BYTES or data[-1] > 1:
        raise BadInput(f"BLAKE2F input is not {BLAKE2F_BYTES} bytes that end with 0 or 1")
    return int.from_bytes(data[:4], "big")


def price_blake2f(data: bytes | memoryview) -> int:
    """Return our gas for a BLAKE2F call; `BadInput` as in `count_rounds`."""
    return BLAKE2F_CALL_GAS + BLAKE2F_ROUND_GAS * count_rounds(data)


def price_blake2f_officially(data: bytes | memoryview) -> int:
    """Return EIP-152's gas for a BLAKE2F call; `BadInput` as in `count_rounds`."""
    return BLAKE2F_OFFICIAL_ROUND_GAS * count_rounds(data)


def price_modexp(data: bytes | memoryview) -> int:
    """Return EIP-2565's gas for a modular exponentiation."""
    base_bytes, exponent_bytes, modulus_bytes = read_modexp_lengths(data)
    head_bytes = min(exponent_bytes, 32)
    start = 96 + base_bytes
    head = int.from_bytes(bytes(data[start : start + head_bytes]).ljust(head_bytes, b"\0"), "big")
    steps = max(head.bit_length() - 1, 0) + 8 * (exponent_bytes - head_bytes)
    limbs = (max(base_bytes, modulus_bytes) + 7) // 8
    return max(MODEXP_GAS_MIN, limbs * limbs * max(steps, 1) // 3)


def read_modexp_lengths(data: bytes | memoryview) -> tuple[int, int, int]:
    """Return the lengths in bytes of base, exponent and modulus: any 256-bit numbers."""
    head = bytes(data[:96]).ljust(96, b"\0")
    return (
        int.from_bytes(head[:32], "big"),
        int.from_bytes(head[32:64], "big"),
        int.from_bytes(head[64:], "big"),
    )


def count_modexp_bytes(data: bytes | memoryview) -> int:
    """Return the number of input bytes that an exponentiation reads."""
    return 96 + sum(read_modexp_lengths(data))


def fixed(number: int) -> Callable[[bytes | memoryview], int]:
    """Return a price, or a length, that is the same for every input."""
    return lambda _data: number
