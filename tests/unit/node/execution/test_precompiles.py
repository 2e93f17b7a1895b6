"""The precompiles against published vectors, and against py-evm, py_ecc, hashlib and CPython.

Outside this suite they were compared with anvil and c-kzg on random inputs, and passed Ethereum's
own state tests (ADR 11).
"""

import hashlib
import random
from math import gcd
from types import SimpleNamespace

import pytest
from eth.exceptions import VMError
from eth.vm.forks.cancun.computation import CANCUN_PRECOMPILES
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc import optimized_bn128 as bn128

from lowu.node.crypto import compute_address, compute_public_key, sign
from lowu.node.errors import BadInput, CallAborted
from lowu.node.execution.precompiles import bn254, fp12, prices
from lowu.node.execution.precompiles.blake2f import blake2f
from lowu.node.execution.precompiles.bn254 import ORDER, P, ecadd, ecmul, find_digits, split
from lowu.node.execution.precompiles.hashes import ORDER as SECP256K1_ORDER
from lowu.node.execution.precompiles.hashes import ecrecover, ripemd160
from lowu.node.execution.precompiles.modexp import modexp
from lowu.node.execution.precompiles.pairing import X, check_pairing, find_signed_bits
from lowu.node.execution.precompiles.point_evaluation import BLS_MODULUS, OUTPUT, point_evaluation
from lowu.node.execution.precompiles.table import OFFICIAL_PRECOMPILES, PRECOMPILES
from lowu.node.simulation.evm.precompile_costs import (
    COMMITMENT,
    G1,
    G2,
    NOT_IN_G2,
    NOT_IN_KZG_GROUP,
    PROOF,
    VALUE,
    encode_modexp,
    encode_point_evaluation,
)

PRIME, INFINITY = int(P), bytes(64)
TRUE, FALSE = bytes(31) + b"\x01", bytes(32)
ODD_NUMBERS = (
    0, 1, 2, 3, PRIME - 1, PRIME, PRIME + 1, ORDER - 1, ORDER, ORDER + 1, 2**255, 2**256 - 1,
)  # fmt: skip

UNWATCHED = {"transaction_context": SimpleNamespace(watch=None)}


def word(number):
    return number.to_bytes(32, "big")


def run(table, number, data, gas=10**9):
    """Return the output (None if it failed) and the gas, as a computation sees them."""
    spent = []

    def consume_gas(amount, reason):
        if amount > gas:
            raise VMError("out of gas")
        spent.append(amount)

    message = SimpleNamespace(data=data, data_as_bytes=bytes(data))
    computation = SimpleNamespace(msg=message, consume_gas=consume_gas, output=b"", **UNWATCHED)
    try:
        table[number.to_bytes(20, "big")](computation)
    except VMError:
        return None, spent
    return bytes(computation.output), spent


def assert_like_py_evm(number, data):
    assert run(OFFICIAL_PRECOMPILES, number, data) == run(CANCUN_PRECOMPILES, number, data)


def encode1(point):
    x, y = bn128.normalize(point)
    return word(int(x)) + word(int(y))


def encode2(point):
    x, y = bn128.normalize(point)
    return b"".join(word(int(c)) for c in (*x.coeffs[::-1], *y.coeffs[::-1]))


POINTS = [INFINITY, *(encode1(bn128.multiply(bn128.G1, n)) for n in (1, 2, 3, 5, ORDER - 1))]
POINTS2 = [bytes(128), *(encode2(bn128.multiply(bn128.G2, n)) for n in (1, 2, 7, ORDER - 1))]
numbers = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(0, 2**256 - 1))
points = st.one_of(
    st.sampled_from(POINTS), st.sampled_from(POINTS), st.tuples(numbers, numbers).map(
        lambda pair: word(pair[0]) + word(pair[1])
    ),
)  # fmt: skip


def test_there_is_one_at_each_address_of_cancun():
    assert list(PRECOMPILES) == list(OFFICIAL_PRECOMPILES)
    assert set(PRECOMPILES) == set(CANCUN_PRECOMPILES)


