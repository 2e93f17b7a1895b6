"""Each precompile's worst cost: CPU a million gas, and the longest time without thread switch.

The bound of ADR 5 is 20 s of CPU for a block of 100 million gas: 200 ms a million.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from lowu.node.crypto import sign
from lowu.node.execution.precompiles.bn254 import add, multiply, read_point, write_point
from lowu.node.execution.precompiles.prices import BLAKE2F_BYTES
from lowu.node.execution.precompiles.table import PRECOMPILES, PrecompileFailed

BOUND_MS = 200.0
"""Milliseconds of CPU a million gas (ADR 5)."""
GOAL_MS = 100.0
"""Milliseconds a million gas that a precompile should stay below on an idle machine."""
STEPS_PER_GAS_MAX = 1.5
"""Most steps of `measure_reference_ms` that a unit of gas may cost; a million steps take some
100 ms on an idle machine."""
_BATCH_S, _BATCHES = 0.003, 5
"""Duration of a batch of repeated calls, and number of batches; the minimum counts."""
_REFERENCE_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Input:
    """An input that is expensive for its price."""

    precompile: str
    what: str
    address: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of an input: `gas` by our prices, CPU a million gas, longest time without a switch.

    `steps_per_gas` is the same CPU in steps of the reference loop, measured right beside it: it
    depends little on the machine and its other load.
    """

    precompile: str
    what: str
    gas: int
    ms_per_million: float
    steps_per_gas: float
    stretch_ms: float


def measure_costs(inputs: list[Input] | None = None) -> list[Cost]:
    """Return the cost of each input, by default of the worst inputs of all precompiles."""
    return [measure_cost(item) for item in (draw_worst_inputs() if inputs is None else inputs)]


def measure_cost(item: Input) -> Cost:
    """Return an input's cost: the minimum over several batches, as other load only adds to it.

    The reference loop runs right before and right after each batch.
    """
    call = prepare(item)
    gas = call()
    count = max(1, int(_BATCH_S / max(_time(call), 1e-7)))

    def batch() -> None:
        for _ in range(count):
            call()

    def measure() -> float:
        return _time(batch) / count * 1e9 / gas

    with collection_paused():
        ms, steps = take_least([measure_by_yardstick(measure) for _ in range(_BATCHES)])
    return Cost(item.precompile, item.what, gas, ms, steps, measure_stretch_ms(call))


def measure_by_yardstick(measure: Callable[[], float]) -> tuple[float, float]:
    """Return the measured ms a million gas, and the reference-loop steps a gas."""
    before_ms = measure_reference_ms()
    cost_ms = measure()
    return cost_ms, 2 * cost_ms / (before_ms + measure_reference_ms())


