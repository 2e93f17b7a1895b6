"""Case N-P0: every operation accepts a word from any producer. Both engines, all pairs.

Compiled code once left a `bool` on the stack where py-evm has an `int`: equal, but rejected by
py-evm's own functions with an error that is not the contract's failure.
"""

from functools import cache

import pytest

from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.simulation.evm.differential import NEVER, run_program
from lowu.node.simulation.evm.programs import ADDRESSES, Program
from tests.unit.node.execution.test_compiled_evm import RETURN_TOP, push

OTHER = int.from_bytes(ADDRESSES[1], "big")
SHA256 = 2
DATA = bytes(31) + b"\x01" + bytes(64)

# Producers, which leave one word on the stack. Operands are from call data, so nothing is folded.
WORD = bytes.fromhex("5f35")
PRODUCERS = {
    **{
        f"binary {opcode:02x}": WORD + WORD + bytes([opcode])
        for opcode in (*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), *range(0x16, 0x19),
                       *range(0x1A, 0x1E))
    },
    **{f"unary {opcode:02x}": WORD + bytes([opcode])
       for opcode in (0x15, 0x19, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x51, 0x54, 0x5C)},
    **{f"ternary {opcode:02x}": WORD * 3 + bytes([opcode]) for opcode in (0x08, 0x09)},
    **{
        f"context {opcode:02x}": bytes([opcode])
        for opcode in (0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, *range(0x41, 0x49), 0x4A,
                       0x58, 0x59, 0x5A)
    },
    "keccak": bytes.fromhex("60205f20"),
    "constant": push(1),
    "zero": b"\x5f",
    "folded comparison": bytes.fromhex("5f15"),
    "duplicate of a comparison": bytes.fromhex("5f351580") + b"\x90\x50",
    "call": bytes.fromhex("5f5f5f5f5f73") + ADDRESSES[1] + bytes.fromhex("5af1"),
    "static call of a precompile": bytes.fromhex("60205f60205f60025afa"),
    "delegate call": bytes.fromhex("5f5f5f5f73") + ADDRESSES[1] + bytes.fromhex("5af4"),
    "call code": bytes.fromhex("5f5f5f5f5f73") + ADDRESSES[1] + bytes.fromhex("5af2"),
    "create": bytes.fromhex("5f5f5ff0"),
    "create2": bytes.fromhex("5f5f5f5ff5"),
}  # fmt: skip

# Operations, with words for their operands from the top, and the number of items they push.
CALLED = (50_000, OTHER, 0, 0, 32, 0, 32)
PRECOMPILE = (50_000, SHA256, 0, 0, 32, 0, 32)
CONSUMERS = {
    **{(opcode, 1): (1, 2) for opcode in (*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15),
                                          *range(0x16, 0x19), *range(0x1A, 0x1E))},
    **{(opcode, 1): (1,) for opcode in (0x15, 0x19, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x51,
                                        0x54, 0x5C)},
    (0x08, 1): (1, 2, 3), (0x09, 1): (1, 2, 3),
    (0x20, 1): (0, 32), (0x50, 0): (1,),
    **{(opcode, 0): (0, 0, 32) for opcode in (0x37, 0x39, 0x5E)}, (0x3E, 0): (0, 0, 0),
    (0x3C, 0): (OTHER, 0, 0, 32),
    (0x52, 0): (0, 1), (0x53, 0): (0, 1), (0x55, 0): (1, 2), (0x5D, 0): (1, 2),
    **{(0xA0 + topics, 0): (0, 32, *range(topics)) for topics in range(5)},
    (0xF0, 1): (0, 0, 10), (0xF5, 1): (0, 0, 10, 7),
    (0xF1, 1): CALLED, (0xF2, 1): CALLED,
    (0xF4, 1): CALLED[:2] + CALLED[3:], (0xFA, 1): CALLED[:2] + CALLED[3:],
    (0xF3, None): (0, 32), (0xFD, None): (0, 32), (0xFF, None): (OTHER,),
}  # fmt: skip
TO_PRECOMPILES = {
    (0xF1, 1): PRECOMPILE, (0xF2, 1): PRECOMPILE,
    (0xF4, 1): PRECOMPILE[:2] + PRECOMPILE[3:], (0xFA, 1): PRECOMPILE[:2] + PRECOMPILE[3:],
}  # fmt: skip


@pytest.fixture(autouse=True, params=[0, NEVER], ids=["compiled", "stepped"])
def price(request, monkeypatch):
    """Compile all code, or none."""
    cache = CodeCache(gas_an_operation=request.param, join_every=1)
    monkeypatch.setattr(CompiledComputation, "cache", cache)


def write(producer, opcode, pushes, words, position):
    """Return code that runs an operation with one operand from a producer."""
    code = bytearray()
    for index in reversed(range(len(words))):
        code += producer if index == position else push(words[index])
    code.append(opcode)
    return bytes(code) + (RETURN_TOP if pushes else b"\x00")


def to_program(code):
    return Program((code, bytes.fromhex("60015f5260205ff3"), b""), ((0, 5),), DATA, 0, 400_000)


@cache
def interpret(code):
    """What py-evm makes of code, whatever is compiled."""
    return run_program(to_program(code), is_compiled=False)


def check_alike(code):
    """Run code in both engines, the compiled one without help from the other."""
    expected = interpret(code)
    assert run_program(to_program(code), is_compiled=True) == expected
    return expected[0][0]


@pytest.mark.parametrize("name", PRODUCERS)
def test_whatever_made_a_word_every_operation_takes_it(name):
    for table in (CONSUMERS, TO_PRECOMPILES):
        for (opcode, pushes), words in table.items():
            for position in range(len(words)):
                code = write(PRODUCERS[name], opcode, pushes, words, position)
                check_alike(code)


@pytest.mark.parametrize("name", PRODUCERS)
def test_every_producer_makes_a_word(name):
    """The producers themselves succeed, so the operands above are as intended."""
    assert check_alike(PRODUCERS[name] + RETURN_TOP).status is ReceiptStatus.SUCCESS


def test_the_case_itself():
    """create(0, iszero(calldataload(0)), 10): status 1 and the interpreter's result."""
    outcome = check_alike(bytes.fromhex("600a600035156000f05000"))
    assert outcome.status is ReceiptStatus.SUCCESS
