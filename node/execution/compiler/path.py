"""What the tracer knows along one path through the code: stack, memory, gas owed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

WORD = 32


@dataclass(frozen=True, slots=True)
class Value:
    """A word on the symbolic stack: a constant, or a local variable of the compiled function."""

    text: str
    """How compiled code names it."""
    bits: int = 256
    constant: int | None = None
    base: str = ""
    """If set, this is that variable plus `delta`, without overflow."""
    delta: int = 0

    @property
    def root(self) -> str:
        """The variable that offsets in memory are told apart by."""
        return self.base or self.text


def constant(word: int) -> Value:
    """Return a known word."""
    word = int(word)
    return Value(str(word) if word < 1 << 64 else hex(word), word.bit_length(), word)


@dataclass(slots=True)
class Path:
    """One straight line.

    The stack is what is left of the stack at the entry (or after the last interpreted opcode),
    `items` on top of it. `base` entries were taken off; `entries` maps a depth at the entry to
    the variable that holds it, or to a known constant.
    """

    pc: int
    indent: int
    items: list[Value] = field(default_factory=list)
    base: int = 0
    entries: dict[int, Value] = field(default_factory=dict)
    shift: int = 0
    """By how much the real stack has grown since the unit's entry."""
    owed: int = 0
    """Gas that is due and not taken yet."""
    memory_min: int = 0
    """A length that memory surely has."""
    length: int | None = None
    """The length that memory has, if that is known: as long as the code alone decides it."""
    covered: dict[str, int] = field(default_factory=dict)
    """How far behind a variable memory surely reaches; the variable is then small."""
    growth: tuple[int, str, int] | None = None
    """Line, variable and gas owed of the last check of memory, if it may still reach further:
    nothing since then could fail, or tell how much gas is left, but for want of gas."""
    words: dict[int, Value] = field(default_factory=dict)
    """Memory words that are known, by offset."""
    hashes: dict[tuple[str, ...], Value] = field(default_factory=dict)
    """Hashes of known words."""
    slots: dict[str, Value] = field(default_factory=dict)
    """Storage slots that are warm, with their values."""
    seen: set[tuple[object, ...]] = field(default_factory=set)
    """Jump destinations passed, with height and facts: coming back to one is a loop."""

    def branch(self, pc: int) -> Path:
        """Return a copy that goes on elsewhere, one level deeper."""
        return Path(
            pc,
            self.indent + 1,
            list(self.items),
            self.base,
            dict(self.entries),
            self.shift,
            self.owed,
            self.memory_min,
            self.length,
            dict(self.covered),
            None,
            dict(self.words),
            dict(self.hashes),
            dict(self.slots),
            set(self.seen),
        )

    @property
    def height(self) -> int:
        """Height of the stack, relative to the unit's entry."""
        return self.shift - self.base + len(self.items)

    def facts(self, destinations: Container[int]) -> tuple[tuple[int, int], ...]:
        """Return which stack items are surely certain jump destinations: return addresses."""
        found = [
            (depth, item.constant)
            for depth, item in enumerate(reversed(self.items), 1)
            if item.constant is not None and item.constant in destinations
        ]
        found += [
            (depth - self.base + len(self.items), item.constant)
            for depth, item in sorted(self.entries.items())
            if depth > self.base and item.constant is not None
        ]
        return tuple(found)

    def forget(self) -> None:
        """Forget memory and storage: something else than this code has worked on them."""
        self.length = None
        self.words.clear()
        self.slots.clear()

    def known_words(self, start: Value, size: Value) -> tuple[str, ...]:
        """Return the names of the words in a span of memory; nothing if one is not known."""
        if start.constant is None or size.constant is None or size.constant % WORD:
            return ()
        offsets = range(start.constant, start.constant + size.constant, WORD)
        found = [self.words.get(offset) for offset in offsets]
        return tuple(item.text for item in found if item is not None) if all(found) else ()

    def remember_word(self, offset: int, value: Value) -> None:
        """Note a memory word that was written or read; forget what it overlaps."""
        self.forget_words(offset, WORD)
        self.words[offset] = value

    def forget_words(self, offset: int, size: int) -> None:
        """Forget known words that a write touches."""
        for at in [at for at in self.words if offset - WORD < at < offset + size]:
            del self.words[at]
