"""Writing Python for single opcodes other than jumps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lowu.node.execution.compiler import operations as op
from lowu.node.execution.compiler.code import DONE
from lowu.node.execution.compiler.operations import ENVIRONMENT, EXPRESSIONS, INTERPRETED, WORD_MAX
from lowu.node.execution.compiler.path import WORD, Path, Value, constant
from lowu.node.execution.compiler.runtime import GAS_PER_EXP_BYTE, GAS_PER_HASHED_WORD, GAS_WARM
from lowu.node.execution.compiler.writer import Writer

_DELTA_MAX = 1 << 20
_HASHED_MAX = 256
"""Most bytes that are hashed before their gas is taken; more would be much work for little gas."""


def operate(out: Writer, path: Path, opcode: int) -> bool:
    """Write one opcode other than a jump; return whether the path continues."""
    if op.PUSH0 <= opcode <= op.PUSH32:
        _push_data(out, path, opcode - op.PUSH0)
    elif op.DUP1 <= opcode < op.DUP1 + 16:
        path.owed += 3
        _duplicate(out, path, opcode - op.DUP1 + 1)
    elif op.SWAP1 <= opcode < op.SWAP1 + 16:
        path.owed += 3
        _swap(out, path, opcode - op.SWAP1 + 1)
    elif opcode in EXPRESSIONS:
        _express(out, path, opcode)
    elif opcode in ENVIRONMENT:
        gas, text, bits = ENVIRONMENT[opcode]
        path.owed += gas
        out.push(path, out.assign(path, text, bits))
    elif opcode in INTERPRETED:
        return _interpret(out, path, opcode)
    elif opcode in (op.CALL, op.CALLCODE, op.DELEGATECALL, op.STATICCALL):
        _call(out, path, opcode)
    elif op.LOG0 <= opcode <= op.LOG4:
        _log(out, path, opcode - op.LOG0)
    elif opcode in (op.STOP, op.RETURN, op.REVERT):
        _end(out, path, opcode)
        return False
    elif opcode in _HANDLERS:
        _HANDLERS[opcode](out, path)
    else:
        out.fail(path, "InvalidInstruction", f"opcode {opcode:#x}")
        return False
    return True


def _push_data(out: Writer, path: Path, width: int) -> None:
    data = out.code.data[path.pc : path.pc + width].ljust(width, b"\0")
    path.pc += width
    path.owed += 3 if width else 2
    out.push(path, constant(int.from_bytes(data, "big")))


def _duplicate(out: Writer, path: Path, position: int) -> None:
    if position <= len(path.items):
        out.push(path, path.items[-position])
    else:
        out.push(path, out.entry(path, path.base + position - len(path.items)))


def _swap(out: Writer, path: Path, position: int) -> None:
    out.hold(path, position + 1)
    items = path.items
    items[-1], items[-1 - position] = items[-1 - position], items[-1]


def _express(out: Writer, path: Path, opcode: int) -> None:
    expression = EXPRESSIONS[opcode]
    operands = [out.pop(path) for _ in range(expression.pops)]
    path.owed += expression.gas
    words = [item.constant for item in operands]
    if None not in words:
        out.push(path, constant(expression.fold(*words)))
        return
    if opcode == op.ADD and _offset(out, path, operands):
        return
    bits = expression.bits(*(item.bits for item in operands))
    kept = _unmasked(opcode, operands)
    if kept is not None:
        out.push(path, kept)
        return
    template = expression.template
    if bits < 256 and template.endswith(") & M"):
        template = template[: -len(" & M")]
    elif words[0] is not None and opcode in (0x1B, 0x1C):
        template = _shift(opcode, words[0])
    texts = dict(zip("abc", (item.text for item in operands), strict=False))
    out.push(path, out.assign(path, template.format(**texts), bits))


def _offset(out: Writer, path: Path, operands: list[Value]) -> bool:
    """Write a sum, and return True, if it is of a constant and a variable known to be small."""
    for number, value in (operands, operands[::-1]):
        if number.constant is None or value.constant is not None:
            continue
        delta = value.delta + number.constant
        if value.root in path.covered and delta < _DELTA_MAX:
            name = out.fresh()
            out.emit(path, f"{name} = {value.root} + {delta}")
            out.push(path, Value(name, 64, None, value.root, delta))
            return True
    return False


def _interpret(out: Writer, path: Path, opcode: int) -> bool:
    """Leave an opcode to py-evm, which charges, checks and works on the real stack."""
    pops, pushes = INTERPRETED[opcode]
    out.hold(path, pops)
    out.settle_stack(path)
    out.take_owed(path)
    out.emit(path, "G.gas_remaining = gas")
    out.emit(path, f"{out.name_function(opcode)}(computation=C)")
    if opcode == 0xFF:  # SELFDESTRUCT has ended the frame
        out.emit(path, f"return {DONE}")
        return False
    out.emit(path, "gas = G.gas_remaining")
    if "memory" in out.uses or opcode >= 0xF0 or opcode == 0x3C:
        out.uses.add("memory")
        out.emit(path, "m = C._memory._bytes")
        out.emit(path, "ml = len(m)")
    path.forget()
    path.entries = {depth - pops: item for depth, item in path.entries.items() if depth > pops}
    path.shift -= pops
    if pushes:
        out.push(path, out.assign(path, "word_of(S.pop())"))
    return True


def _call(out: Writer, path: Path, opcode: int) -> None:
    path.growth = None
    has_value = opcode in (op.CALL, op.CALLCODE)
    given = [out.pop(path) for _ in range(7 if has_value else 6)]
    if not has_value:
        given.insert(2, constant(0))
    name, result = out.name_function(opcode), out.fresh()
    out.uses.add("memory")
    texts = ", ".join(item.text for item in given)
    called = f"call(C, {out.take_in(path)}, {opcode}, {name}, ({texts}))"
    out.emit(path, f"gas, ml, m, {result} = {called}")
    target, room = given[5], given[6]
    path.length = None
    path.slots.clear()
    if target.constant is None or room.constant is None:
        path.words.clear()
    else:
        path.forget_words(target.constant, room.constant)
    out.push(path, Value(result, 1))


def _log(out: Writer, path: Path, topics: int) -> None:
    start, size = out.pop(path), out.pop(path)
    words = [out.pop(path).text for _ in range(topics)]
    path.owed += 375
    _refuse_if_static(out, path)
    path.owed += 375 * topics
    out.uses.add("memory")
    texts = "".join(f"{word}, " for word in words)
    call = f"log(C, {out.take_in(path)}, {start.text}, {size.text}, ({texts}))"
    out.emit(path, f"gas, ml, m = {call}")
    path.length = None


def _refuse_if_static(out: Writer, path: Path) -> None:
    out.take_owed(path)
    out.emit(path, 'if C.msg.is_static: raise WriteProtection("static call")')


def _end(out: Writer, path: Path, opcode: int) -> None:
    if opcode == op.STOP:
        out.leave(path, DONE)
        return
    start, size = out.pop(path), out.pop(path)
    out.grow(path, start, size)
    out.take_owed(path)
    out.emit(path, "G.gas_remaining = gas")
    output = "b''" if size.constant == 0 else f"read_memory(m, {start.text}, {size.text})"
    out.emit(path, f"C._output = {output}")
    out.emit(path, "raise Revert(C._output)" if opcode == op.REVERT else f"return {DONE}")


def _exponent(out: Writer, path: Path) -> None:
    base, power = out.pop(path), out.pop(path)
    path.owed += 10
    if base.constant is not None and power.constant is not None:
        path.owed += GAS_PER_EXP_BYTE * ((power.constant.bit_length() + 7) // 8)
        out.push(path, constant(pow(base.constant, power.constant, WORD_MAX + 1)))
        return
    name = out.fresh()
    call = f"exponent({out.take_in(path)}, {base.text}, {power.text})"
    out.emit(path, f"gas, {name} = {call}")
    out.push(path, Value(name))


def _keccak(out: Writer, path: Path) -> None:
    start, size = out.pop(path), out.pop(path)
    path.owed += 30
    out.uses.add("memory")
    if size.constant is not None and size.constant <= _HASHED_MAX:
        out.grow(path, start, size)
        path.owed += GAS_PER_HASHED_WORD * ((size.constant + WORD - 1) // WORD)
        words = path.known_words(start, size)
        value = path.hashes.get(words)
        if value is None:
            text = _span(start, size.constant) if size.constant else ":0"
            value = out.assign(path, f'I(K(m[{text}]), "big")')
            if words:
                path.hashes[words] = value
        out.push(path, value)
        return
    name = out.fresh()
    call = f"hash_memory(C, {out.take_in(path)}, {start.text}, {size.text})"
    out.emit(path, f"gas, ml, m, {name} = {call}")
    path.length = None
    out.push(path, Value(name))


def _span(start: Value, size: int = WORD) -> str:
    """Return the text of a slice of `size` bytes from `start`."""
    end = str(start.constant + size) if start.constant is not None else f"{start.text} + {size}"
    return f"{start.text}:{end}"


def _load_call_data(out: Writer, path: Path) -> None:
    out.uses.add("data")
    start = out.pop(path)
    path.owed += 3
    out.push(path, out.assign(path, f'I(D[{_span(start)}], "big")'))


def _copy(out: Writer, path: Path, helper: str, source: str) -> None:
    target, start, size = out.pop(path), out.pop(path), out.pop(path)
    path.owed += 3
    out.uses.add("memory")
    arguments = f"{source}{target.text}, {start.text}, {size.text}"
    if helper == "copy_returned":
        out.take_owed(path)  # it can fail for another reason than lack of gas
    out.emit(path, f"gas, ml, m = {helper}(C, {out.take_in(path)}, {arguments})")
    path.length = None
    path.words.clear()


def _load(out: Writer, path: Path) -> None:
    start = out.pop(path)
    path.owed += 3
    at = start.constant
    if at is not None and at in path.words:
        out.push(path, path.words[at])
        return
    out.grow(path, start, constant(WORD))
    value = out.assign(path, f'I(m[{_span(start)}], "big")')
    if at is not None:
        path.remember_word(at, value)
    out.push(path, value)


def _store(out: Writer, path: Path) -> None:
    start, value = out.pop(path), out.pop(path)
    path.owed += 3
    out.grow(path, start, constant(WORD))
    at = start.constant
    text = f'{value.text}.to_bytes({WORD}, "big")'
    if value.constant is not None:
        text = repr(value.constant.to_bytes(WORD, "big"))
    out.emit(path, f"m[{_span(start)}] = {text}")
    if at is None:
        path.words.clear()
    else:
        path.remember_word(at, value)


def _store_byte(out: Writer, path: Path) -> None:
    start, value = out.pop(path), out.pop(path)
    path.owed += 3
    out.grow(path, start, constant(1))
    out.emit(path, f"m[{start.text}] = {value.text} & 255")
    if start.constant is None:
        path.words.clear()
    else:
        path.forget_words(start.constant, 1)


def _load_storage(out: Writer, path: Path) -> None:
    out.uses.add("accounts")
    slot = out.pop(path)
    if slot.text in path.slots:
        path.owed += GAS_WARM
    else:
        value = path.slots[slot.text] = Value(out.fresh())
        out.emit(path, f"gas, {value.text} = sload(A, SA, {out.take_in(path)}, {slot.text})")
    out.push(path, path.slots[slot.text])


def _store_storage(out: Writer, path: Path) -> None:
    out.uses.add("accounts")
    slot, value = out.pop(path), out.pop(path)
    _refuse_if_static(out, path)
    out.emit(path, f"gas = sstore(C, A, gas, {slot.text}, {value.text})")
    path.slots.clear()  # another name may stand for the same slot
    path.slots[slot.text] = value


def _gas(out: Writer, path: Path) -> None:
    path.owed += 2
    out.take_owed(path)
    out.push(path, out.assign(path, "gas", 64))


def _memory_size(out: Writer, path: Path) -> None:
    out.uses.add("memory")
    path.growth = None
    path.owed += 2
    out.push(path, out.assign(path, "ml", 64))


def _program_counter(out: Writer, path: Path) -> None:
    path.owed += 2
    out.push(path, constant(path.pc - 1))


def _drop(out: Writer, path: Path) -> None:
    path.owed += 2
    if path.items:
        path.items.pop()
    else:
        path.base += 1
        out.need = max(out.need, path.base - path.shift)


_HANDLERS: Mapping[int, Callable[[Writer, Path], None]] = MappingProxyType(
    {
        op.EXP: _exponent,
        op.KECCAK: _keccak,
        op.POP: _drop,
        op.CALLDATALOAD: _load_call_data,
        op.CALLDATACOPY: lambda out, path: _copy(out, path, "copy_in", "C.msg.data, "),
        op.CODECOPY: lambda out, path: _copy(out, path, "copy_in", "C.msg.code, "),
        op.RETURNDATACOPY: lambda out, path: _copy(out, path, "copy_returned", ""),
        op.MCOPY: lambda out, path: _copy(out, path, "copy_within", ""),
        op.MLOAD: _load,
        op.MSTORE: _store,
        op.MSTORE8: _store_byte,
        op.SLOAD: _load_storage,
        op.SSTORE: _store_storage,
        op.GAS: _gas,
        op.MSIZE: _memory_size,
        op.PC: _program_counter,
    }
)


def _unmasked(opcode: int, operands: list[Value]) -> Value | None:
    """Return the operand that an AND with a mask of ones leaves unchanged, if there is one."""
    if opcode != 0x16:
        return None
    for mask, value in (operands, operands[::-1]):
        word = mask.constant
        if word is not None and word & (word + 1) == 0 and value.bits <= word.bit_length():
            return value
    return None


def _shift(opcode: int, amount: int) -> str:
    if amount >= 256:
        return "0"
    return f"{{b}} >> {amount}" if opcode == 0x1C else f"({{b}} << {amount}) & {WORD_MAX:#x}"
