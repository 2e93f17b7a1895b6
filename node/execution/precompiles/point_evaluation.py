"""0x0a: check that a committed polynomial has a value at a point (EIP-4844), with arkworks.

The check needs one point of the trusted setup, which is here. (c-kzg checks a proof as fast, but
first loads the whole setup: for three seconds no other thread of the process runs.)
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from lowu.node.errors import BadInput

FIELD_ELEMENTS_PER_BLOB = 4096
BLS_MODULUS = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
OUTPUT = FIELD_ELEMENTS_PER_BLOB.to_bytes(32, "big") + BLS_MODULUS.to_bytes(32, "big")
VERSIONED_HASH_VERSION = b"\x01"
INPUT_BYTES = 192
TAU_G2 = bytes.fromhex(
    "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72"
    "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2"
)
"""[τ]₂ of Ethereum's KZG ceremony: the second of the setup's G2 points."""


@lru_cache(maxsize=1)
def _load_setup() -> tuple[G1Point, G2Point, G2Point]:
    """Return [1]₁, −[1]₂ and [τ]₂; takes a millisecond."""
    return G1Point(), -G2Point(), G2Point.from_compressed_bytes(TAU_G2)


def point_evaluation(data: bytes) -> bytes:
    """Return the two constants of EIP-4844 if the proof holds, else `BadInput`.

    `data` is versioned hash, z, y (32 bytes each), commitment and proof (48 each).
    """
    if len(data) != INPUT_BYTES:
        raise BadInput(f"point evaluation input has {len(data)} bytes, not {INPUT_BYTES}")
    commitment = data[96:144]
    if VERSIONED_HASH_VERSION + sha256(commitment).digest()[1:] != data[:32]:
        raise BadInput("commitment does not match the versioned hash")
    if max(data[32:64], data[64:96]) >= BLS_MODULUS.to_bytes(32, "big"):
        raise BadInput("z or y is not a canonical field element")
    one, minus_one, tau = _load_setup()
    committed, proof = _read_point(commitment), _read_point(data[144:])
    # e(C − [y] + [z]π, −[1]₂) · e(π, [τ]₂) = 1: both points of the second group are fixed
    z, y = Scalar.from_be_bytes(data[32:64]), Scalar.from_be_bytes(data[64:96])
    if not GT.pairing_check([committed - one * y + proof * z, proof], [minus_one, tau]):
        raise BadInput("the proof does not hold")
    return OUTPUT


def _read_point(data: bytes) -> G1Point:
    """Read 48 bytes; `BadInput` if they are not the canonical encoding of a point of the group."""
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise BadInput("commitment or proof is not a point of the group") from error
    if bytes(point.to_compressed_bytes()) != data:  # arkworks accepts other encodings of infinity
        raise BadInput("commitment or proof is not canonically encoded")
    return point
