"""The computation class that runs compiled units, and their bounded cache.

Compiling takes some 15 µs an opcode. A contract may have one opcode compiled, or recompiled, for
each `GAS_AN_OPERATION` that its own frames have used. So an attacker who deploys contracts to
keep the compiler busy pays in proportion, however often the cache drops them. The cache holds a
bounded number of opcodes and drops the least recently used contracts.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import Any, ClassVar

from eth.exceptions import Halt
from eth.vm.code_stream import CodeStream
from eth.vm.gas_meter import GasMeter, allow_negative_refund_strategy
from eth.vm.memory import Memory
from eth.vm.stack import Stack

from lowu.node.execution.compiler.code import MISFIT, Code, Unit, UnitFunction, analyse
from lowu.node.execution.compiler.frames import call
from lowu.node.execution.compiler.operations import WORD_MAX
from lowu.node.execution.compiler.runtime import NAMESPACE
from lowu.node.execution.compiler.stepper import step
from lowu.node.execution.compiler.tracer import JOINED_OPERATIONS_MAX, OPERATIONS_MAX, Tracer
from lowu.node.execution.machine import InterpretedComputation

GAS_AN_OPERATION = 300
"""Gas that earns a contract one compiled opcode: at most 50 ms of compiling a million gas."""
JOIN_EVERY = 64
"""Every time a unit has handed over this many times, the branch it took is joined into it."""
UNIT_OPERATIONS = 32
"""Opcodes charged for a unit besides its own: the least that compiling any function costs."""
OPERATION_LETTERS = 24
"""Letters of Python text that are charged as one opcode: some opcodes take many lines."""
CODE_OPERATIONS_MAX = 50_000
"""Opcodes compiled of one contract: a loop whose end is no unit's end has many entry points."""
CACHED_OPERATIONS_MAX = 200_000
CACHED_CODES_MAX = 1_024

log = logging.getLogger("EXECUTOR")


class CodeCache:
    """Analysed and compiled contracts by their bytecode. Threads may share one."""

    def __init__(
        self,
        gas_an_operation: int = GAS_AN_OPERATION,
        join_every: int = JOIN_EVERY,
        operations_max: int = CACHED_OPERATIONS_MAX,
        codes_max: int = CACHED_CODES_MAX,
        *,
        is_watched: bool = False,
    ) -> None:
        self._is_watched = is_watched

        self._gas_an_operation = gas_an_operation
        self.join_every = join_every
        self._operations_max = operations_max
        self._codes_max = codes_max
        self._codes: OrderedDict[bytes, Code] = OrderedDict()
        self._lock = Lock()
        self.operations = 0
        """Number of opcodes compiled of all contracts in the cache."""

    def __len__(self) -> int:
        return len(self._codes)

    def find(self, data: bytes) -> Code:
        """Return a contract's code with all that is known about it."""
        with self._lock:
            code = self._codes.get(data)
            if code is None:
                code = self._codes[data] = analyse(data)
                self._drop_oldest()
            else:
                self._codes.move_to_end(data)
            return code

    def compile(self, code: Code, unit: Unit, opcodes: Any) -> UnitFunction | None:
        """Compile a unit, if its contract has earned it."""
        with self._lock:
            if unit.function is None and self.may_compile(code):
                self._write(code, unit, opcodes)
            return unit.function

    def join(self, code: Code, unit: Unit, number: int, opcodes: Any) -> None:
        """Recompile a unit with another one inlined in the branch to it, if that is allowed."""
        with self._lock:
            is_new = number in unit.branches and number not in unit.joined
            if is_new and self.may_compile(code, JOINED_OPERATIONS_MAX):
                unit.joined |= {number}
                self._write(code, unit, opcodes)

    def may_compile(self, code: Code, operations: int = OPERATIONS_MAX) -> bool:
        """Whether a contract has earned so many more compiled opcodes, or all that it has."""
        wanted = code.operations + min(operations, len(code.data) + UNIT_OPERATIONS)
        has_earned = code.gas >= self._gas_an_operation * wanted
        return has_earned and wanted <= CODE_OPERATIONS_MAX and not code.is_refused

    def _write(self, code: Code, unit: Unit, opcodes: Any) -> None:
        tracer = Tracer(code, unit.pc, unit.facts, unit.joined, is_watched=self._is_watched)
        text = tracer.write()
        try:
            unit.function = _build(code, text, tracer.known, opcodes)
        except Exception as flaw:
            code.is_refused = True
            log.warning("a contract cannot be compiled,bytes=%d", len(code.data), exc_info=flaw)
        unit.branches = frozenset(tracer.branches)
        operations = UNIT_OPERATIONS + max(tracer.operations, len(text) // OPERATION_LETTERS)
        code.operations += operations
        if code.data in self._codes:
            self.operations += operations
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._codes) > self._codes_max or (
            self.operations > self._operations_max and len(self._codes) > 1
        ):
            _, dropped = self._codes.popitem(last=False)
            self.operations -= dropped.operations


