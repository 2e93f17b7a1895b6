"""Calls from compiled code, and the frames that they open.

The plain case (no value, no precompile) is done here, as py-evm does it but without checking
again what is known to be right; all else goes through py-evm's own opcode.
"""

from __future__ import annotations

from typing import Any

from eth.constants import STACK_DEPTH_LIMIT
from eth.exceptions import OutOfGas, VMError
from eth.vm.message import Message

from node.execution.compiler.operations import CALL, DELEGATECALL, STATICCALL
from node.execution.compiler.runtime import grow, read_memory, word_of

GAS_COLD_ACCOUNT, GAS_WARM_ACCOUNT = 2_600, 100
_ADDRESS_MAX = (1 << 160) - 1


def call(
    computation: Any,
    gas: int,
    opcode: int,
    function: Any,
    operands: tuple[int, int, int, int, int, int, int],
) -> tuple[int, int, Any, int]:
    """Run CALL, DELEGATECALL or STATICCALL.

    `operands` are gas, address, value (0 where there is none), start and size of the input,
    start and size of the output. Returns the gas left, the memory's length, the memory, and 1
    or 0 for success.
    """
    if gas < 0:
        raise OutOfGas("code")
    requested, word, value, start, size, target, room = operands
    address = (word & _ADDRESS_MAX).to_bytes(20, "big")
    if value or address in computation.precompiles:
        return _call_in_py_evm(computation, gas, opcode, function, operands)
    gas, length, memory = grow(computation, gas, 0, start, size)
    gas, length, memory = grow(computation, gas, 0, target, room)
    accounts = computation.state._account_db
    if address in accounts._warm_addresses:
        gas -= GAS_WARM_ACCOUNT
    else:
        accounts.mark_address_warm(address)
        gas -= GAS_COLD_ACCOUNT
    if gas < 0:
        raise OutOfGas("call")
    granted = min(requested, gas - gas // 64)
    if computation.msg.depth + 1 > STACK_DEPTH_LIMIT:
        computation.return_data = b""
        return gas, length, memory, 0
    code = accounts.get_code(address)
    if not code:
        computation.return_data = b""
        return gas, length, memory, 1
    data = read_memory(memory, start, size)
    message = _child_message(computation.msg, opcode, granted, address, data, code)
    child = _run(computation, accounts, message)
    output = child.output
    if room and output:
        written = output[:room]
        memory[target : target + len(written)] = written
    return gas - granted + child._gas_meter.gas_remaining, length, memory, int(child._error is None)


def _call_in_py_evm(
    computation: Any, gas: int, opcode: int, function: Any, operands: tuple[int, ...]
) -> tuple[int, int, Any, int]:
    stack, meter = computation._stack.values, computation._gas_meter
    given = operands if opcode == CALL else (*operands[:2], *operands[3:])
    stack += reversed(given)
    meter.gas_remaining = gas
    function(computation=computation)
    memory = computation._memory._bytes
    return meter.gas_remaining, len(memory), memory, word_of(stack.pop())


def build_message(
    gas: int, to: bytes, sender: bytes, value: int, data: bytes, code: bytes, depth: int = 0
) -> Any:
    """Return a message as py-evm's constructor does, of values that are known to be valid."""
    message = Message.__new__(Message)
    message.gas, message.to, message.sender, message.value = gas, to, sender, value
    message.data, message.code, message.depth = data, code, depth
    message._code_address = message._storage_address = None
    message.should_transfer_value = True
    message.is_static = message._is_delegation = False
    message.refund = 0
    return message


def _child_message(
    parent: Any, opcode: int, gas: int, address: bytes, data: bytes, code: bytes
) -> Any:
    own = parent.storage_address
    if opcode == DELEGATECALL:
        message = build_message(gas, own, parent.sender, parent.value, data, code, parent.depth + 1)
        message._code_address = address
    else:
        message = build_message(gas, address, own, 0, data, code, parent.depth + 1)
    message.should_transfer_value = opcode == CALL
    message.is_static = parent.is_static or opcode == STATICCALL
    return message


def run_frame(frame: Any, accounts: Any) -> None:
    """Run a frame's code. An error ends up in it, as in py-evm, and its writes are undone."""
    checkpoint = accounts.record()
    try:
        if frame.msg.code:
            frame.run()
    except VMError as error:
        frame._error = error
        if error.burns_gas:
            frame._gas_meter.gas_remaining = 0
        accounts.discard(checkpoint)


def _run(parent: Any, accounts: Any, message: Any) -> Any:
    child = parent.__class__(parent.state, message, parent.transaction_context)
    child.contracts_created = parent.contracts_created
    run_frame(child, accounts)
    parent.return_data = child.output
    if child._error is None and (
        child.children
        or child._log_entries
        or child.accounts_to_delete
        or child._gas_meter.gas_refunded
    ):
        parent.children.append(child)  # py-evm collects from it when the transaction ends
    return child