@given(st.sampled_from([1, 2, 4, 5, 6, 7]), st.binary(max_size=300))
def test_any_bytes_do_what_they_do_in_py_evm(number, data):
    if number == 5:  # N-E1: py-evm is wrong for a base of length 0
        data = word(data[0] if data else 1)[:32] + data
        data = data[:31] + bytes((data[31] or 1,)) + data[32:]
    assert_like_py_evm(number, data)


def test_a_view_is_taken_like_bytes():
    data = memoryview(bytearray(G1 + G1))
    message = SimpleNamespace(data=data, data_as_bytes=data.tobytes())
    computation = SimpleNamespace(
        msg=message, consume_gas=lambda gas, reason: None, output=b"", **UNWATCHED
    )
    PRECOMPILES[bytes(19) + b"\x06"](computation)
    assert computation.output == ecadd(G1 + G1) == POINTS[2]


def test_out_of_gas_comes_before_the_work():
    huge = encode_modexp(b"\x02", b"\xff" * 1024, b"\xff" * 1024)
    assert run(PRECOMPILES, 5, huge, gas=10**6) == (None, [])


# --- hashes and signatures --------------------------------------------------------------------


def test_ripemd160_needs_no_legacy_provider():
    vectors = {
        b"": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
        b"abc": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
        b"a" * 1_000_000: "52783243c1697bdbe16d37f97f68f08325dc1528",
    }
    for data, digest in vectors.items():
        assert ripemd160(data) == bytes(12) + bytes.fromhex(digest)
    assert run(PRECOMPILES, 3, b"abc") == (ripemd160(b"abc"), [720])


KEY = hashlib.sha256(b"a key").digest()
DIGEST = hashlib.sha256(b"a message").digest()
SIGNATURE = sign(KEY, DIGEST)
SIGNER = bytes(12) + compute_address(compute_public_key(KEY))


def signature_input(v, r, s, digest=DIGEST):
    return digest + word(v) + word(r) + word(s)


R, S = int.from_bytes(SIGNATURE[:32], "big"), int.from_bytes(SIGNATURE[32:64], "big")
V = 27 + SIGNATURE[64]


def test_ecrecover_finds_the_signer():
    assert ecrecover(signature_input(V, R, S)) == SIGNER
    assert ecrecover(signature_input(V, R, S) + b"more") == SIGNER
    high = signature_input(55 - V, R, SECP256K1_ORDER - S)
    assert ecrecover(high) == SIGNER
    assert_like_py_evm(1, high)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 27 + 256, 2**255 + 27])
def test_ecrecover_knows_two_v(v):
    assert ecrecover(signature_input(v, R, S)) == b""


@pytest.mark.parametrize("value", [0, SECP256K1_ORDER, SECP256K1_ORDER + 1, 2**256 - 1])
def test_ecrecover_answers_nothing_for_numbers_out_of_range(value):
    for data in (signature_input(V, value, S), signature_input(V, R, value)):
        assert run(PRECOMPILES, 1, data) == (b"", [3_000])
        assert_like_py_evm(1, data)


@given(
    st.sampled_from([27, 28]),
    st.one_of(st.sampled_from([1, 5, SECP256K1_ORDER - 1]), st.integers(1, SECP256K1_ORDER - 1)),
    st.one_of(st.sampled_from([1, SECP256K1_ORDER - 1]), st.integers(1, SECP256K1_ORDER - 1)),
    st.sampled_from([DIGEST, bytes(32), b"\xff" * 32]),
    st.integers(0, 128),
)
def test_ecrecover_is_py_evms(v, r, s, digest, size):
    assert_like_py_evm(1, signature_input(v, r, s, digest))
    assert_like_py_evm(1, signature_input(v, r, s, digest)[:size])


# --- modexp ------------------------------------------------------------------------------------


