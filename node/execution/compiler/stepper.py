"""Running uncompiled code, opcode by opcode.

py-evm's loop takes a microsecond and more for an opcode that costs one unit of gas. Most of a
stranger's code runs once and is never worth compiling, yet must not be the most expensive to run.
This loop runs the frequent opcodes itself, with the same tables and helpers as compiled code. Rare
opcodes, and those about to fail for lack of gas or stack, it leaves to py-evm's own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from eth.exceptions import Revert, WriteProtection
from eth.vm.logic.invalid import InvalidOpcode

from lowu.node.execution.compiler import operations as op
from lowu.node.execution.compiler.code import DONE, Code
from lowu.node.execution.compiler.frames import call
from lowu.node.execution.compiler.runtime import (
    copy_in,
    copy_returned,
    copy_within,
    exponent,
    grow,
    hash_memory,
    log,
    pad_call_data,
    read_memory,
    sload,
    sstore,
    word_of,
)

STACK_MAX = 1024
LOOK_EVERY = 16
"""After every so many jump destinations, the frame checks whether a compiled unit can take over."""
(
    _PUSH, _DUPLICATE, _CONTEXT, _COUNTER, _SWAP, _UNARY, _BINARY, _TERNARY, _DROP,
    _JUMP_DESTINATION, _JUMP, _HANDLED, _END, _LEFT,
) = range(14)  # fmt: skip
_GROWING = _COUNTER
"""This kind and those before it grow the stack by one word."""

Handler: TypeAlias = Callable[[Any, list[int], int], int]
"""Takes the frame, its stack and the gas left; runs one opcode and returns the gas left then."""


def step(frame: Any, code: Code, pc: int) -> int:  # noqa: C901, PLR0912  (a call each costs more)
    """Run a frame's code from `pc`.

    Returns the number of a unit to continue with, or `DONE`. Raises `VMError` as py-evm's loop
    does, and `Halt` where one of py-evm's opcodes halts the frame.
    """
    data, size = code.data, len(code.data)
    values, meter = frame._stack.values, frame._gas_meter
    gas, destinations, passed = meter.gas_remaining, code.destinations, 0
    while True:
        opcode = data[pc] if pc < size else op.STOP
        kind, cost, pops, detail = _TABLE[opcode]
        pc += 1
        if cost > gas or pops > len(values) or (kind <= _GROWING and len(values) >= STACK_MAX):
            gas, pc = _leave_to_py_evm(frame, opcode, pc, gas)  # it fails: py-evm says how
            continue
        gas -= cost
        if kind == _PUSH:
            word = data[pc : pc + detail]
            pc += detail
            values.append(int.from_bytes(word if pc <= size else word.ljust(detail, b"\0"), "big"))
        elif kind == _DUPLICATE:
            values.append(values[-detail])
        elif kind == _SWAP:
            values[-1], values[-detail] = values[-detail], values[-1]
        elif kind == _BINARY:
            values[-1] = detail(values.pop(), values[-1])
        elif kind == _DROP:
            values.pop()
        elif kind == _JUMP_DESTINATION:
            passed += 1
            if passed % LOOK_EVERY == 0 and (found := _look(frame, code, pc - 1, gas + cost)) >= 0:
                return found
        elif kind == _JUMP:
            target = values.pop()
            if opcode == op.JUMP or values.pop():
                if target not in destinations:
                    raise code.jump_error(target)
                pc = target
        elif kind == _CONTEXT:
            values.append(detail(frame))
        elif kind == _UNARY:
            values[-1] = detail(values[-1])
        elif kind == _TERNARY:
            values[-1] = detail(values.pop(), values.pop(), values[-1])
        elif kind == _HANDLED:
            gas = detail(frame, values, gas)
        elif kind == _COUNTER:
            values.append(pc - 1 if opcode == op.PC else gas)
        elif kind == _END:
            meter.gas_remaining = gas
            ended: int = detail(frame, values)
            return ended
        else:
            gas, pc = _leave_to_py_evm(frame, opcode, pc, gas)


def _look(frame: Any, code: Code, pc: int, gas: int) -> int:
    """Return the number of a unit to continue with at a jump destination, or -1."""
    frame._gas_meter.gas_remaining = gas
    found: int = frame.find_unit(code, pc)
    return found


def _leave_to_py_evm(frame: Any, opcode: int, pc: int, gas: int) -> tuple[int, int]:
    """Run an opcode with py-evm's function; return the gas left and the next pc."""
    values, meter, stream = frame._stack.values, frame._gas_meter, frame.code
    meter.gas_remaining, stream.program_counter = gas, pc
    function = frame.opcodes.get(opcode) or InvalidOpcode(opcode)
    function(computation=frame)
    if values and type(values[-1]) is not int:
        values[-1] = word_of(values[-1])
    return meter.gas_remaining, stream.program_counter


