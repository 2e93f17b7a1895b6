"""The facts known about one contract's code: where jumps may land, and its units."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from eth.exceptions import InvalidInstruction, InvalidJumpDestination

from lowu.node.execution.compiler.operations import JUMPDEST, PUSH1

Facts: TypeAlias = tuple[tuple[int, int], ...]
"""Stack items known at a unit's entry: depth from the top (1 is the top), and value."""
UnitFunction: TypeAlias = Callable[[Any, list[int], Any], int]
"""Takes computation, stack and gas meter; returns the next unit's number, `DONE` or `MISFIT`."""
DONE = -1
MISFIT = -2
"""The stack is too short or too tall for this unit: step from its start."""
VARIANTS_MAX = 4
"""Maximum number of units for one entry point, with different known return addresses."""


_PUSHES = b"|".join(re.escape(bytes([PUSH1 + width - 1])) + b"." * width for width in range(1, 33))
_INSTRUCTION = rb"[^\x60-\x7f]{1,64}+|%b" % _PUSHES
_FEW_INSTRUCTIONS = re.compile(rb"(?:%b){1,16}+" % _INSTRUCTION, re.DOTALL)
_INSTRUCTIONS = re.compile(rb"(?:%b)*+" % _INSTRUCTION, re.DOTALL)


class Destinations:
    """Where jumps may land in some code: `pc in destinations`.

    The code is scanned only on the first query: a stranger's transaction may call contracts for
    too little gas to pay for a scan of 24 kB in Python. A regular expression scans in strides.
    """

    __slots__ = ("_data", "_found", "_starts")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._found: dict[int, bool] = {}
        self._starts: list[int] = []
        """Offsets at which an instruction begins: one of every few instructions."""

    def __contains__(self, pc: object) -> bool:
        if not isinstance(pc, int) or pc >= len(self._data) or self._data[pc] != JUMPDEST:
            return False
        known = self._found.get(pc)
        if known is not None:
            return known
        self._found[pc] = found = self._begins_instruction(pc)
        return found

    def _begins_instruction(self, pc: int) -> bool:
        if not self._starts:
            padded = self._data + bytes(32)  # for a PUSH that is cut off at the end
            self._starts = [0, *(few.end() for few in _FEW_INSTRUCTIONS.finditer(padded))]
        start = self._starts[bisect_right(self._starts, pc) - 1]
        found = _INSTRUCTIONS.match(self._data, start, pc)
        return found is not None and found.end() == pc


@dataclass(slots=True)
class Unit:
    """One entry point. `function` is None until, and unless, it is compiled."""

    pc: int
    facts: Facts
    function: UnitFunction | None = None
    departures: int = 0
    """Number of times that it handed over to another unit."""
    branches: frozenset[int] = frozenset()
    """Units that its branches exit to."""
    joined: frozenset[int] = frozenset()
    """Units that were joined (inlined) into it."""


@dataclass(slots=True)
class Code:
    """A contract's bytecode with its units; unit 0 starts at pc 0."""

    data: bytes
    destinations: Destinations
    units: list[Unit] = field(default_factory=lambda: [Unit(0, ())])
    gas: int = 0
    """Gas used by its own frames, without the frames that they called."""
    operations: int = 0
    """Number of opcodes compiled so far."""
    is_refused: bool = False
    """Whether Python has failed to compile it: it is not tried again."""
    _numbers: dict[tuple[int, Facts], int] = field(default_factory=lambda: {(0, ()): 0})
    _variants: dict[int, int] = field(default_factory=dict)

    def unit_number(self, pc: int, facts: Facts) -> int:
        """Return a unit's number, adding the unit if new; over `VARIANTS_MAX`, without facts."""
        known = self._numbers.get((pc, facts))
        if known is not None:
            return known
        if facts and self._variants.get(pc, 0) >= VARIANTS_MAX:
            return self.unit_number(pc, ())
        self._variants[pc] = self._variants.get(pc, 0) + 1
        self.units.append(Unit(pc, facts))
        self._numbers[pc, facts] = len(self.units) - 1
        return len(self.units) - 1

    def find_unit(self, pc: int) -> int:
        """Return the number of the compiled unit at `pc` that needs no facts, or -1."""
        number = self._numbers.get((pc, ()), -1)
        return number if number >= 0 and self.units[number].function is not None else -1

    def find_jump(self, target: int) -> int:
        """Return the unit that a computed jump leads to.

        Raises:
            InvalidJumpDestination, InvalidInstruction: no jump may land there.
        """
        if target in self.destinations:
            return self.unit_number(target, ())
        raise self.jump_error(target)

    def jump_error(self, target: int) -> Any:
        """Return the error that py-evm raises for an invalid jump."""
        if target < len(self.data) and self.data[target] == JUMPDEST:
            return InvalidInstruction("jump into the data of a PUSH")
        return InvalidJumpDestination("not a jump destination")


def analyse(data: bytes) -> Code:
    """Return a contract's code, with nothing known about it yet."""
    return Code(data, Destinations(data))
