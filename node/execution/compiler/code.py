"""What is known of one contract's code: where jumps may land, and its units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from eth.exceptions import InvalidInstruction, InvalidJumpDestination

from node.execution.compiler.operations import JUMPDEST, PUSH1, PUSH32

Facts: TypeAlias = tuple[tuple[int, int], ...]
"""Stack items known at a unit's entry: depth from the top (1 is the top), and value."""
UnitFunction: TypeAlias = Callable[[Any, list[int], Any], int]
"""Takes computation, stack and gas meter; returns the next unit's number, or one of these."""
DONE = -1
MISFIT = -2
"""The stack is too short or too long for this unit: interpret from its start."""
VARIANTS_MAX = 4
"""Units of one entry point that know different return addresses."""


@dataclass(slots=True)
class Unit:
    """One entry point. `function` is None until it is compiled, or if it never will be."""

    pc: int
    facts: Facts
    function: UnitFunction | None = None
    departures: int = 0
    """How often it handed over to another unit."""
    branches: frozenset[int] = frozenset()
    """Units that its branches leave for."""
    joined: frozenset[int] = frozenset()
    """Units that were joined into it."""


@dataclass(slots=True)
class Code:
    """A contract's bytecode with its units; unit 0 is the beginning."""

    data: bytes
    destinations: frozenset[int]
    units: list[Unit] = field(default_factory=lambda: [Unit(0, ())])
    frames: int = 0
    """How often it was entered."""
    operations: int = 0
    """How many opcodes have been compiled."""
    _numbers: dict[tuple[int, Facts], int] = field(default_factory=lambda: {(0, ()): 0})
    _variants: dict[int, int] = field(default_factory=dict)

    def unit_number(self, pc: int, facts: Facts) -> int:
        """Return the number of a unit, making it if need be; with too many, without facts."""
        known = self._numbers.get((pc, facts))
        if known is not None:
            return known
        if facts and self._variants.get(pc, 0) >= VARIANTS_MAX:
            return self.unit_number(pc, ())
        self._variants[pc] = self._variants.get(pc, 0) + 1
        self.units.append(Unit(pc, facts))
        self._numbers[pc, facts] = len(self.units) - 1
        return len(self.units) - 1

    def find_jump(self, target: int) -> int:
        """Return the unit that a computed jump leads to.

        Raises:
            InvalidJumpDestination, InvalidInstruction: it may not land there.
        """
        if target in self.destinations:
            return self.unit_number(target, ())
        raise self.jump_error(target)

    def jump_error(self, target: int) -> Any:
        """Return what py-evm raises for a jump that may not land."""
        if target < len(self.data) and self.data[target] == JUMPDEST:
            return InvalidInstruction("jump into the data of a PUSH")
        return InvalidJumpDestination("not a jump destination")


def analyse(data: bytes) -> Code:
    """Return a contract's code with its jump destinations."""
    destinations, pc = set(), 0
    while pc < len(data):
        opcode = data[pc]
        if opcode == JUMPDEST:
            destinations.add(pc)
        pc += opcode - PUSH1 + 2 if PUSH1 <= opcode <= PUSH32 else 1
    return Code(data, frozenset(destinations))
