"""Helpers for compiled code. Only the compiled text has short names for them; see `NAMESPACE`.

Each function that charges gas takes the gas left, charges in the interpreter's order, and
returns the gas left afterwards. `OutOfGas` fails the frame, which burns its gas and undoes its
writes, so nothing else needs to be restored.
"""

from __future__ import annotations

from typing import Any

from eth.exceptions import (
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    Revert,
    WriteProtection,
)

from lowu.node.crypto import keccak256
from lowu.node.execution.compiler import arithmetic

GAS_WARM, GAS_COLD_SLOAD, GAS_SSTORE_SET, GAS_SSTORE_RESET = 100, 2_100, 20_000, 2_900
REFUND_CLEAR, SSTORE_SENTRY = 4_800, 2_300
GAS_PER_LOG_BYTE, GAS_PER_COPIED_WORD, GAS_PER_HASHED_WORD, GAS_PER_EXP_BYTE = 8, 3, 6, 50
ZEROS = bytes(32)
PADDED_MAX = 1_024
"""Most bytes of call data that are copied in order to pad them."""


def compute_memory_gas(words: int) -> int:
    """Return the gas cost of a memory of so many words."""
    return 3 * words + words * words // 512


def grow(computation: Any, gas: int, owed: int, start: int, size: int) -> tuple[int, int, Any]:
    """Extend memory to hold `size` bytes at `start`.

    `owed` gas is already due and stays due. Returns the gas left, memory's length and the memory.
    """
    memory = computation._memory._bytes
    length = len(memory)
    if size:
        after = (start + size + 31) & ~31
        if after > length:
            gas -= compute_memory_gas(after >> 5) - compute_memory_gas(length >> 5)
            if gas < owed:
                raise OutOfGas("memory")
            try:
                memory.extend(bytes(after - length))
            except BufferError:  # a view of it is held: leave the old memory to the holder
                memory = computation._memory._bytes = memory + bytes(after - length)
            return gas, after, memory
    return gas, length, memory


def sload(accounts: Any, address: bytes, gas: int, slot: int) -> tuple[int, int]:
    """Read a storage slot; return the gas left and the word."""
    key = (address, slot)
    if key in accounts._warm_slots:
        gas -= GAS_WARM
    else:
        accounts.mark_storage_warm(address, slot)
        gas -= GAS_COLD_SLOAD
    if gas < 0:
        raise OutOfGas("SLOAD")
    found = accounts._storage.get(key)
    return gas, accounts.get_storage(address, slot) if found is None else found


def sstore(computation: Any, accounts: Any, gas: int, slot: int, value: int) -> int:
    """Write a storage slot (EIP-2200, 2929, 3529); return the gas left."""
    if gas <= SSTORE_SENTRY:
        raise OutOfGas("SSTORE below 2300 gas")
    address = computation.msg.storage_address
    key = (address, slot)
    current = accounts._storage.get(key)
    if current is None:
        current = accounts.get_storage(address, slot)
    original = accounts._original.get(key, current)
    cost, refund = GAS_WARM, 0
    if current != value:
        if original == current:
            cost = GAS_SSTORE_RESET if original else GAS_SSTORE_SET
            if original and not value:
                refund = REFUND_CLEAR
        else:
            if original:
                refund += REFUND_CLEAR * ((value == 0) - (current == 0))
            if original == value:
                refund += (GAS_SSTORE_RESET if original else GAS_SSTORE_SET) - GAS_WARM
    if key not in accounts._warm_slots:
        accounts.mark_storage_warm(address, slot)
        cost += GAS_COLD_SLOAD
    gas -= cost
    if gas < 0:
        raise OutOfGas("SSTORE")
    if refund:
        computation._gas_meter.gas_refunded += refund
    accounts.write_slot(key, current, value)
    return gas


def _grow_by_words(
    computation: Any, gas: int, start: int, size: int, gas_a_word: int
) -> tuple[int, int, Any]:
    """Extend memory, and charge for each word of the span."""
    gas, length, memory = grow(computation, gas, 0, start, size)
    gas -= gas_a_word * ((size + 31) >> 5)
    if gas < 0:
        raise OutOfGas("words")
    return gas, length, memory


