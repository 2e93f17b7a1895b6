"""The curve accepts and refuses the same inputs, whichever library computes it."""

import hashlib
import subprocess
import sys
from unittest import mock

import pytest
from eth_keys.backends import NativeECCBackend
from eth_keys.datatypes import PrivateKey, Signature
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lowu.contracts import curve
from lowu.contracts.account import Account
from lowu.contracts.curve import HALF_ORDER, ORDER, CurveError
from lowu.institutions.package.proof import _is_signed
from lowu.node import crypto
from lowu.node.errors import BadInput

FIELD = 2**256 - 2**32 - 977
LIBRARIES = [curve.load_spec256k1()]
if sys.version_info < (3, 14):
    LIBRARIES.append(curve.load_coincurve())
REFERENCE = NativeECCBackend()
VECTORS_SHA256 = "c14649b54c956a9a186126cb001a7aace089bec801b5596d17537fa4d068a188"
"""Hash of keys, signatures and recovered keys from coincurve 21 on Python 3.11."""


def word(number):
    return number.to_bytes(32, "big")


keys = st.integers(1, ORDER - 1).map(word)
digests = st.one_of(st.binary(min_size=32, max_size=32), st.integers(0, 3).map(word))
EDGES = (
    0, 1, 2, 5, HALF_ORDER, HALF_ORDER + 1, FIELD - ORDER - 1, FIELD - ORDER, ORDER - 1, ORDER,
    ORDER + 1, FIELD - 1, FIELD, 2**256 - 1,
)  # fmt: skip
numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**256 - 1)).map(word)
odd_signatures = st.one_of(
    st.tuples(numbers, numbers, st.sampled_from((0, 1, 2, 3, 4, 26, 27, 28, 29, 30, 255))).map(
        lambda parts: parts[0] + parts[1] + bytes([parts[2]])
    ),
    st.binary(max_size=140),
)


def outcomes(function, *arguments):
    """Return each library's result: bytes, or None for a `CurveError`."""
    found = []
    for library in LIBRARIES:
        with mock.patch.object(curve, "_library", library):
            try:
                found.append(function(*arguments))
            except CurveError:
                found.append(None)
    return found


def recover_by_reference(digest, signature):
    """Return the key that eth-keys' pure Python recovers, or None."""
    try:
        found = REFERENCE.ecdsa_recover(digest, Signature(signature, backend=REFERENCE))
    except Exception:
        return None
    return found.to_bytes() if len(digest) == 32 else None


@settings(deadline=None)  # pure Python may take long
@given(key=keys, digest=digests)
def test_right_inputs(key, digest):
    private_key = PrivateKey(key, REFERENCE)
    signature = private_key.sign_msg_hash(digest).to_bytes()
    public_key = private_key.public_key.to_bytes()
    assert set(outcomes(curve.sign, key, digest)) == {signature}
    assert set(outcomes(curve.compute_public_key, key)) == {public_key}
    assert set(outcomes(curve.recover, digest, signature)) == {public_key}
    assert crypto.is_signed_by(public_key, digest, signature)
    assert _is_signed(public_key, digest, signature)


@settings(deadline=None)  # pure Python may take long
@given(key=keys, digest=digests)
def test_the_second_form_recovers_and_is_refused_by_who_counts(key, digest):
    signature = curve.sign(key, digest)
    s = int.from_bytes(signature[32:64], "big")
    second = signature[:32] + word(ORDER - s) + bytes([1 - signature[64]])
    public_key = curve.compute_public_key(key)
    assert set(outcomes(curve.recover, digest, second)) == {public_key}
    assert not crypto.is_signed_by(public_key, digest, second)
    assert not _is_signed(public_key, digest, second)


@settings(deadline=None)  # pure Python may take long
@given(digest=st.one_of(digests, st.binary(max_size=70)), signature=odd_signatures)
@example(word(1), word(5) + word(1) + b"\x00")  # no point of the curve has x = 5
@example(word(1), word(1) + word(1) + b"\x00")
@example(word(1), word(1) + word(1) + b"\x02")  # x = order + 1, which v cannot express
@example(word(1), word(0) + word(1) + b"\x00")
@example(word(1), word(1) + word(0) + b"\x00")
@example(b"", word(1) + word(1) + b"\x00")
@example(word(1), b"")
@example(word(1), word(1) + word(1))
@example(word(1), word(1) + word(1) + b"\x00\x00")
def test_odd_inputs(digest, signature):
    expected = recover_by_reference(digest, signature)
    assert set(outcomes(curve.recover, digest, signature)) == {expected}
    is_low = int.from_bytes(signature[32:64], "big") <= HALF_ORDER
    try:
        found = crypto.recover_public_key(digest, signature)
    except BadInput:
        found = None
    assert found == (expected if is_low else None)
    if expected is not None:
        assert _is_signed(expected, digest, signature) == is_low


def test_a_key_that_recovers_to_the_point_at_infinity():
    """A signature R = k·G over the digest k·s names no key: s·R − z·G is no point."""
    for library in LIBRARIES:
        generator = library.compute_public_key(word(1))
        r, v = generator[1:33], generator[64] & 1
        with mock.patch.object(curve, "_library", library), pytest.raises(CurveError):
            curve.recover(word(1), r + word(1) + bytes([v]))


@pytest.mark.parametrize(
    "key", [b"", b"\x01", bytes(32), word(ORDER), word(2**256 - 1), b"\x01" * 31, b"\x01" * 33]
)
def test_odd_private_keys(key):
    assert set(outcomes(curve.sign, key, word(1))) == {None}
    assert set(outcomes(curve.compute_public_key, key)) == {None}
    with pytest.raises(CurveError, match="a private key is 32 bytes"):
        Account(key)


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), bytes(64)])
def test_odd_digests(digest):
    assert set(outcomes(curve.sign, word(1), digest)) == {None}


def test_vectors():
    """Results equal the recorded ones, also on a Python without coincurve."""
    total = hashlib.sha256()
    for number in range(300):
        digest = hashlib.sha256(word(number)).digest()
        key = hashlib.sha256(digest).digest()
        signature = curve.sign(key, digest)
        total.update(curve.compute_public_key(key) + signature)
        mixed = signature[:64] + bytes([1 - signature[64]])
        total.update(curve.recover(digest, signature) + curve.recover(digest, mixed))
    assert total.hexdigest() == VECTORS_SHA256


def test_no_node_and_no_pure_python_curve_is_loaded_to_check_a_proof():
    code = "import sys, institutions.package.proof, node.crypto; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "eth_keys" not in done.stdout.split()
