"""Running programs in both EVM engines and comparing all that is observable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from lowu.node.config import Engine
from lowu.node.crypto import keccak256
from lowu.node.errors import EngineMismatch
from lowu.node.execution.account_db import encode_account, encode_slot
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.evm import BlockContext, Evm, Outcome
from lowu.node.execution.flat_state import (
    TABLE_ACCOUNT,
    TABLE_CODE,
    TABLE_STORAGE,
    EmptyState,
    LayeredState,
    StateKey,
)
from lowu.node.execution.machine import InterpretedComputation
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program, draw_program

CONTEXT = BlockContext(7, 1_700_000_000, 30_000_000, 20_200, lambda number: bytes([number]) * 32)


def state_of(program: Program) -> LayeredState:
    """Return the initial state of a program."""
    writes: dict[StateKey, bytes] = {
        (TABLE_ACCOUNT, SENDER): encode_account((0, 10**6, keccak256(b"")))
    }
    for address, code in zip(ADDRESSES, program.codes, strict=True):
        code_hash = keccak256(code)
        writes[TABLE_ACCOUNT, address] = encode_account((1, 100, code_hash))
        writes[TABLE_CODE, code_hash] = code
        for slot, word in program.storage:
            if word:
                writes[TABLE_STORAGE, encode_slot(address, slot)] = bytes([word])
    return LayeredState(EmptyState(), writes)


def run_program(
    program: Program, *, is_compiled: bool
) -> tuple[list[Outcome], dict[StateKey, bytes]]:
    """Run a program twice on one state: the second run finds the state warm and changed.

    Raises:
        EngineMismatch: the engine failed on the program, and only containment saved the run.
    """
    engine = Engine.COMPILED if is_compiled else Engine.INTERPRETED
    evm = Evm(state_of(program), replace(CONTEXT, engine=engine))
    outcomes = [
        evm.call(SENDER, ADDRESSES[0], program.value, program.data, program.gas) for _ in range(2)
    ]
    if evm.flaws:
        raise EngineMismatch(f"an engine failed: {evm.flaws[0]}")
    return outcomes, evm.writes()


class StepCounter(dict[int, Any]):
    """The interpreter's opcodes, counting lookups as steps."""

    steps = 0

    def __getitem__(self, opcode: int) -> Any:
        """Return the function of an opcode, and count the step."""
        StepCounter.steps += 1
        return super().__getitem__(opcode)


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Count the opcodes that the interpreter runs in the body."""
    usual, before = InterpretedComputation.opcodes, StepCounter.steps
    InterpretedComputation.opcodes = StepCounter(usual)
    try:
        yield lambda: StepCounter.steps - before
    finally:
        InterpretedComputation.opcodes = usual


NEVER = 10**12
"""A gas price per opcode at which nothing is ever compiled."""
PRICES = (0, 0, NEVER, 40)
"""Gas price of compiling an opcode in each of a program's four compiled runs: all code is compiled
at once; then hot branches are joined; nothing is compiled; code is compiled in mid-frame."""


def find_difference(program: Program) -> str | None:
    """Return how the engines differ on a program, or None."""
    usual = CompiledComputation.cache
    caches = {price: CodeCache(price, join_every=1) for price in PRICES}
    try:
        expected = run_program(program, is_compiled=False)
        for number, price in enumerate(PRICES, 1):
            CompiledComputation.cache = caches[price]
            if run_program(program, is_compiled=True) != expected:
                return f"another result in run {number}"
    except EngineMismatch as failure:
        return str(failure)
    finally:
        CompiledComputation.cache = usual
    return None


def find_differences(seed: int, count: int) -> Iterator[tuple[int, Program]]:
    """Yield those of a seed's programs on which the engines differ, with their numbers."""
    random = Random(seed)  # noqa: S311  (repeatable, not secret)
    for number in range(count):
        program = draw_program(random)
        if find_difference(program) is not None:
            yield number, program


# --- shrinking a program on which the engines differ --------------------------------------------


def shrink(program: Program, is_found: Callable[[Program], bool] | None = None) -> Program:
    """Return a smaller program on which the engines still differ.

    It removes instructions, in ever smaller pieces, as long as that helps; then call data, value
    and storage. Jumps keep their targets, so code with jumps shrinks less.
    """
    test = is_found or (lambda candidate: find_difference(candidate) is not None)
    for index in range(len(program.codes)):
        program = _shrink_code(program, index, test)
    for candidate in (
        replace(program, data=b""),
        replace(program, value=0),
        replace(program, storage=()),
    ):
        if candidate != program and test(candidate):
            program = candidate
    return program


def _shrink_code(program: Program, index: int, test: Callable[[Program], bool]) -> Program:
    size = max(1, len(_split(program.codes[index])))
    while size:
        start = 0
        while start < len(parts := _split(program.codes[index])):
            code = b"".join(parts[:start] + parts[start + size :])
            codes = (*program.codes[:index], code, *program.codes[index + 1 :])
            candidate = replace(program, codes=codes)
            if test(candidate):
                program = candidate
            else:
                start += size
        size //= 2
    return program


def _split(code: bytes) -> list[bytes]:
    """Return the instructions of some code."""
    found, pc = [], 0
    while pc < len(code):
        width = code[pc] - 0x5F if 0x60 <= code[pc] <= 0x7F else 0
        found.append(code[pc : pc + 1 + width])
        pc += 1 + width
    return found