def _build(code: Code, text: str, known: dict[str, int], opcodes: Any) -> UnitFunction:
    namespace = {**NAMESPACE, "M": WORD_MAX, "JUMP": code.find_jump, "call": call}
    for name, opcode in known.items():
        namespace[name] = opcodes[opcode]
    exec(compile(text, "<contract>", "exec"), namespace)  # noqa: S102  (text of our own making)
    function: UnitFunction = namespace["unit"]
    return function


class CompiledComputation(InterpretedComputation):
    """A frame that runs compiled units where there are some, and steps opcodes elsewhere."""

    is_compiled = True
    is_watched: ClassVar[bool] = False
    cache: ClassVar[CodeCache] = CodeCache()
    _counted_gas = 0

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        """Set up a frame as py-evm does, without validating the message again.

        The coinbase is warm already (EIP-3651): the transaction has marked it.
        """
        self.state, self.msg, self.transaction_context = state, message, transaction_context
        self._gas_meter = meter = GasMeter.__new__(GasMeter)
        meter.refund_strategy = allow_negative_refund_strategy
        meter.start_gas = meter.gas_remaining = message.gas
        meter.gas_refunded = 0
        self._stack, self._memory = Stack(), Memory()
        self._code_stream = None
        self.children: list[Any] = []
        self.accounts_to_delete: list[bytes] = []
        self.beneficiaries: list[bytes] = []
        self._log_entries: list[Any] = []
        self.data_floor_cost = 0

    @property
    def code(self) -> Any:
        """The code in the form that py-evm's opcodes read; few frames need it."""
        if self._code_stream is None:
            self._code_stream = CodeStream(self.msg.code)
        return self._code_stream

    @classmethod
    def apply_computation(
        cls, state: Any, message: Any, transaction_context: Any, parent_computation: Any = None
    ) -> Any:
        """Run one frame; its error, if any, is stored in it, as in py-evm."""
        with cls(state, message, transaction_context) as computation:
            if computation.is_origin_computation:
                computation.contracts_created = []
                if message.is_create:
                    cls.consume_initcode_gas_cost(computation)
            if parent_computation is not None:
                computation.contracts_created = parent_computation.contracts_created
            if message.is_create:
                computation.contracts_created.append(message.storage_address)
            precompile = computation.precompiles.get(message.code_address)
            if precompile is not None:
                if not message.is_delegation:
                    precompile(computation)
            elif message.code:
                computation.run()
        return computation

    def run(self) -> None:
        """Run the frame's code from its beginning; `VMError` if it fails."""
        # Creation code runs once: it is not cached, so that nobody can fill the cache with it.
        message, cache = self.msg, self.cache
        code = cache.find(message.code) if message.to else analyse(message.code)
        stack, meter, number = self._stack.values, self._gas_meter, 0
        try:
            while number >= 0:
                if self.is_watched:
                    self.tick()
                unit = code.units[number]
                function = unit.function or cache.compile(code, unit, self.opcodes)
                number = MISFIT if function is None else function(self, stack, meter)
                if number > 0:
                    unit.departures += 1
                    if unit.departures % cache.join_every == 0:
                        cache.join(code, unit, number, self.opcodes)
                elif number == MISFIT:
                    number = step(self, code, unit.pc)
        except Halt:
            pass
        finally:
            self._count_gas(code)

    def tick(self) -> None:
        """Tick the watch of this frame, if any; a transaction's frames have none."""

    def find_unit(self, code: Code, pc: int) -> int:
        """Return the number of a unit to continue with at a jump destination, or -1."""
        self.tick()
        self._count_gas(code)
        number = code.find_unit(pc)
        if number < 0 and self.cache.may_compile(code):
            number = code.unit_number(pc, ())
        return number

    def _count_gas(self, code: Code) -> None:
        """Credit the contract with the gas that this frame has used since the last call."""
        used = self.msg.gas - self._gas_meter.gas_remaining - self.child_gas
        if used > self._counted_gas:
            code.gas += used - self._counted_gas
            self._counted_gas = used


class WatchedCompiledComputation(CompiledComputation):
    """A frame of a client's call: watched, and with a cache separate from that of transactions.

    So no client's call affects what is compiled when a block is executed, or contends with the
    block for a lock.
    """

    is_watched = True
    cache: ClassVar[CodeCache] = CodeCache(is_watched=True)

    def tick(self) -> None:
        """Wait for a turn to continue; `CallAborted` stops the call."""
        self.transaction_context.watch.tick()
