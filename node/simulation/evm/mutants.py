"""Mutants of the compiled EVM: bugs that it has had or could have, put back one at a time.

If differential testing does not find these, its finding nothing else proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from lowu.node.execution import machine
from lowu.node.execution.compiler import (
    frames,
    handlers,
    operations,
    path,
    runtime,
    stepper,
    writer,
)


@contextmanager
def _patched(*patches: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes (or items of mappings) temporarily."""
    before = []
    try:
        for owner, name, value in patches:
            if isinstance(owner, dict):
                before.append((owner, name, owner[name]))
                owner[name] = value
            else:
                before.append((owner, name, getattr(owner, name)))
                setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            if isinstance(owner, dict):
                owner[name] = value
            else:
                setattr(owner, name, value)


def _expressions(changed: Mapping[int, str]) -> Callable[[], Any]:
    """Return a mutant with other templates for opcodes, in compiled code."""

    def apply() -> Any:
        table = dict(operations.EXPRESSIONS)
        for opcode, template in changed.items():
            known = table[opcode]
            table[opcode] = operations.Expression(
                known.pops, known.gas, template, known.fold, known.bits
            )
        return _patched((handlers, "EXPRESSIONS", MappingProxyType(table)))

    return apply


def _helper(name: str, change: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a mutant of a helper that compiled code calls."""
    return lambda: _patched((runtime.NAMESPACE, name, change(runtime.NAMESPACE[name])))


def _constant(module: Any, name: str, by: int) -> Callable[[], Any]:
    return lambda: _patched((module, name, getattr(module, name) + by))


def _kept_slots() -> Any:
    """Known slots are kept across a call, which may have written them."""

    def call(out: Any, on: Any, opcode: int) -> None:
        slots = dict(on.slots)
        original(out, on, opcode)
        on.slots.update(slots)

    original = handlers._call  # noqa: SLF001
    return _patched((handlers, "_call", call))


def _kept_words() -> Any:
    """Known words of memory are kept across a store that overlaps them."""

    def remember(on: Any, offset: int, value: Any) -> None:
        on.words[offset] = value

    return _patched((path.Path, "remember_word", remember))


def _lost_destruction() -> Any:
    """Accounts that a called frame destroys are forgotten."""

    def absorb(parent: Any, child: Any) -> None:
        destroyed = parent.destroyed
        original(parent, child)
        parent.destroyed = destroyed

    original = machine.absorb
    return _patched((frames, "absorb", absorb))


def _lost_refund() -> Any:
    def absorb(parent: Any, child: Any) -> None:
        meter = parent._gas_meter  # noqa: SLF001
        before = meter.gas_refunded
        original(parent, child)
        meter.gas_refunded = before

    original = machine.absorb
    return _patched((frames, "absorb", absorb))


def _cheap_memory() -> Any:
    """Memory of a known length is extended for too little gas."""
    original = runtime.compute_memory_gas
    return _patched((writer, "compute_memory_gas", lambda words: original(words) - words // 32))


def _wrong_message(change: Callable[[Any, Any, int], None]) -> Callable[[], Any]:
    def apply() -> Any:
        def build(parent: Any, opcode: int, *rest: Any) -> Any:
            message = original(parent, opcode, *rest)
            change(message, parent, opcode)
            return message

        original = frames._child_message  # noqa: SLF001
        return _patched((frames, "_child_message", build))

    return apply


def _not_static(message: Any, parent: Any, opcode: int) -> None:
    message.is_static = opcode == operations.STATICCALL


def _own_sender(message: Any, parent: Any, opcode: int) -> None:
    if opcode == operations.DELEGATECALL:
        message.sender = parent.storage_address


def _unpadded_copy(original: Any) -> Any:
    def copy_in(computation: Any, gas: int, source: Any, target: int, start: int, size: int) -> Any:
        gas, length, memory = original(computation, gas, source, target, start, size)
        end = max(0, min(size, len(source) - start))
        if size and end < size:
            memory[target + end : target + size] = b"\1" * (size - end)
        return gas, length, memory

    return copy_in


MUTANTS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "comparisons leave a bool (N-P0)": _expressions(
            {0x10: "({a} < {b})", 0x11: "({a} > {b})", 0x14: "({a} == {b})", 0x15: "(not {a})"}
        ),
        "SDIV rounds down": _expressions({0x05: "(sdiv({a}, {b}) - (1 if {a} % 3 else 0)) & M"}),
        "SAR shifts zeros in": _helper("sar", lambda original: lambda a, b: b >> min(a, 256)),
        "SIGNEXTEND goes one byte too far": _helper(
            "signextend", lambda original: lambda a, b: original(a + 1, b)
        ),
        "BYTE counts from the lowest": _helper(
            "byte", lambda original: lambda a, b: original(31 - a, b) if a < 32 else 0
        ),
        "SMOD takes the sign of the divisor": _helper(
            "smod", lambda original: lambda a, b: original(a, b) and original(b, a)
        ),
        "a cold slot costs one too many": _constant(runtime, "GAS_COLD_SLOAD", 1),
        "a cleared slot gives back too much": _constant(runtime, "REFUND_CLEAR", 1),
        "the sentry of SSTORE lets 2300 through": _constant(runtime, "SSTORE_SENTRY", -1),
        "a byte of a log costs one too many": _constant(runtime, "GAS_PER_LOG_BYTE", 1),
        "a cold account costs one too many": _constant(frames, "GAS_COLD_ACCOUNT", 1),
        "copies are not padded with zeros": _helper("copy_in", _unpadded_copy),
        "slots are known beyond a call": _kept_slots,
        "words are known beyond a store across them": _kept_words,
        "what a callee destroys stays": _lost_destruction,
        "a callee's refund is lost": _lost_refund,
        "a static call's callee may write below it": _wrong_message(_not_static),
        "a delegate call's sender is the caller": _wrong_message(_own_sender),
        "the stack may be one item too long": _constant(stepper, "STACK_MAX", 1),
        "memory beyond a kilobyte is too cheap": _cheap_memory,
    }
)
"""By description of the bug; each value returns a context in which the bug is present."""