def test_n_e1_anything_to_the_power_of_nothing_is_one():
    """N-E1: base length 0, exponent length 0, modulus length 1, modulus 7 is 1, not 0."""
    assert run(PRECOMPILES, 5, encode_modexp(b"", b"", b"\x07")) == (b"\x01", [200])
    assert modexp(encode_modexp(b"", b"", b"\0\x02")) == b"\0\x01"
    assert modexp(encode_modexp(b"\0", b"\0", b"\x02")) == b"\x01"
    assert modexp(encode_modexp(b"", b"\x01", b"\x07")) == b"\0"


def test_modexp_eip_198():
    """The examples of EIP-198: Fermat's little theorem, no modulus, a huge length, short input."""
    p = 2**256 - 2**32 - 978
    assert modexp(encode_modexp(b"\x03", word(p), word(p + 1))) == word(1)
    assert modexp(encode_modexp(b"", word(p), word(p + 1))) == word(0)
    unpaid = word(0) + word(32) + word(2**256 - 1) + word(2**256 - 2) + word(2**256 - 3)
    assert run(PRECOMPILES, 5, unpaid) == (None, [])
    head = word(1) + word(2) + word(32)
    answer = bytes.fromhex("3b01b01ac41f2d6e917c6d6a221ce793802469026d9ab7578fa2e79e4da6aaab")
    assert modexp(head + b"\x03\xff\xff\x80" + bytes(31) + b"\x07") == answer
    assert modexp(head + b"\x03\xff\xff\x80") == answer


@pytest.mark.parametrize("modulus", [b"", b"\0", b"\x01", bytes(40), bytes(39) + b"\x01"])
def test_modulo_nothing_zero_and_one_is_zero(modulus):
    for exponent in (b"", b"\0", b"\x05"):
        assert modexp(encode_modexp(b"\x03", exponent, modulus)) == bytes(len(modulus))


def test_lengths_that_are_not_paid_allocate_nothing():
    """A length is trusted only if its gas was taken, or if none of the bytes are read."""
    free = word(0) + word(2**256 - 1) + word(0)
    assert run(PRECOMPILES, 5, free) == (b"", [200])
    assert run(PRECOMPILES, 5, free + b"\xff" * 100) == (b"", [200])
    for lengths in ((2**256 - 1, 0, 0), (2**256 - 1, 0, 1), (1, 2**64, 1), (0, 0, 2**200)):
        data = b"".join(map(word, lengths))
        assert prices.price_modexp(data) > 10**18
        assert run(PRECOMPILES, 5, data) == (None, [])


def test_modexp_prices_of_eip_2565():
    square = encode_modexp(b"\xff" * 64, b"\x02", b"\xff" * 64)
    assert prices.price_modexp(square) == 200
    assert prices.price_modexp(encode_modexp(b"\xff" * 512, b"\x02", b"\xff" * 512)) == 1365
    exponent = b"\x01\x00\x01"
    assert prices.price_modexp(encode_modexp(b"\xff" * 128, exponent, b"\xff" * 128)) == 1365
    assert prices.price_modexp(encode_modexp(b"", b"\xff" * 33, b"\x07")) == 200


lengths = st.sampled_from([0, 1, 2, 7, 8, 9, 31, 32, 33, 64, 65])
fillings = st.sampled_from([b"\0", b"\x01", b"\x02", b"\x80", b"\xff"])


@st.composite
def parts(draw):
    size = draw(lengths)
    if draw(st.booleans()):
        return draw(st.binary(min_size=size, max_size=size))
    return (bytes(size) + draw(fillings))[-size:] if size else b""


@given(parts(), parts(), parts(), st.integers(0, 40))
def test_modexp_is_cpythons(base, exponent, modulus, missing):
    data = encode_modexp(base, exponent, modulus)
    data = data[: max(96, len(data) - missing)]
    padded = data.ljust(96 + len(base) + len(exponent) + len(modulus), b"\0")
    end = 96 + len(base)
    b, e, m = (
        int.from_bytes(part, "big")
        for part in (
            padded[96:end],
            padded[end : end + len(exponent)],
            padded[end + len(exponent) :],
        )
    )
    power = pow(b, e, m) if m else 0
    assert modexp(data) == power.to_bytes(len(modulus), "big")
    _, (gas,) = run(CANCUN_PRECOMPILES, 5, data)
    assert prices.price_modexp(data) == gas