# --- opcodes that need more than their operands -----------------------------------------------


def _load(frame: Any, values: list[int], gas: int) -> int:
    start = values[-1]
    gas, _, memory = grow(frame, gas, 0, start, 32)
    values[-1] = int.from_bytes(memory[start : start + 32], "big")
    return gas


def _store(frame: Any, values: list[int], gas: int) -> int:
    start, word = values.pop(), values.pop()
    gas, _, memory = grow(frame, gas, 0, start, 32)
    memory[start : start + 32] = word.to_bytes(32, "big")
    return gas


def _store_byte(frame: Any, values: list[int], gas: int) -> int:
    start, word = values.pop(), values.pop()
    gas, _, memory = grow(frame, gas, 0, start, 1)
    memory[start] = word & 255
    return gas


def _load_storage(frame: Any, values: list[int], gas: int) -> int:
    accounts, owner = frame.state._account_db, frame.msg.storage_address
    gas, values[-1] = sload(accounts, owner, gas, values[-1])
    return gas


def _store_storage(frame: Any, values: list[int], gas: int) -> int:
    _refuse_if_static(frame)
    slot, word = values.pop(), values.pop()
    return sstore(frame, frame.state._account_db, gas, slot, word)


def _hash(frame: Any, values: list[int], gas: int) -> int:
    start, size = values.pop(), values.pop()
    gas, _, _, word = hash_memory(frame, gas, start, size)
    values.append(word)
    return gas


def _exponent(frame: Any, values: list[int], gas: int) -> int:
    base, power = values.pop(), values.pop()
    gas, word = exponent(gas, base, power)
    values.append(word)
    return gas


def _load_call_data(frame: Any, values: list[int], gas: int) -> int:
    start = values[-1]
    values[-1] = int.from_bytes(pad_call_data(frame.msg.data)[start : start + 32], "big")
    return gas


def _copy_call_data(frame: Any, values: list[int], gas: int) -> int:
    target, start, size = values.pop(), values.pop(), values.pop()
    return copy_in(frame, gas, frame.msg.data, target, start, size)[0]


def _copy_code(frame: Any, values: list[int], gas: int) -> int:
    target, start, size = values.pop(), values.pop(), values.pop()
    return copy_in(frame, gas, frame.msg.code, target, start, size)[0]


def _copy_returned(frame: Any, values: list[int], gas: int) -> int:
    target, start, size = values.pop(), values.pop(), values.pop()
    return copy_returned(frame, gas, target, start, size)[0]


def _copy_within(frame: Any, values: list[int], gas: int) -> int:
    target, start, size = values.pop(), values.pop(), values.pop()
    return copy_within(frame, gas, target, start, size)[0]


def _refuse_if_static(frame: Any) -> None:
    if frame.msg.is_static:
        raise WriteProtection("static call")


def _log(topics: int) -> Handler:
    def handle(frame: Any, values: list[int], gas: int) -> int:
        _refuse_if_static(frame)
        start, size = values.pop(), values.pop()
        words = tuple([values.pop() for _ in range(topics)])
        return log(frame, gas - 375 * topics, start, size, words)[0]

    return handle


def _call(opcode: int) -> Handler:
    has_value = opcode in (op.CALL, op.CALLCODE)

    def handle(frame: Any, values: list[int], gas: int) -> int:
        gas_wanted, address = values.pop(), values.pop()
        value = values.pop() if has_value else 0
        start, size, target, room = values.pop(), values.pop(), values.pop(), values.pop()
        operands = (gas_wanted, address, value, start, size, target, room)
        gas, _, _, is_success = call(frame, gas, opcode, frame.opcodes[opcode], operands)
        values.append(is_success)
        return gas

    return handle


