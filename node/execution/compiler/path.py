"""The tracer's knowledge along one path through the code: stack, memory, gas owed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

WORD = 32


@dataclass(frozen=True, slots=True)
class Value:
    """A word on the symbolic stack: a constant, or a local variable of the compiled function."""

    text: str
    """Its name or literal in compiled code."""
    bits: int = 256
    constant: int | None = None
    base: str = ""
    """If set, this value is that variable plus `delta`, without overflow."""
    delta: int = 0

    @property
    def root(self) -> str:
        """The variable that memory offsets are relative to."""
        return self.base or self.text


def constant(word: int) -> Value:
    """Return a known word."""
    word = int(word)
    return Value(str(word) if word < 1 << 64 else hex(word), word.bit_length(), word)


@dataclass(slots=True)
class Path:
    """One straight line of code.

    The symbolic stack is `items` on top of the rest of the stack at the entry (or after the last
    interpreted opcode), of which `base` items were popped. `entries` maps a depth at the entry
    to the variable that holds that item, or to a known constant.
    """

    pc: int
    indent: int
    items: list[Value] = field(default_factory=list)
    base: int = 0
    entries: dict[int, Value] = field(default_factory=dict)
    shift: int = 0
    """Number of items that the real stack has grown by since the unit's entry."""
    owed: int = 0
    """Gas that is due but not taken yet."""
    memory_min: int = 0
    """Lower bound of the memory's length in bytes."""
    length: int | None = None
    """Exact length of memory in bytes, if known: as long as it depends on the code alone."""
    covered: dict[str, int] = field(default_factory=dict)
    """Bytes that memory is known to reach past a variable, which is then known to be small."""
    growth: tuple[int, str, int] | None = None
    """Line, variable and gas owed of the last memory check, if it may be extended: since then,
    nothing could observe the gas left, or fail for another reason than lack of gas."""
    words: dict[int, Value] = field(default_factory=dict)
    """Known memory words, by offset."""
    hashes: dict[tuple[str, ...], Value] = field(default_factory=dict)
    """Hashes of known words."""
    slots: dict[str, Value] = field(default_factory=dict)
    """Storage slots that are warm, with their values."""
    seen: set[tuple[object, ...]] = field(default_factory=set)
    """Jump destinations passed, with stack height and facts; passing one again is a loop."""

    def branch(self, pc: int) -> Path:
        """Return a copy that continues at `pc`, one level deeper."""
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
        """Return the stack items known to be certain jump destinations, as return addresses are."""
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
        """Forget memory and storage, since other code may have changed them."""
        self.length = None
        self.words.clear()
        self.slots.clear()

    def known_words(self, start: Value, size: Value) -> tuple[str, ...]:
        """Return the names of the words in a span of memory; () if any is unknown."""
        if start.constant is None or size.constant is None or size.constant % WORD:
            return ()
        offsets = range(start.constant, start.constant + size.constant, WORD)
        found = [self.words.get(offset) for offset in offsets]
        return tuple(item.text for item in found if item is not None) if all(found) else ()

    def remember_word(self, offset: int, value: Value) -> None:
        """Note a memory word that was written or read; forget words that it overlaps."""
        self.forget_words(offset, WORD)
        self.words[offset] = value

    def forget_words(self, offset: int, size: int) -> None:
        """Forget known words that a write touches."""
        for at in [at for at in self.words if offset - WORD < at < offset + size]:
            del self.words[at]