# --- alt_bn128: the first group ---------------------------------------------------------------


@given(points, points, st.integers(0, 140))
def test_ecadd_is_py_evms(first, second, size):
    assert_like_py_evm(6, first + second)
    assert_like_py_evm(6, (first + second + b"\x01" * 12)[:size])


@settings(max_examples=30, deadline=None)
@given(points, numbers, st.integers(0, 110))
def test_ecmul_is_py_evms(point, factor, size):
    assert_like_py_evm(7, point + word(factor))
    assert_like_py_evm(7, (point + word(factor) + b"\x01" * 14)[:size])


def test_points_of_the_first_group_are_checked():
    bad = [
        word(1) + word(3),
        word(PRIME) + word(0),
        word(0) + word(PRIME),
        word(PRIME + 1) + word(2),
    ]
    for point in bad:
        for data in (point + G1, G1 + point):
            with pytest.raises(BadInput):
                ecadd(data)
        with pytest.raises(BadInput):
            ecmul(point + word(0))
        with pytest.raises(BadInput):
            check_pairing(point + G2)


def test_the_sums_that_addition_treats_apart():
    for point in POINTS:
        x, y = point[:32], int.from_bytes(point[32:], "big")
        opposite = x + word((PRIME - y) % PRIME)
        assert ecadd(point + opposite) == INFINITY
        assert ecadd(point + INFINITY) == ecadd(INFINITY + point) == ecadd(point) == point
        assert ecadd(point + point) == ecmul(point + word(2))
    assert ecadd(b"") == ecmul(b"") == INFINITY


def test_a_point_times_each_small_and_each_last_number():
    """In some of them a partial sum equals the point that is added."""
    total = INFINITY
    for factor in range(40):
        assert ecmul(G1 + word(factor)) == ecmul(G1 + word(ORDER + factor)) == total
        assert ecmul(G1 + word(ORDER - factor)) == total[:32] + word(
            -int.from_bytes(total[32:], "big") % PRIME
        )
        total = ecadd(total + G1)


@given(st.integers(0, ORDER - 1))
def test_a_factor_is_split_and_written_in_digits(factor):
    first, second = split(factor)
    assert (first + second * bn254._LAMBDA - factor) % ORDER == 0
    assert max(abs(first), abs(second)) < 2**128
    for number in (first, second):
        digits = find_digits(number)
        assert sum(digit << place for place, digit in digits.items()) == number
        assert all(digit % 2 and abs(digit) < 8 for digit in digits.values())


# --- alt_bn128: pairings ----------------------------------------------------------------------


coefficients = st.lists(
    st.one_of(st.sampled_from([0, 1, PRIME - 1, 2**255 - 1]), st.integers(0, 2**255 - 1)),
    min_size=12,
    max_size=12,
)


def element(values):
    return fp12.from_coefficients([mpz(value) for value in values])


def like_py_ecc(value):
    return [int(number) for number in fp12.read_coefficients(value)]


def of_py_ecc(value):
    return [int(number) for number in value.coeffs]


@settings(max_examples=40)
@given(coefficients, coefficients)
def test_the_field_is_py_eccs(first, second):
    """Its polynomial is the same. Inputs include the largest coefficients after a reduction."""
    a, b = element(first), element(second)
    product = fp12.reduce(a * b)
    assert like_py_ecc(product) == of_py_ecc(bn128.FQ12(first) * bn128.FQ12(second))
    assert all(value < 2**255 for value in gmpy_slots(product))


def gmpy_slots(value):
    slots = []
    while value:
        slots.append(int(value) & (1 << fp12.SLOT_BITS) - 1)
        value >>= fp12.SLOT_BITS
    assert len(slots) <= 12
    return slots