def hash_memory(computation: Any, gas: int, start: int, size: int) -> tuple[int, int, Any, int]:
    """Hash memory; return the gas left, the memory's length, the memory, and the word."""
    gas, length, memory = _grow_by_words(computation, gas, start, size, GAS_PER_HASHED_WORD)
    digest = keccak256(read_memory(memory, start, size))
    return gas, length, memory, int.from_bytes(digest, "big")


def copy_in(
    computation: Any, gas: int, source: bytes, target: int, start: int, size: int
) -> tuple[int, int, Any]:
    """Copy from call data, code or returned data into memory, padded with zeros."""
    gas, length, memory = _grow_by_words(computation, gas, target, size, GAS_PER_COPIED_WORD)
    if size:
        memory[target : target + size] = bytes(source[start : start + size]).ljust(size, b"\0")
    return gas, length, memory


def copy_returned(
    computation: Any, gas: int, target: int, start: int, size: int
) -> tuple[int, int, Any]:
    """Copy returned data; fail if it is too short."""
    if start + size > len(computation.return_data):
        raise OutOfBoundsRead("RETURNDATACOPY")
    return copy_in(computation, gas, computation.return_data, target, start, size)


def copy_within(
    computation: Any, gas: int, target: int, source: int, size: int
) -> tuple[int, int, Any]:
    """Copy memory to memory (EIP-5656)."""
    reach = max(target, source)
    gas, length, memory = _grow_by_words(computation, gas, reach, size, GAS_PER_COPIED_WORD)
    if size:
        memory[target : target + size] = memory[source : source + size]
    return gas, length, memory


def log(
    computation: Any, gas: int, start: int, size: int, topics: tuple[int, ...]
) -> tuple[int, int, Any]:
    """Add a log entry; the gas for the entry and its topics has been taken already."""
    gas -= GAS_PER_LOG_BYTE * size
    if gas < 0:
        raise OutOfGas("LOG")
    gas, length, memory = grow(computation, gas, 0, start, size)
    number = computation.transaction_context.get_next_log_counter()
    data = read_memory(memory, start, size)
    computation._log_entries.append((number, computation.msg.storage_address, topics, data))
    return gas, length, memory


def exponent(gas: int, base: int, power: int) -> tuple[int, int]:
    """Return the gas left and base to the power."""
    gas -= GAS_PER_EXP_BYTE * ((power.bit_length() + 7) >> 3)
    if gas < 0:
        raise OutOfGas("EXP")
    return gas, pow(base, power, 1 << 256)


class _LongCallData:
    """Long call data: each word is padded when it is read."""

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitem__(self, span: slice) -> bytes:
        return bytes(self._data[span]).ljust(32, b"\0")


def pad_call_data(data: Any) -> Any:
    """Return call data of which any 32 bytes can be read, with zeros past its end.

    Long call data is not copied: code may read a word of it for 3 gas.
    """
    return data + ZEROS if len(data) <= PADDED_MAX else _LongCallData(data)


def read_memory(memory: Any, start: int, size: int) -> bytes:
    """Return a copy of a span of memory; of size 0, `start` may be anything."""
    return bytes(memory[start : start + size]) if size else b""


def word_of(item: int | bytes) -> int:
    """Return one of py-evm's stack items as a word."""
    return int.from_bytes(item, "big") if isinstance(item, bytes) else item


NAMESPACE: dict[str, Any] = {
    "I": int.from_bytes,
    "K": keccak256,
    "SIGN": arithmetic.SIGN,
    "sdiv": arithmetic.sdiv,
    "smod": arithmetic.smod,
    "signextend": arithmetic.signextend,
    "byte": arithmetic.byte,
    "sar": arithmetic.sar,
    "grow": grow,
    "sload": sload,
    "sstore": sstore,
    "hash_memory": hash_memory,
    "copy_in": copy_in,
    "copy_returned": copy_returned,
    "copy_within": copy_within,
    "log": log,
    "exponent": exponent,
    "pad_call_data": pad_call_data,
    "read_memory": read_memory,
    "word_of": word_of,
    "OutOfGas": OutOfGas,
    "Revert": Revert,
    "WriteProtection": WriteProtection,
    "InvalidInstruction": InvalidInstruction,
    "InvalidJumpDestination": InvalidJumpDestination,
}
"""The globals of compiled code."""
