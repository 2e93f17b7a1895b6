"""Opcodes that are plain expressions over the stack, and the static gas of all others.

Templates name operands a, b, c from the top of the stack; M is 2²⁵⁶ − 1. `fold` is built from the
template and computes the same from known words, so the two cannot differ.

Every template's value, and everything else that compiled code pushes, is a plain `int` of
0…2²⁵⁶−1, of no subclass: a `bool` equals an `int`, but py-evm's functions reject it with errors
that are not the contract's failure (case N-P0). `_comparison` therefore writes comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lowu.node.execution.compiler import arithmetic

WORD_MAX = (1 << 256) - 1
_NAMES = ("a", "b", "c")

STOP, JUMP, JUMPI, PC, MSIZE, GAS, JUMPDEST = 0x00, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x5B
ADD, EXP, KECCAK, POP = 0x01, 0x0A, 0x20, 0x50
CALLDATALOAD, CALLDATACOPY, CODECOPY, RETURNDATACOPY, MCOPY = 0x35, 0x37, 0x39, 0x3E, 0x5E
MLOAD, MSTORE, MSTORE8, SLOAD, SSTORE = 0x51, 0x52, 0x53, 0x54, 0x55
PUSH0, PUSH1, PUSH32, DUP1, SWAP1, LOG0, LOG4 = 0x5F, 0x60, 0x7F, 0x80, 0x90, 0xA0, 0xA4
CALL, CALLCODE, RETURN, DELEGATECALL, STATICCALL = 0xF1, 0xF2, 0xF3, 0xF4, 0xFA
REVERT = 0xFD


@dataclass(frozen=True, slots=True)
class Expression:
    """An opcode whose result is an expression over its operands."""

    pops: int
    gas: int
    template: str
    fold: Callable[..., int]
    bits: Callable[..., int]
    """Bound on the result's bits, given those of the operands."""


def _expression(pops: int, gas: int, template: str, bits: Callable[..., int]) -> Expression:
    names = ", ".join(_NAMES[:pops])
    source = template.format(**{name: name for name in _NAMES})
    namespace = {**vars(arithmetic), "M": WORD_MAX}
    fold = eval(f"lambda {names}: {source}", namespace)  # noqa: S307  (from the table below)
    return Expression(pops, gas, template, fold, bits)


def _comparison(pops: int, condition: str) -> Expression:
    """Return an opcode that gives 1 if a condition holds, else 0."""
    return _expression(pops, 3, f"(1 if {condition} else 0)", _bit)


def _full(*bits: int) -> int:
    return 256


def _bit(*bits: int) -> int:
    return 1


EXPRESSIONS: Mapping[int, Expression] = MappingProxyType(
    {
        0x01: _expression(2, 3, "({a} + {b}) & M", lambda a, b: min(256, max(a, b) + 1)),
        0x02: _expression(2, 5, "({a} * {b}) & M", lambda a, b: min(256, a + b)),
        0x03: _expression(2, 3, "({a} - {b}) & M", _full),
        0x04: _expression(2, 5, "({a} // {b} if {b} else 0)", lambda a, b: a),
        0x05: _expression(2, 5, "sdiv({a}, {b})", _full),
        0x06: _expression(2, 5, "({a} % {b} if {b} else 0)", lambda a, b: b),
        0x07: _expression(2, 5, "smod({a}, {b})", _full),
        0x08: _expression(3, 8, "(({a} + {b}) % {c} if {c} else 0)", lambda a, b, c: c),
        0x09: _expression(3, 8, "(({a} * {b}) % {c} if {c} else 0)", lambda a, b, c: c),
        0x0B: _expression(2, 5, "signextend({a}, {b})", _full),
        0x10: _comparison(2, "{a} < {b}"),
        0x11: _comparison(2, "{a} > {b}"),
        0x12: _comparison(2, "({a} ^ SIGN) < ({b} ^ SIGN)"),
        0x13: _comparison(2, "({a} ^ SIGN) > ({b} ^ SIGN)"),
        0x14: _comparison(2, "{a} == {b}"),
        0x15: _comparison(1, "not {a}"),
        0x16: _expression(2, 3, "({a} & {b})", min),
        0x17: _expression(2, 3, "({a} | {b})", max),
        0x18: _expression(2, 3, "({a} ^ {b})", max),
        0x19: _expression(1, 3, "({a} ^ M)", _full),
        0x1A: _expression(2, 3, "byte({a}, {b})", lambda a, b: 8),
        0x1B: _expression(2, 3, "(({b} << {a}) & M if {a} < 256 else 0)", _full),
        0x1C: _expression(2, 3, "({b} >> {a} if {a} < 256 else 0)", lambda a, b: b),
        0x1D: _expression(2, 3, "sar({a}, {b})", _full),
    }
)
"""By opcode. Nothing here can fail."""

ENVIRONMENT: Mapping[int, tuple[int, str, int]] = MappingProxyType(
    {
        0x30: (2, 'I(C.msg.storage_address, "big")', 160),
        0x32: (2, 'I(C.transaction_context.origin, "big")', 160),
        0x33: (2, 'I(C.msg.sender, "big")', 160),
        0x34: (2, "C.msg.value", 256),
        0x36: (2, "len(C.msg.data)", 64),
        0x38: (2, "len(C.msg.code)", 64),
        0x3A: (2, "C.transaction_context.gas_price", 256),
        0x3D: (2, "len(C.return_data)", 64),
        0x41: (2, 'I(C.state.coinbase, "big")', 160),
        0x42: (2, "C.state.timestamp", 256),
        0x43: (2, "C.state.block_number", 256),
        0x44: (2, 'I(C.state.mix_hash, "big")', 256),
        0x45: (2, "C.state.gas_limit", 256),
        0x46: (2, "C.state.execution_context.chain_id", 256),
        0x47: (5, "C.state.get_balance(C.msg.storage_address)", 256),
        0x48: (2, "C.state.base_fee", 256),
    }
)
"""By opcode: gas, expression, bits."""

INTERPRETED: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0x31: (1, 1), 0x3B: (1, 1), 0x3C: (4, 0), 0x3F: (1, 1), 0x40: (1, 1), 0x49: (1, 1),
        0x4A: (0, 1), 0x5C: (1, 1), 0x5D: (2, 0), 0xF0: (3, 1), 0xF5: (4, 1), 0xFF: (1, 0),
    }
)  # fmt: skip
"""Opcodes left to py-evm's own functions: the numbers of items that each pops and pushes."""
