"""Calls from contracts, and the frames that they open.

Calls without value run here, as in py-evm but without repeating checks, and without copying
large input; calls with value go through py-evm's own opcode.
"""

from __future__ import annotations

from typing import Any

from eth.constants import STACK_DEPTH_LIMIT
from eth.exceptions import OutOfGas, VMError
from eth.vm.message import Message

from lowu.node.execution.compiler.operations import CALL, CALLCODE, DELEGATECALL, STATICCALL
from lowu.node.execution.compiler.runtime import grow, read_memory, word_of
from lowu.node.execution.machine import absorb

GAS_COLD_ACCOUNT, GAS_WARM_ACCOUNT = 2_600, 100
SHARED_MIN = 4_096
"""From this many bytes of input, a callee reads its caller's memory directly: copying a megabyte
takes longer than the 100 gas of a call pay for."""
_ADDRESS_MAX = (1 << 160) - 1


def call(
    computation: Any,
    gas: int,
    opcode: int,
    function: Any,
    operands: tuple[int, int, int, int, int, int, int],
) -> tuple[int, int, Any, int]:
    """Run CALL, CALLCODE, DELEGATECALL or STATICCALL.

    `operands` are gas, address, value (0 where there is none), start and size of the input,
    start and size of the output. Returns the gas left, the memory's length, the memory, and 1
    or 0 for success.
    """
    if gas < 0:
        raise OutOfGas("code")
    requested, word, value, start, size, target, room = operands
    if value:
        return _call_in_py_evm(computation, gas, opcode, function, operands)
    address = (word & _ADDRESS_MAX).to_bytes(20, "big")
    gas, length, memory = grow(computation, gas, 0, start, size)
    gas, length, memory = grow(computation, gas, 0, target, room)
    accounts, precompile = computation.state._account_db, computation._precompiles.get(address)
    if precompile is not None or address in accounts._warm_addresses:
        gas -= GAS_WARM_ACCOUNT
    else:
        accounts.mark_address_warm(address)
        gas -= GAS_COLD_ACCOUNT
    if gas < 0:
        raise OutOfGas("call")
    granted = min(requested, gas - gas // 64)
    computation.return_data = b""
    if computation.msg.depth + 1 > STACK_DEPTH_LIMIT:
        return gas, length, memory, 0
    code = accounts.get_code(address) if precompile is None else b""
    if precompile is None and not code:
        return gas, length, memory, 1
    shared = memoryview(memory)[start : start + size] if size >= SHARED_MIN else None
    data = read_memory(memory, start, size) if shared is None else shared
    message = _child_message(computation.msg, opcode, granted, address, data, code)
    child = _run(computation, accounts, message, precompile)
    if shared is not None:
        shared.release()  # memory cannot grow while there is a view of it
    output = computation.return_data = child.output
    if room and output:
        written = output[:room]
        memory[target : target + len(written)] = written
    left = child._gas_meter.gas_remaining
    computation.child_gas += granted - left
    return gas - granted + left, length, memory, int(child._error is None)


def _call_in_py_evm(
    computation: Any, gas: int, opcode: int, function: Any, operands: tuple[int, ...]
) -> tuple[int, int, Any, int]:
    stack, meter = computation._stack.values, computation._gas_meter
    stack += reversed(operands)
    meter.gas_remaining = gas
    function(computation=computation)
    memory = computation._memory._bytes
    return meter.gas_remaining, len(memory), memory, word_of(stack.pop())


def build_message(
    gas: int, to: bytes, sender: bytes, value: int, data: Any, code: bytes, depth: int = 0
) -> Any:
    """Return a message as py-evm's constructor would, from values known to be valid."""
    message = Message.__new__(Message)
    message.gas, message.to, message.sender, message.value = gas, to, sender, value
    message.data, message.code, message.depth = data, code, depth
    message._code_address = message._storage_address = None
    message.should_transfer_value = True
    message.is_static = message._is_delegation = False
    message.refund = 0
    return message


def _child_message(
    parent: Any, opcode: int, gas: int, address: bytes, data: Any, code: bytes
) -> Any:
    own, depth = parent.storage_address, parent.depth + 1
    if opcode == DELEGATECALL:
        message = build_message(gas, own, parent.sender, parent.value, data, code, depth)
        message._code_address = address
    elif opcode == CALLCODE:
        message = build_message(gas, own, own, 0, data, code, depth)
        message._code_address = address
    else:
        message = build_message(gas, address, own, 0, data, code, depth)
    message.should_transfer_value = opcode in (CALL, CALLCODE)
    message.is_static = parent.is_static or opcode == STATICCALL
    return message


def run_frame(frame: Any, accounts: Any, precompile: Any = None) -> None:
    """Run a frame's code. If it fails, store the error in it, as py-evm does, and undo writes."""
    checkpoint = accounts.record()
    try:
        if precompile is not None:
            precompile(frame)
        elif frame.msg.code:
            frame.run()
    except VMError as error:
        frame._error = error
        if error.burns_gas:
            frame._gas_meter.gas_remaining = 0
        accounts.discard(checkpoint)


def _run(parent: Any, accounts: Any, message: Any, precompile: Any) -> Any:
    child = parent.__class__(parent.state, message, parent.transaction_context)
    child.contracts_created = parent.contracts_created
    run_frame(child, accounts, precompile)
    absorb(parent, child)
    return child