def _stop(frame: Any, values: list[int]) -> int:
    return DONE


def _return(frame: Any, values: list[int]) -> int:
    start, size, meter = values.pop(), values.pop(), frame._gas_meter
    meter.gas_remaining, _, memory = grow(frame, meter.gas_remaining, 0, start, size)
    frame._output = read_memory(memory, start, size)
    return DONE


def _revert(frame: Any, values: list[int]) -> int:
    _return(frame, values)
    raise Revert(frame._output)


# --- the table ----------------------------------------------------------------------------------

_HANDLERS: dict[int, tuple[int, int, Handler]] = {
    op.EXP: (10, 2, _exponent),
    op.KECCAK: (30, 2, _hash),
    op.CALLDATALOAD: (3, 1, _load_call_data),
    op.CALLDATACOPY: (3, 3, _copy_call_data),
    op.CODECOPY: (3, 3, _copy_code),
    op.RETURNDATACOPY: (3, 3, _copy_returned),
    op.MCOPY: (3, 3, _copy_within),
    op.MLOAD: (3, 1, _load),
    op.MSTORE: (3, 2, _store),
    op.MSTORE8: (3, 2, _store_byte),
    op.SLOAD: (0, 1, _load_storage),
    op.SSTORE: (0, 2, _store_storage),
    op.CALL: (0, 7, _call(op.CALL)),
    op.CALLCODE: (0, 7, _call(op.CALLCODE)),
    op.DELEGATECALL: (0, 6, _call(op.DELEGATECALL)),
    op.STATICCALL: (0, 6, _call(op.STATICCALL)),
    **{op.LOG0 + topics: (375, 2 + topics, _log(topics)) for topics in range(5)},
}
_ENDS = {
    op.STOP: (0, _stop),
    op.RETURN: (2, _return),
    op.REVERT: (2, _revert),
}


def _entry(opcode: int) -> tuple[int, int, int, Any]:
    """Return an opcode's kind, static gas, number of operands, and implementation."""
    found: tuple[int, int, int, Any] = (_LEFT, 0, 0, None)
    if op.PUSH0 <= opcode <= op.PUSH32:
        found = (_PUSH, 3 if opcode > op.PUSH0 else 2, 0, opcode - op.PUSH0)
    elif op.DUP1 <= opcode < op.DUP1 + 16:
        found = (_DUPLICATE, 3, opcode - op.DUP1 + 1, opcode - op.DUP1 + 1)
    elif op.SWAP1 <= opcode < op.SWAP1 + 16:
        found = (_SWAP, 3, opcode - op.SWAP1 + 2, opcode - op.SWAP1 + 2)
    elif opcode in op.EXPRESSIONS:
        expression = op.EXPRESSIONS[opcode]
        kind = (_UNARY, _BINARY, _TERNARY)[expression.pops - 1]
        found = (kind, expression.gas, expression.pops, expression.fold)
    elif opcode in op.ENVIRONMENT:
        gas, text, _ = op.ENVIRONMENT[opcode]
        found = (_CONTEXT, gas, 0, eval(f"lambda C: {text}", {"I": int.from_bytes}))  # noqa: S307
    elif opcode in _HANDLERS:
        found = (_HANDLED, *_HANDLERS[opcode])
    elif opcode in _ENDS:
        pops, end = _ENDS[opcode]
        found = (_END, 0, pops, end)
    elif opcode in _OTHERS:
        found = _OTHERS[opcode]
    return found


_OTHERS = {
    op.JUMP: (_JUMP, 8, 1, None),
    op.JUMPI: (_JUMP, 10, 2, None),
    op.JUMPDEST: (_JUMP_DESTINATION, 1, 0, None),
    op.POP: (_DROP, 2, 1, None),
    op.PC: (_COUNTER, 2, 0, None),
    op.GAS: (_COUNTER, 2, 0, None),
    op.MSIZE: (_CONTEXT, 2, 0, lambda frame: len(frame._memory._bytes)),
}
_TABLE = tuple([_entry(opcode) for opcode in range(256)])
