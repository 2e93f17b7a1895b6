"""Random contracts that interact, built from acts: whole sequences, each with a visible effect.

Sequences of random opcodes rarely write a slot, let a callee write the same slot, and read it
again; nor do they often observe the caller, or just fill the stack. So whole acts are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_SLOTS = 3
_CALLS = (0xF1, 0xF2, 0xF4, 0xFA)
_OPERATIONS = (
    *range(0x01, 0x08), 0x0B, 0x0B, *range(0x10, 0x15), *range(0x16, 0x19), *range(0x1A, 0x1E),
    0x1D,
)  # fmt: skip
_COPIES = (0x37, 0x37, 0x39, 0x39, 0x5E, 0x3E)


def push(word: int) -> bytes:
    """Return code that pushes a word."""
    size = (word.bit_length() + 7) // 8
    return bytes([0x5F + size]) + word.to_bytes(size, "big")


def _store(value: bytes, slot: int) -> bytes:
    return value + push(slot) + b"\x55"


class _Scene:
    """Writes the acts of one contract."""

    def __init__(self, random: Random, others: tuple[bytes, ...]) -> None:
        self.random = random
        self.others = others

    def slot(self) -> int:
        return self.random.randrange(_SLOTS)

    def write(self) -> bytes:
        """Write or clear a slot, perhaps with the value that it has already."""
        value = push(self.random.choice((0, 0, 1, 7)))
        opcode = self.random.choice((b"\x55", b"\x55", b"\x5d"))
        return value + push(self.slot()) + opcode

    def read(self) -> bytes:
        """Read a slot into memory."""
        opcode = self.random.choice((b"\x54", b"\x54", b"\x5c"))
        return push(self.slot()) + opcode + push(32 * self.random.randrange(5)) + b"\x52"

    def tell(self) -> bytes:
        """Store one value of the context: own address, caller, call value, gas left, …."""
        opcode = self.random.choice(b"\x30\x33\x33\x34\x36\x47\x3d\x5a")
        return _store(bytes([opcode]), self.slot())

    def call(self, opcodes: tuple[int, ...] = _CALLS, *, is_quiet: bool = False) -> bytes:
        """Call a contract or a precompile; store the status, copy the returned data, or neither."""
        opcode = self.random.choice(opcodes)
        address = push(int.from_bytes(self.random.choice(self.others), "big"))
        if self.random.random() < 0.15:
            address = push(self.random.randrange(1, 12))
        value = b""
        if opcode in {0xF1, 0xF2}:
            value = push(0 if is_quiet else self.random.choice((0, 0, 1)))
        gas = self.random.choice((b"\x5a", b"\x5a", push(self.random.choice((0, 2_300, 40_000)))))
        area = b"".join(push(32 * self.random.randrange(5)) for _ in range(4))
        code = area + value + address + gas + bytes([opcode])
        kind = self.random.random()
        if is_quiet:
            return code + b"\x50"
        if kind < 0.4:
            return _store(code, self.slot())
        if kind < 0.6:
            return code + b"\x50" + push(32) + push(0) + push(0) + b"\x3e"
        return code + b"\x50"

    def around_a_call(self) -> bytes:
        """Make a slot or a word known to the compiler, call, and read it again."""
        slot, word = self.slot(), 32 * self.random.randrange(5)
        known = _store(push(self.random.randrange(3)), slot)
        if self.random.random() < 0.3:
            known = push(slot) + b"\x54" + push(word) + b"\x52"
        again = _store(push(slot) + b"\x54" + push(1) + b"\x01", self.slot())
        call = self.call((0xF1, 0xF2, 0xF2, 0xF4, 0xF4))  # most use the caller's slots
        return known + call + again + push(word) + b"\x51" + push(128) + b"\x52"

    def overlap(self) -> bytes:
        """Store a word, overwrite part of it, and read it again."""
        offset = self.random.randrange(64)
        near = max(0, offset + self.random.randrange(-32, 33))
        value = push(self.random.getrandbits(256))
        across = push(self.random.getrandbits(200)) + push(near)
        across += self.random.choice((b"\x52", b"\x53"))
        return value + push(offset) + b"\x52" + across + _store(push(offset) + b"\x51", self.slot())

    def copy(self) -> bytes:
        """Copy from a source that may be too short, over earlier contents of memory."""
        opcode = self.random.choice(_COPIES)
        fill = b"\x5f\x19" + push(32 * self.random.randrange(3)) + b"\x52"
        is_padded = opcode in {0x37, 0x39}
        far = (100, 2**20, 2**256 - 1) if is_padded else ()
        start = push(self.random.choice((0, 1, 30, *far)))
        copied = push(self.random.choice((0, 1, 33, 64, 90))) + start
        copied += push(self.random.randrange(40)) + bytes([opcode])
        return fill + copied + _store(push(128) + b"\x5f\x20", self.slot())

    def extend(self) -> bytes:
        """Access memory at a high offset, which may cost too much gas."""
        offset = self.random.choice((1_000, 9_999, 2**15, 2**17, 2**20 - 32, 2**20, 2**21))
        if self.random.random() < 0.5:
            return push(offset) + b"\x51\x50"
        return b"\x5f" + push(offset) + self.random.choice((b"\x52", b"\x53"))

    def compute(self) -> bytes:
        """Compute on call data or memory, and store the result."""
        first = push(32 * self.random.randrange(4)) + self.random.choice((b"\x35", b"\x51"))
        second = push(self.random.choice((0, 1, 2, 7, 31, 32, 255, 2**255, 2**256 - 1)))
        pair = first + second if self.random.random() < 0.6 else second + first
        return _store(pair + bytes([self.random.choice(_OPERATIONS)]), self.slot())

    def log(self) -> bytes:
        """Emit a log with some memory."""
        topics = self.random.randrange(3)
        return (
            b"\x33" * topics
            + push(self.random.choice((0, 5, 70)))
            + b"\x5f"
            + bytes([0xA0 + topics])
        )

    def create(self, code: str) -> bytes:
        """Store creation code in memory and run it."""
        size = len(code) // 2
        stored = push(int(code, 16)) + b"\x5f\x52"
        return stored + push(size) + push(32 - size) + push(self.random.choice((0, 0, 1))) + b"\xf0"

    def raise_another(self) -> bytes:
        """Create a contract that does one thing, call it, and store the status.

        It destroys itself in favour of its caller, or writes a slot with just about the gas that
        a write needs.
        """
        code, gas = "6133ff5f526002601ef3", b"\x5a"
        if self.random.random() < 0.5:
            code, gas = "625f5f555f526003601df3", push(self.random.randrange(2_302, 2_307))
        called = b"\x5f" * 5 + b"\x85" + gas + b"\xf1"
        return self.create(code) + _store(called, self.slot()) + push(self.slot()) + b"\x55"

    def relay(self) -> bytes:
        """Create a contract that calls a given address, and call another contract through it."""
        created = self.create("6e5f5f5f5f5f5f355af15f5260205ff35f52600f6011f3")
        told = push(int.from_bytes(self.random.choice(self.others), "big")) + b"\x5f\x52"
        opcode = self.random.choice((0xFA, 0xFA, 0xF4, 0xF1))
        value = b"\x5f" if opcode == 0xF1 else b""
        called = push(32) + b"\x5f" + push(32) + b"\x5f" + value
        called += bytes([0x84 + len(value)]) + b"\x5a" + bytes([opcode])
        return created + told + _store(called, self.slot()) + _store(b"\x5f\x51\x01", self.slot())

    def fill_the_stack(self) -> bytes:
        """Push until the stack is nearly full, full, or overflows by one."""
        count = self.random.choice((1_022, 1_023, 1_024, 1_025))
        return b"\x5f" * count + b"\x50" * count

    def end(self) -> bytes:
        """Stop, revert, destroy the contract, or continue."""
        kind = self.random.random()
        if kind < 0.3:
            address = self.random.choice(self.others)
            return push(int.from_bytes(address, "big")) + b"\xff"
        if kind < 0.45:
            return push(self.random.choice((0, 32, 70))) + b"\x5f\xfd"
        if kind < 0.7:
            return b"\x00"
        return b""


_ACTS: tuple[tuple[Callable[[_Scene], bytes], int], ...] = (
    (_Scene.write, 4), (_Scene.read, 3), (_Scene.tell, 3), (_Scene.call, 5),
    (_Scene.around_a_call, 4), (_Scene.overlap, 2), (_Scene.copy, 3), (_Scene.extend, 1),
    (_Scene.compute, 6), (_Scene.log, 1), (_Scene.raise_another, 2), (_Scene.relay, 2),
    (_Scene.fill_the_stack, 1), (_Scene.end, 1),
)  # fmt: skip


def write_scene(random: Random, others: tuple[bytes, ...], acts: int) -> bytes:
    """Return a contract of `acts` acts that calls others, and returns its memory at the end."""
    scene = _Scene(random, others)
    if random.random() < 0.3:  # it writes nothing itself: static calls pass through it
        return scene.call(is_quiet=True) + scene.read() + push(160) + b"\x5f\xf3"
    kinds, weights = zip(*_ACTS, strict=True)
    code = b"".join(act(scene) for act in random.choices(kinds, weights, k=acts))
    return code + push(160) + b"\x5f\xf3"