def test_reducing_bears_the_largest_coefficients():
    largest = element([2**255 - 1] * 12)
    expected = bn128.FQ12([2**255 - 1] * 12) ** 2
    assert like_py_ecc(fp12.reduce(largest * largest)) == of_py_ecc(expected)
    square = fp12.reduce(largest * largest)
    assert like_py_ecc(fp12.reduce(square * largest)) == of_py_ecc(
        expected * bn128.FQ12([2**255 - 1] * 12)
    )


def test_inverses_and_frobenius():
    draw = random.Random(4)
    values = [draw.randrange(PRIME) for _ in range(12)]
    value = element(values)
    theirs = bn128.FQ12(values)
    assert fp12.is_one(fp12.reduce(value * fp12.invert(value)))
    assert like_py_ecc(fp12.frobenius(value, 1)) == of_py_ecc(theirs**PRIME)
    twice = fp12.frobenius(fp12.frobenius(value, 1), 1)
    assert like_py_ecc(fp12.frobenius(value, 2)) == like_py_ecc(twice)
    assert like_py_ecc(fp12.frobenius(value, 3)) == like_py_ecc(fp12.frobenius(twice, 1))
    six = fp12.frobenius(fp12.frobenius(value, 3), 3)
    assert like_py_ecc(fp12.conjugate(value)) == like_py_ecc(six)
    with pytest.raises(ZeroDivisionError):
        fp12.invert(mpz(0))


def test_the_end_of_the_loop_proves_the_group():
    """As the module claims, the greatest common divisor of both numbers is the order."""
    assert PRIME == 36 * X**4 + 36 * X**3 + 24 * X**2 + 6 * X + 1
    trace = PRIME + 1 - ORDER
    # 6x + 2 + T − T² + T³ modulo T² − tT + p, and the norm of the remainder
    constant = 6 * X + 2 + PRIME - trace * PRIME
    linear = 1 - trace + trace**2 - PRIME
    resultant = constant**2 + constant * linear * trace + linear**2 * PRIME
    assert gcd(resultant, ORDER * (2 * PRIME - ORDER)) == ORDER


def test_signed_bits_are_the_number():
    for number in (1, 2, 3, X, 6 * X + 2):
        total = 1
        for bit in find_signed_bits(number):
            total = 2 * total + bit
        assert total == number


def multiple(base, factor):
    return encode1(bn128.multiply(bn128.G1, factor)) if base == 1 else encode2(
        bn128.multiply(bn128.G2, factor)
    )  # fmt: skip


def test_pairings_are_bilinear():
    a, b = 0x1234567890ABCDEF << 100, 0xFEDCBA987654321 << 120
    balanced = multiple(1, a) + multiple(2, b) + multiple(1, ORDER - a * b % ORDER) + multiple(2, 1)
    assert check_pairing(balanced) == check_pairing(balanced * 2) == TRUE
    assert check_pairing(balanced[192:] + balanced[:192]) == TRUE
    assert check_pairing(balanced + G1 + G2) == FALSE
    assert check_pairing(balanced[:192]) == FALSE
    assert (
        check_pairing(multiple(1, a) + multiple(2, b) + multiple(1, a) + multiple(2, ORDER - b))
        == TRUE
    )


def test_pairs_with_infinity_are_one():
    assert check_pairing(b"") == check_pairing(INFINITY + bytes(128)) == TRUE
    assert check_pairing(INFINITY + G2) == check_pairing(G1 + bytes(128)) == TRUE
    assert check_pairing(INFINITY + G2 + G1 + G2 + G1 + bytes(128)) == FALSE


def test_the_example_of_eip_197():
    """(G1, G2) and (−G1, G2) cancel."""
    opposite = word(1) + word(PRIME - 2)
    for data, answer in ((G1 + G2 + opposite + G2, TRUE), ((G1 + G2) * 2, FALSE)):
        assert run(OFFICIAL_PRECOMPILES, 8, data) == (answer, [113_000])