def take_least(costs: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the minimum ms and the minimum steps, since other load only adds to them."""
    return min(ms for ms, _ in costs), min(steps for _, steps in costs)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the garbage collector for a measurement: its cost depends on the whole process."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def measure_reference_ms() -> float:
    """Return the CPU ms of a million steps of plain arithmetic: the reference loop."""

    def loop() -> None:
        value = 1
        for step in range(_REFERENCE_STEPS):
            value = (value * 6364136223846793005 + step) & 0xFFFFFFFFFFFFFFFF

    return _time(loop) * 1000 * (1_000_000 / _REFERENCE_STEPS)


def measure_stretch_ms(call: Callable[[], object]) -> float:
    """Return the longest time during the call in which another thread could not run.

    Python switches threads every 5 ms; a much longer time means that the call keeps the lock.
    """
    done, gaps = Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.0002)
            now = time.perf_counter()
            gaps[0] = max(gaps[0], now - last)
            last = now

    watcher = Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return gaps[0] * 1000


def prepare(item: Input) -> Callable[[], int]:
    """Return a function that calls the precompile as the EVM does, and returns its price.

    The precompile may fail.
    """
    spent = 0

    def consume_gas(amount: int, reason: str) -> None:
        nonlocal spent
        del reason
        spent = amount

    computation: Any = SimpleNamespace(
        msg=SimpleNamespace(data=item.data, data_as_bytes=item.data),
        consume_gas=consume_gas,
        transaction_context=SimpleNamespace(watch=None),
    )
    precompile = PRECOMPILES[item.address]

    def call() -> int:
        with suppress(PrecompileFailed):
            precompile(computation)
        return spent

    return call


def _time(work: Callable[[], object]) -> float:
    """Return the CPU seconds that this thread spends on the work."""
    before = time.thread_time()
    work()
    return time.thread_time() - before


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _fill(size: int, seed: int = 0x9E3779B97F4A7C15) -> bytes:
    """Return pseudorandom bytes with the first and the last bit set."""
    number = pow(seed, 2 * size + 3, 1 << 8 * size) | 1 << 8 * size - 1 | 1
    return number.to_bytes(size, "big")


G1 = _word(1) + _word(2)
G2 = bytes.fromhex(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
)
"""The groups' generators, encoded as in EIP-197."""
NOT_IN_G2 = bytes.fromhex(
    "0000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000001"
    "0d1271953ed9ea0836846e70a1934187998c7f790cb4d7511b7f8da82de048a4"
    "2869111d5381f072f8e2728fdb825a51aadd70e52c9830e9ab4b871c0531f1bb"
)
"""A point on the twisted curve whose order is not the group's."""
COMMITMENT = bytes.fromhex(
    "8e0fbcbc40e49239136b4304185804626fc9452509e4b651b000374f814baf3a"
    "88f401e168611fab1a7ce5c09970833d"
)
PROOF = bytes.fromhex(
    "8bd183ef9723c920da2f3a4e1c56f16ba8dc280f12107502fedfc4771dae6dd3"
    "e9049cb40228ab14d09d73cbda2ee23d"
)
VALUE = bytes.fromhex("42891f6c4de28c62a191a897ad9e7a211dd8beaf0dbaf995bb0dfc10599518a5")
"""A KZG proof, made with c-kzg, that the polynomial with values 5, 6, 7, … has `VALUE` at 77."""
NOT_IN_KZG_GROUP = b"\x80" + (4).to_bytes(47, "big")


def encode_modexp(base: bytes, exponent: bytes, modulus: bytes) -> bytes:
    """Return the input of a modular exponentiation."""
    lengths = b"".join(_word(len(part)) for part in (base, exponent, modulus))
    return lengths + base + exponent + modulus


def encode_blake2f(rounds: int) -> bytes:
    """Return the input of BLAKE2F with a pseudorandom message."""
    return rounds.to_bytes(4, "big") + _fill(BLAKE2F_BYTES - 5) + b"\x01"


def encode_point_evaluation(commitment: bytes, z: int, y: bytes, proof: bytes) -> bytes:
    """Return the input of a point evaluation, with the matching versioned hash."""
    versioned_hash = b"\x01" + sha256(commitment).digest()[1:]
    return versioned_hash + _word(z) + y + commitment + proof


def draw_worst_inputs() -> list[Input]:
    """Return the inputs that are most expensive for their price, including failing ones."""
    rows = (
        *((1, what, data) for what, data in _draw_signatures()),
        *((address, f"{size} bytes", bytes(size)) for address in (2, 3, 4) for size in (1, 10**6)),
        *((5, what, data) for what, data in _draw_powers()),
        *((address, what, data) for address, what, data in _draw_points()),
        *((8, what, data) for what, data in _draw_pairs()),
        *((9, f"{rounds} rounds", encode_blake2f(rounds)) for rounds in (0, 1, 10, 12, 2_000)),
        *((10, what, data) for what, data in _draw_evaluations()),
    )
    names = (
        "", "ECRECOVER", "SHA256", "RIPEMD160", "IDENTITY", "MODEXP", "ECADD", "ECMUL",
        "ECPAIRING", "BLAKE2F", "POINT_EVALUATION",
    )  # fmt: skip
    return [Input(names[at], what, at.to_bytes(20, "big"), data) for at, what, data in rows]


def _draw_signatures() -> list[tuple[str, bytes]]:
    digest = _fill(32)
    signature = sign(_fill(32, 3)[:31].rjust(32, b"\x01"), digest)
    r_s, v = signature[:64], _word(27 + signature[64])
    no_point = _word(5)  # 5³ + 7 is not a square
    return [("a signature", digest + v + r_s), ("r of no point", digest + v + no_point + r_s[32:])]


def _draw_powers() -> list[tuple[str, bytes]]:
    rows = [
        (f"{size} bytes even, exponent {exponent_size}", size, exponent_size, False)
        for size, exponent_size in (
            (1, 1), (1, 32), (1, 1000), (8, 32), (8, 75), (8, 50_000), (9, 32), (16, 1000), (32, 2),
            (32, 32), (256, 32), (1024, 32),
        )
    ]  # fmt: skip
    rows += [("16 bytes odd, exponent 1000", 16, 1000, True)]
    inputs = []
    for what, size, exponent_size, is_odd in rows:
        modulus = _fill(size, 11)
        modulus = modulus if is_odd else modulus[:-1] + bytes((modulus[-1] & 0xFE | 2,))
        inputs.append((what, encode_modexp(_fill(size, 7), _fill(exponent_size), modulus)))
    inputs.append(("65,536 bytes, cubed", encode_modexp(_fill(65_536, 7), b"\x03", _fill(65_536))))
    long_base = encode_modexp(_fill(65_536, 7), b"\x03", _fill(30_000))
    return [*inputs, ("base 65,536, modulus 30,000 bytes, cubed", long_base)]


def _draw_points() -> list[tuple[int, str, bytes]]:
    point = write_point(multiply(read_point(G1), 0xDEADBEEF << 200))
    other = write_point(add(read_point(point), read_point(G1)))
    off_curve = _word(1) + _word(3)
    return [
        (6, "two points", point + other),
        (6, "a point twice", point + point),
        (6, "the second off the curve", point + off_curve),
        (7, "2²⁵⁶ − 1", point + b"\xff" * 32),
        (7, "a factor of many digits", point + _fill(32)),
        (7, "off the curve", off_curve + b"\xff" * 32),
    ]


def _draw_pairs() -> list[tuple[str, bytes]]:
    infinity = bytes(64)
    return [
        ("no pair", b""),
        ("1 pair", G1 + G2),
        ("2 pairs", (G1 + G2) * 2),
        ("10 pairs", (G1 + G2) * 10),
        ("1 pair, outside the group", G1 + NOT_IN_G2),
        ("10 pairs, the last outside the group", (G1 + G2) * 9 + G1 + NOT_IN_G2),
        ("10 pairs with infinity", (infinity + G2) * 10),
    ]


def _draw_evaluations() -> list[tuple[str, bytes]]:
    return [
        ("a proof", encode_point_evaluation(COMMITMENT, 77, VALUE, PROOF)),
        ("a wrong value", encode_point_evaluation(COMMITMENT, 77, _word(5), PROOF)),
        ("outside the group", encode_point_evaluation(COMMITMENT, 77, VALUE, NOT_IN_KZG_GROUP)),
    ]
