"""Random EVM programs for running two engines side by side.

Programs are mostly well formed, so that they run for a while, and sometimes not: too few stack
items, invalid jumps, too little gas, writes in static calls. Several contracts call each other,
themselves and precompiles with every call opcode, create contracts from code that they write, and
destroy themselves. An operand may come from any operation: only so does it show if one engine
leaves a value on the stack that equals the other's but has another type (case N-P0).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lowu.node.simulation.evm.scenes import write_scene

ADDRESSES = tuple(bytes([0xC0 + number]) * 20 for number in range(3))
SENDER = b"\x5e" * 20
BENEFICIARY = b"\xbe" * 20
WORDS = (
    0, 1, 2, 3, 31, 32, 33, 64, 96, 127, 128, 255, 256, 257, 1000, 2**31, 2**64, 2**128 - 1,
    2**160 - 1, 2**255 - 1, 2**255, 2**255 + 1, 2**256 - 2, 2**256 - 1,
)  # fmt: skip
_UNARY, _BINARY, _TERNARY = (0x15, 0x19), (*range(0x01, 0x08), 0x0B), (0x08, 0x09)
_COMPARE = (0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1A, 0x1B, 0x1C, 0x1D)
_ENVIRONMENT = (
    0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
    0x48, 0x4A, 0x58, 0x59, 0x5A,
)  # fmt: skip
_CALLS = (0xF1, 0xF2, 0xF4, 0xFA)
_CREATION_CODES = tuple(
    bytes.fromhex(text)
    for text in (
        "5ff3",  # an empty contract
        "30ff",  # destroys itself at once, with itself as beneficiary
        "33ff",  # with its creator as beneficiary
        "60015f5560025f5d5f5f5fa0",  # writes slots and emits a log
        "60015f5360015ff3",  # a contract of one byte
        "60ef5f5360015ff3",  # a forbidden contract (EIP-3541)
        "6130005ff3",  # a contract that is too large or too expensive
        "5f5ffd",
        "fe",
        "3660205237365ff0",
        "7f60006000556001601ff3000000000000000000000000000000000000000000005f5260205ff3"[:64],
    )
)


@dataclass(frozen=True, slots=True)
class Program:
    """Contracts by address, and the call of the first one."""

    codes: tuple[bytes, ...]
    storage: tuple[tuple[int, int], ...]
    """Slots of every contract before the run."""
    data: bytes
    value: int
    gas: int


class _Writer:
    """Writes one contract, tracking the stack depth along its straight line."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.code = bytearray()
        self.depth = 0
        self._labels: list[int] = []
        self._wanted: list[int] = []

    def push(self, word: int, width: int = 0) -> None:
        size = width or max(1, (word.bit_length() + 7) // 8)
        if word == 0 and not width and self.random.random() < 0.5:
            self.code.append(0x5F)
        else:
            self.code.append(0x5F + size)
            self.code += word.to_bytes(size, "big")
        self.depth += 1

    def op(self, opcode: int, pops: int, pushes: int) -> None:
        self.code.append(opcode)
        self.depth = max(0, self.depth + pushes - pops)

    def word(self) -> None:
        """Push a word: a special or small one, a copy of a stack item, or one read at run time."""
        kind = self.random.random()
        if kind < 0.2:  # unknown to a compiler
            self.push(self.random.randrange(100))
            self.op(self.random.choice((0x35, 0x35, 0x51, 0x54)), 1, 1)
        elif kind < 0.45 and self.depth:
            position = self.random.randint(1, min(16, self.depth))
            self.op(0x7F + position, 0, 1)
        elif kind < 0.7:
            self.push(self.random.choice(WORDS))
        else:
            self.push(self.random.randrange(300))

    def produce(self) -> None:
        """Push the result of an operation on a value that is known at run time only."""
        kind = self.random.random()
        if kind < 0.5:  # 0 or 1
            self.push(self.random.randrange(100))
            self.op(self.random.choice((0x35, 0x51, 0x54)), 1, 1)
            if self.random.random() < 0.5:
                self.op(0x15, 1, 1)
            else:
                self.push(self.random.choice(WORDS))
                self.op(self.random.choice((0x10, 0x11, 0x12, 0x13, 0x14)), 2, 1)
        elif kind < 0.7:
            self.op(self.random.choice((0x3D, 0x34, 0x36, 0x47, 0x59)), 0, 1)
        elif kind < 0.85:
            self.push(self.random.randrange(40))
            self.push(self.random.randrange(40))
            self.op(self.random.choice((0x06, 0x04, 0x1A, 0x01)), 2, 1)
        else:
            self.push(self.random.randrange(4))
            self.op(self.random.choice((0x5C, 0x54, 0x31, 0x3B)), 1, 1)

    def small(self, bound: int = 200) -> None:
        """Push an offset or a size, which is nearly always small."""
        kind = self.random.random()
        if kind < 0.005:
            self.push(self.random.choice(WORDS))
        elif kind < 0.2:
            self.produce()
        else:
            self.push(self.random.randrange(bound))

    def address(self) -> None:
        """Push an address: a contract's, a precompile's, an account's, or a computed one."""
        kind = self.random.random()
        if kind < 0.3:
            self.push(self.random.randint(1, 10))
        elif kind < 0.4:
            self.produce()
        elif kind < 0.45:
            self.push(int.from_bytes(self.random.choice((SENDER, BENEFICIARY)), "big"))
        else:
            self.push(int.from_bytes(self.random.choice(ADDRESSES), "big"))

    def need(self, count: int) -> None:
        while self.depth < count and self.random.random() > 0.003:
            self.word()

    def label(self) -> None:
        self._labels.append(len(self.code))
        self.op(0x5B, 0, 0)

    def target(self) -> None:
        """Push a jump target: an earlier label, a later one, or a random offset."""
        if self.random.random() < 0.02:
            self.push(self.random.randrange(max(1, len(self.code))), 2)
        elif self._labels and self.random.random() < 0.3:
            self.push(self.random.choice(self._labels), 2)
        else:
            self.code += b"\x61\0\0"
            self._wanted.append(len(self.code) - 2)
            self.depth += 1

    def finish(self) -> bytes:
        """Store and return results at the end; point open jumps at later labels."""
        self.label()
        for slot in range(min(3, self.depth)):
            self.push(slot)
            self.op(0x55, 2, 0)
        self.push(128)
        self.push(0)
        self.op(0xF3, 2, 0)
        self.label()
        for position in self._wanted:
            later = [label for label in self._labels if label > position] or self._labels
            self.code[position : position + 2] = self.random.choice(later).to_bytes(2, "big")
        return bytes(self.code)


def _compute(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.15:
        writer.need(1)
        writer.op(random.choice(_UNARY), 1, 1)
    elif kind < 0.9:
        writer.need(2)
        writer.op(random.choice(_BINARY + _COMPARE), 2, 1)
    elif kind < 0.97:
        writer.need(3)
        writer.op(random.choice(_TERNARY), 3, 1)
    else:
        writer.small(40)
        writer.word()
        writer.op(0x0A, 2, 1)


def _shuffle(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.5:
        position = random.randint(1, 16) if random.random() < 0.1 else random.randint(1, 4)
        writer.need(position + 1)
        writer.op(0x8F + position, 0, 0)
    elif kind < 0.8:
        writer.need(1)
        writer.op(0x50, 1, 0)
    else:
        writer.word()


def _frame(writer: _Writer) -> None:
    """Access memory near an offset known at run time only, as Solidity's code does."""
    random = writer.random
    writer.op(random.choice((0x36, 0x59, 0x34)), 0, 1)
    for _ in range(random.randint(1, 6)):
        writer.push(random.choice((random.randrange(200), 2**20, WORDS[-1])))
        writer.push(random.choice((0, 4, 31, 32, 36, 64, 2**20, WORDS[-1], WORDS[-2])))
        writer.op(0x82, 0, 1)
        writer.op(0x01, 2, 1)
        kind = random.random()
        if kind < 0.5:
            writer.op(random.choice((0x52, 0x53)), 2, 0)
        elif kind < 0.7:
            writer.op(0x51, 1, 1)
            writer.op(0x50, 1, 0)
            writer.op(0x50, 1, 0)
        elif kind < 0.85:
            writer.op(0x20, 2, 1)
            writer.op(0x50, 1, 0)
        else:
            writer.op(0x5A, 0, 1)
            writer.push(random.randrange(4))
            writer.op(0x55, 2, 0)
            writer.op(0x52, 2, 0)
    writer.op(0x50, 1, 0)


def _memory(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.15:
        _frame(writer)
        return
    if kind < 0.3:
        writer.need(1)
        writer.small()
        writer.op(0x52, 2, 0)
    elif kind < 0.4:
        writer.need(1)
        writer.small()
        writer.op(0x53, 2, 0)
    elif kind < 0.65:
        writer.small()
        writer.op(0x51, 1, 1)
    elif kind < 0.8:
        writer.small(100)
        writer.small()
        writer.op(0x20, 2, 1)
    else:
        writer.small(80)
        writer.small()
        writer.small()
        writer.op(random.choice((0x37, 0x39, 0x3E, 0x5E)), 3, 0)


def _storage(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.4:
        writer.push(random.randrange(4))
        writer.op(random.choice((0x54, 0x54, 0x5C)), 1, 1)
    elif kind < 0.9:
        if random.random() < 0.5:
            writer.push(random.choice((0, 0, 1, 2, 7)))
        else:
            writer.need(1)
        writer.push(random.randrange(4))
        writer.op(random.choice((0x55, 0x55, 0x5D)), 2, 0)
    else:
        topics = random.randrange(5)
        writer.need(topics)
        writer.small(70)
        writer.small()
        writer.op(0xA0 + topics, 2 + topics, 0)


def _environment(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.7:
        writer.op(random.choice(_ENVIRONMENT), 0, 1)
    elif kind < 0.85:
        writer.small()
        writer.op(0x35, 1, 1)
    elif kind < 0.95:
        writer.address()
        writer.op(random.choice((0x31, 0x3B, 0x3F, 0x40, 0x49)), 1, 1)
    else:
        for bound in (80, 40, 200):
            writer.small(bound)
        writer.address()
        writer.op(0x3C, 4, 0)


def _branch(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.4:
        writer.label()
    elif kind < 0.85:
        writer.need(1)
        writer.target()
        writer.op(0x57, 2, 0)
    else:
        writer.target()
        writer.op(0x56, 1, 0)
        writer.label()


def _call(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.75:
        opcode = random.choice(_CALLS)
        for bound in (70, 200, 200, 200):
            writer.small(bound)
        if opcode in (0xF1, 0xF2):
            if random.random() < 0.3:
                writer.produce()
            else:
                writer.push(random.choice((0, 0, 0, 1, 5)))
        writer.address()
        if random.random() < 0.5:
            writer.op(0x5A, 0, 1)
        else:
            writer.push(random.choice((0, 700, 3_000, 30_000)))
        writer.op(opcode, 7 if opcode in (0xF1, 0xF2) else 6, 1)
    elif kind < 0.93:
        _create(writer)
    else:
        _end(writer)


def _create(writer: _Writer) -> None:
    """Create a contract, mostly from code just written to memory."""
    random = writer.random
    code = random.choice(_CREATION_CODES)
    if random.random() < 0.8:
        writer.push(int.from_bytes(code.ljust(32, b"\0"), "big"), 32)
        writer.push(0)
        writer.op(0x52, 2, 0)
    is_second = random.random() < 0.5
    if is_second:
        writer.small(3)
    if random.random() < 0.7:
        writer.push(len(code))
        writer.push(0)
    else:
        writer.small(60)
        writer.small()
    if random.random() < 0.3:
        writer.produce()
    else:
        writer.push(random.choice((0, 0, 1)))
    writer.op(0xF5 if is_second else 0xF0, 4 if is_second else 3, 1)


def _end(writer: _Writer) -> None:
    random = writer.random
    kind = random.random()
    if kind < 0.5:
        writer.small(80)
        writer.small()
        writer.op(random.choice((0xF3, 0xFD)), 2, 0)
    elif kind < 0.6:
        writer.address()
        writer.op(0xFF, 1, 0)
    else:
        writer.op(random.choice((0x00, 0xFE, 0x0C, 0xEF)), 0, 0)
    writer.label()


_KINDS = (
    (_compute, 30), (_shuffle, 15), (_memory, 15), (_storage, 10), (_environment, 10),
    (_branch, 14), (_call, 8), (_end, 2),
)  # fmt: skip
_KINDS_OF_CALLERS = (
    (_compute, 8), (_shuffle, 4), (_memory, 12), (_storage, 25), (_environment, 6), (_branch, 4),
    (_call, 30), (_end, 1),
)  # fmt: skip


def write_code(random: Random, length: int) -> bytes:
    """Return a random contract of `length` steps."""
    writer = _Writer(random)
    table = _KINDS_OF_CALLERS if random.random() < 0.4 else _KINDS
    kinds, weights = zip(*table, strict=True)
    for _ in range(length):
        random.choices(kinds, weights)[0](writer)
    return writer.finish()


def write_calculation(random: Random) -> bytes:
    """Return a contract that computes with its call data and returns the result."""
    writer = _Writer(random)
    for number in range(8):
        writer.push(32 * number)
        writer.op(0x35, 1, 1)
    for _ in range(random.randint(5, 40)):
        random.choices((_compute, _shuffle), (3, 1))[0](writer)
    for number in range(min(5, writer.depth)):
        writer.push(32 * number)
        writer.op(0x52, 2, 0)
    writer.push(160)
    writer.push(0)
    writer.op(0xF3, 2, 0)
    return writer.finish()


def _draw_calculation(random: Random) -> Program:
    words = [
        random.choice((*WORDS, random.getrandbits(256), random.getrandbits(9))) for _ in range(8)
    ]
    data = b"".join(word.to_bytes(32, "big") for word in words)
    return Program((write_calculation(random), b"", b""), (), data, 0, 100_000)


def _draw_scene(random: Random) -> Program:
    codes = tuple(write_scene(random, ADDRESSES, random.randint(1, 9)) for _ in ADDRESSES)
    storage = tuple((slot, random.choice((0, 1, 7))) for slot in range(3))
    gas = random.choice((random.randrange(200_000), 400_000, 400_000, 2_000_000))
    data = random.randbytes(random.choice((0, 31, 64, 100, 128)))
    return Program(codes, storage, data, random.choice((0, 0, 3)), gas)


def draw_program(random: Random) -> Program:
    """Return a random program."""
    kind = random.random()
    if kind < 0.2:
        return _draw_calculation(random)
    if kind < 0.6:
        return _draw_scene(random)
    length = random.choice((5, 20, 60, 150))
    codes = tuple(write_code(random, length) for _ in ADDRESSES)
    storage = tuple((slot, random.choice((0, 1, 7))) for slot in range(4))
    gas = random.choice(
        (random.randrange(5_000), random.randrange(60_000), *[400_000] * 4, 2_000_000)
    )
    value = random.choice((0, 0, 0, 0, 3, 3, 3, 10**9 if random.random() < 0.2 else 0))
    return Program(codes, storage, random.randbytes(random.choice((0, 4, 36, 100))), value, gas)