REAL, IMAGINARY = G2[32:64], G2[:32]
BAD_PAIRS = {
    "outside the group": G1 + NOT_IN_G2,
    "outside, with infinity": INFINITY + NOT_IN_G2,
    "off the curve": G1 + G2[:-1] + b"\x00",
    "swapped parts": G1 + REAL + IMAGINARY + G2[64:],
    "x of p": G1 + word(PRIME) + bytes(96),
    "y of p": G1 + G2[:64] + word(PRIME) + G2[96:],
    "first off the curve": word(1) + word(3) + G2,
    "too short": (G1 + G2)[:-1],
    "too long": G1 + G2 + b"\0",
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_bad_pairs_fail_wherever_they_stand(name):
    bad = BAD_PAIRS[name]
    assert_like_py_evm(8, bad)
    for data in (bad, G1 + G2 + bad, INFINITY + bytes(128) + bad):
        assert run(PRECOMPILES, 8, data)[0] is None


def test_points_outside_the_group_fail_whatever_they_are():
    """Points of the twisted curve times the group's order, and their sums with group points."""
    x, y = NOT_IN_G2[:64], NOT_IN_G2[64:]
    outside = (
        bn128.FQ2([int.from_bytes(x[32:], "big"), int.from_bytes(x[:32], "big")]),
        bn128.FQ2([int.from_bytes(y[32:], "big"), int.from_bytes(y[:32], "big")]),
        bn128.FQ2.one(),
    )
    cofactor = bn128.multiply(outside, ORDER)
    inside = bn128.multiply(outside, 2 * PRIME - ORDER)
    assert check_pairing(INFINITY + encode2(inside)) == TRUE
    for point in (
        cofactor,
        bn128.add(cofactor, bn128.G2),
        bn128.multiply(cofactor, 10069),  # the smallest divisor of 2p − order
        bn128.multiply(cofactor, (2 * PRIME - ORDER) // 10069),
    ):
        with pytest.raises(BadInput):
            check_pairing(INFINITY + encode2(point))


# --- BLAKE2F -----------------------------------------------------------------------------------

STATE = bytes.fromhex(
    "48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"
    "d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
)
ABC = STATE + b"abc" + bytes(125) + b"\x03" + bytes(15)
BLAKE_VECTORS = {
    0: "08c9bcf367e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"
    "d282e6ad7f520e511f6c3e2b8c68059b9442be0454267ce079217e1319cde05b",
    1: "b63a380cb2897d521994a85234ee2c181b5f844d2c624c002677e9703449d2fb"
    "a551b3a8333bcdf5f2f7e08993d53923de3d64fcc68c034e717b9293fed7a421",
    12: "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
}


@pytest.mark.parametrize("rounds", BLAKE_VECTORS)
def test_blake2f_eip_152(rounds):
    data = rounds.to_bytes(4, "big") + ABC + b"\x01"
    assert blake2f(data).hex() == BLAKE_VECTORS[rounds]
    assert run(OFFICIAL_PRECOMPILES, 9, data) == (blake2f(data), [rounds])
    assert run(PRECOMPILES, 9, data) == (blake2f(data), [400 + 50 * rounds])


def test_blake2f_is_hashlibs_blake2b():
    for size in (0, 1, 64, 127, 128):
        message = bytes(range(size))
        tail = message.ljust(128, b"\0") + size.to_bytes(8, "little") + bytes(8) + b"\x01"
        data = (12).to_bytes(4, "big") + STATE + tail
        assert blake2f(data) == hashlib.blake2b(message).digest()


@pytest.mark.parametrize("data", [b"", bytes(212), bytes(214), bytes(212) + b"\x02"])
def test_blake2f_refuses(data):
    assert run(PRECOMPILES, 9, data)[0] is None
    assert run(OFFICIAL_PRECOMPILES, 9, data)[0] is None


@settings(max_examples=15)
@given(st.integers(0, 13), st.binary(min_size=208, max_size=208), st.integers(0, 3))
def test_blake2f_is_py_evms(rounds, middle, flag):
    assert_like_py_evm(9, rounds.to_bytes(4, "big") + middle + bytes((flag,)))


# --- point evaluation --------------------------------------------------------------------------

NO_POINT = b"\xc0" + bytes(47)
POINT = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb"
)


def evaluates(data):
    try:
        return point_evaluation(data) == OUTPUT
    except BadInput:
        return False


def test_a_kzg_proof_holds_for_its_value_only():
    good = encode_point_evaluation(COMMITMENT, 77, VALUE, PROOF)
    assert run(PRECOMPILES, 10, good) == (OUTPUT, [50_000])
    assert word(4096) + word(BLS_MODULUS) == OUTPUT
    assert not evaluates(encode_point_evaluation(COMMITMENT, 78, VALUE, PROOF))
    assert not evaluates(encode_point_evaluation(COMMITMENT, 77, word(1), PROOF))
    assert not evaluates(encode_point_evaluation(COMMITMENT, 77, VALUE, COMMITMENT))
    for damaged in (
        good[:-1],
        good + b"\0",
        b"",
        b"\x02" + good[1:],
        good[:31] + b"\0" + good[32:],
    ):
        assert run(PRECOMPILES, 10, damaged) == (None, [50_000])


def test_constants_have_constant_proofs():
    """The polynomial 0, and the polynomial 1, at any point."""
    for z in (0, 1, BLS_MODULUS - 1):
        assert evaluates(encode_point_evaluation(NO_POINT, z, word(0), NO_POINT))
        assert evaluates(encode_point_evaluation(POINT, z, word(1), NO_POINT))
        assert not evaluates(encode_point_evaluation(POINT, z, word(0), NO_POINT))


def test_kzg_numbers_are_canonical():
    for z, y in ((BLS_MODULUS, 0), (2**256 - 1, 0), (0, BLS_MODULUS), (0, 2**256 - 1)):
        assert not evaluates(encode_point_evaluation(NO_POINT, z, word(y), NO_POINT))


BAD_ENCODINGS = {
    "outside the group": NOT_IN_KZG_GROUP,
    "no flag": bytes(48),
    "infinity without flag": b"\x40" + bytes(47),
    "infinity with a sign": b"\xe0" + bytes(47),
    "infinity with a coordinate": b"\xc0" + bytes(46) + b"\x01",
    "all ones": b"\xff" * 48,
    "off the curve": b"\x80" + bytes(46) + b"\x01",
    "x of p": bytes.fromhex(
        "9a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
        "1eabfffeb153ffffb9feffffffffaaab"
    ),
    "a point and infinity": bytes((POINT[0] | 0x40,)) + POINT[1:],
}


@pytest.mark.parametrize("name", BAD_ENCODINGS)
def test_kzg_points_have_one_encoding(name):
    """c-kzg, the reference, refuses each; arkworks alone would accept some as infinity."""
    bad = BAD_ENCODINGS[name]
    assert not evaluates(encode_point_evaluation(bad, 0, word(0), NO_POINT))
    assert not evaluates(encode_point_evaluation(NO_POINT, 0, word(0), bad))


class Ending:
    """A watch that stops the call after some ticks."""

    def __init__(self, ticks):
        self.ticks = ticks

    def tick(self):
        self.ticks -= 1
        if not self.ticks:
            raise CallAborted("over")

    def expect_long(self):
        pass


@pytest.mark.parametrize(
    ("number", "data"),
    [(8, (G1 + G2) * 20), (9, (20_000).to_bytes(4, "big") + bytes(208) + b"\1")],
    ids=["ECPAIRING", "BLAKE2F"],
)
def test_long_work_for_a_call_can_be_ended_in_between(number, data):
    """Eight calls of four seconds each occupied all call workers."""
    computation = SimpleNamespace(
        msg=SimpleNamespace(data=data),
        consume_gas=lambda gas, reason: None,
        transaction_context=SimpleNamespace(watch=Ending(30)),
    )
    with pytest.raises(CallAborted):
        PRECOMPILES[number.to_bytes(20, "big")](computation)
    assert not hasattr(computation, "output")
