"""The compiled EVM gives py-evm's results; contracts earn compilation; costs are bounded."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.config import Engine
from lowu.node.errors import EngineMismatch
from lowu.node.execution.compiler import engine, runtime
from lowu.node.execution.compiler.code import analyse
from lowu.node.execution.compiler.engine import (
    GAS_AN_OPERATION,
    UNIT_OPERATIONS,
    CodeCache,
    CompiledComputation,
)
from lowu.node.execution.compiler.operations import EXPRESSIONS
from lowu.node.execution.compiler.tracer import JOINED_OPERATIONS_MAX, OPERATIONS_MAX, Tracer
from lowu.node.execution.evm import Evm
from lowu.node.simulation.evm.differential import (
    CONTEXT,
    find_difference,
    find_differences,
    run_program,
    shrink,
    state_of,
)
from lowu.node.simulation.evm.mutants import MUTANTS
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program, draw_program
from tests.unit import node_kit as kit
from tests.unit.node.execution.test_execution import register

WORD_MAX = 2**256 - 1
EDGES = (0, 1, 2, 31, 32, 255, 256, 2**255 - 1, 2**255, 2**255 + 1, WORD_MAX - 1, WORD_MAX)
words = st.sampled_from(EDGES) | st.integers(0, WORD_MAX)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Compile all code at its first run, and join every branch once it has been taken."""
    cache = CodeCache(gas_an_operation=0, join_every=1)
    monkeypatch.setattr(CompiledComputation, "cache", cache)
    return cache


def both(code, data=b"", gas=10**6, others=(b"", b"")):
    """Run a contract in both engines and compare all; return the interpreter's outcome."""
    program = Program((code, *others), ((0, 0), (1, 7)), data, 0, gas)
    expected = run_program(program, is_compiled=False)
    for _ in range(3):  # joined between runs
        assert run_program(program, is_compiled=True) == expected
    return expected[0][0]


def push(word):
    return b"\x7f" + word.to_bytes(32, "big")


RETURN_TOP = bytes.fromhex("60005260206000f3")


# --- equality -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", range(5))
def test_random_programs_run_alike(chunk):
    assert list(find_differences(1_000 + chunk, 60)) == []


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EXPRESSIONS)), words, words, words)
def test_every_expression_folded_and_computed(opcode, a, b, c):
    """Constants are folded, call data is computed; py-evm gives the same."""
    pops = EXPRESSIONS[opcode].pops
    operands = (a, b, c)[:pops]
    folded = b"".join(push(item) for item in reversed(operands)) + bytes([opcode]) + RETURN_TOP
    loads = b"".join(bytes([0x60, 32 * i, 0x35]) for i in reversed(range(pops)))
    data = b"".join(item.to_bytes(32, "big") for item in operands)
    computed = loads + bytes([opcode]) + RETURN_TOP
    one, two = both(folded), both(computed, data)
    assert one.output == two.output == EXPRESSIONS[opcode].fold(*operands).to_bytes(32, "big")


def test_a_registration_with_every_amount_of_gas():
    """Wherever gas runs out, both engines end the same way."""
    chain = kit.Chain()
    enough = Evm(chain.ledger, kit.context()).execute(register()).gas_used
    seen = set()
    for gas in [*range(21_000, enough, 521), enough - 1, enough]:
        transaction = register()._replace(gas=gas)
        outcomes = [
            Evm(chain.ledger, replace(kit.context(), engine=engine)).execute(transaction)
            for engine in (Engine.COMPILED, Engine.INTERPRETED)
        ]
        assert outcomes[0] == outcomes[1]
        seen.add(outcomes[0].status)
    assert {ReceiptStatus.SUCCESS, ReceiptStatus.OUT_OF_GAS} <= seen


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("5b600056", ReceiptStatus.OUT_OF_GAS),  # for ever
        ("600456005b", ReceiptStatus.SUCCESS),
        ("6003565b", ReceiptStatus.SUCCESS),
        ("600556", ReceiptStatus.BAD_JUMP_DESTINATION),  # beyond the end
        ("6001605b56", ReceiptStatus.BAD_JUMP_DESTINATION),
        ("6003605b56", ReceiptStatus.BAD_JUMP_DESTINATION),
        ("600356605b", ReceiptStatus.BAD_JUMP_DESTINATION),
        ("600456605b", ReceiptStatus.BAD_INSTRUCTION),  # into the data of a PUSH
        ("60003556", ReceiptStatus.BAD_JUMP_DESTINATION),  # a computed jump
        ("6001600357005b", ReceiptStatus.BAD_JUMP_DESTINATION),
        ("01", ReceiptStatus.STACK_UNDERFLOW),
        ("5b6001600056", ReceiptStatus.UNKNOWN),  # the stack overflows
        ("61ffff600052", ReceiptStatus.SUCCESS),
        ("7fff", ReceiptStatus.SUCCESS),  # PUSH cut off at the end
        ("60ff60005360005160005260206000f3", ReceiptStatus.SUCCESS),
        ("6000600060003e", ReceiptStatus.SUCCESS),
        ("6001600060003e", ReceiptStatus.UNKNOWN),  # beyond the returned data
        ("600160001960205260005460015560206000fd", ReceiptStatus.REVERT),
        ("fe", ReceiptStatus.BAD_INSTRUCTION),
        ("0c", ReceiptStatus.BAD_INSTRUCTION),
        ("7f" + "ff" * 32 + "6000f3", ReceiptStatus.OUT_OF_GAS),
        ("60ff7f" + "ff" * 32 + "52", ReceiptStatus.OUT_OF_GAS),
    ],
)
def test_ends_of_frames(code, status):
    assert both(bytes.fromhex(code)).status is status


def test_loops_run_in_one_unit(eager):
    """Sum 1 to 100: the back edge of the loop does not leave the function."""
    code = bytes.fromhex("600060645b808201915060019003806004575060005260206000f3")
    outcome = both(code)
    assert int.from_bytes(outcome.output, "big") == 5050
    (held,) = (item for item in eager._codes.values() if item.data == code)
    assert sum(unit.function is not None for unit in held.units) == 2


def test_a_stack_near_its_limit_is_left_to_the_interpreter():
    """1,020 items, then a unit that needs more room than is left."""
    code = b"\x5f" * 1_020 + b"\x5b" + b"\x5f" * 4 + b"\x00"
    assert both(code).status is ReceiptStatus.SUCCESS
    assert both(code[:-1] + b"\x5f\x00").status is ReceiptStatus.UNKNOWN


@pytest.mark.parametrize("gas", range(2_290, 2_312, 3))
def test_the_sentry_of_sstore(gas):
    both(bytes.fromhex("6001600055"), gas=gas + 6)


def test_writes_in_static_calls_are_refused():
    writer = bytes.fromhex("60016000555b00")
    target = int.from_bytes(ADDRESSES[1], "big").to_bytes(20, "big")
    caller = bytes.fromhex("600060006000600073") + target + bytes.fromhex("5afa") + RETURN_TOP
    assert int.from_bytes(both(caller, others=(writer, b"")).output, "big") == 0


def branching(count):
    """Return code that compares the first word of its input with 1 to `count` in turn.

    Each match leads to a function of its own, with a branch in it, that returns the number.
    """
    head, bodies = bytearray(bytes.fromhex("5f35")), bytearray()
    start = 2 + 8 * count + 1
    for number in range(1, count + 1):
        at = start + len(bodies)
        head += bytes.fromhex(f"8060{number:02x}1461{at:04x}57")
        # JUMPDEST; if the second word is set, return number + 1, else number
        bodies += bytes.fromhex(f"5b60203561{at + 17:04x}5760{number:02x}5f5260205ff300")
        bodies += bytes.fromhex(f"5b60{number + 1:02x}5f5260205ff3")
    return bytes(head) + b"\x00" + bytes(bodies)


def test_branches_that_are_taken_are_joined(eager):
    code = branching(20)
    for number in (3, 3, 7, 19, 3):
        for flag in (0, 1):
            data = number.to_bytes(32, "big") + flag.to_bytes(32, "big")
            assert int.from_bytes(both(code, data).output, "big") == number + flag
    units = eager.find(code).units
    assert len(units[0].joined) >= 3
    before = sum(unit.departures for unit in units)
    assert int.from_bytes(both(code, (7).to_bytes(64, "big")[32:]).output, "big") == 7
    assert sum(unit.departures for unit in units) == before


CALL_SECOND = bytes.fromhex("5f5f5f5f5f73") + ADDRESSES[1] + bytes.fromhex("5af150")
"""CALL of the second contract with all gas."""


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("60015460015401", ("", "")),  # a slot read twice
        ("600160015560015460025560015460025401", ("", "")),  # written, read
        # read; the second contract calls back, and the callback writes the slot; read again
        ("5f35601857600154CALL600154015f5260205ff300", ("", "")),
        ("6001545f5260205f205f5260205f2060015f52", ("", "")),  # hashes of equal and other words
        ("60015f5260016020525f60402060405f20505f60205360405f2001", ("", "")),
    ],
)
def test_what_is_known_of_slots_and_hashes_holds(code, others):
    text = code.replace("CALL", CALL_SECOND.hex())
    second = bytes.fromhex("60075f525f5f60205f5f73") + ADDRESSES[0] + bytes.fromhex("5af100")
    whole = bytes.fromhex(text) + RETURN_TOP
    for gas in (10**6, 60_000, 30_000, 5_000):
        both(whole, gas=gas, others=(second, b""))


def test_a_slot_is_read_again_after_a_write_by_another_name():
    code = bytes.fromhex("6001545060095f3555600154") + RETURN_TOP
    assert int.from_bytes(both(code, (1).to_bytes(32, "big")).output, "big") == 9


def test_a_slot_is_read_again_after_a_call(eager):
    """The second contract calls back with input; then the first one writes slot 1 and stops."""
    write = bytes.fromhex("5b600960015500")
    main = bytes.fromhex("600154") + CALL_SECOND + bytes.fromhex("600154") + RETURN_TOP
    head = bytes.fromhex(f"3661{4 + len(main) + 1:04x}57")
    code = head + main + write
    second = bytes.fromhex("5f5f60205f5f73") + ADDRESSES[0] + bytes.fromhex("5af100")
    code = code[:2] + (len(head) + len(main)).to_bytes(2, "big") + code[4:]
    outcome = both(code, others=(second, b""))
    assert int.from_bytes(outcome.output, "big") == 9


@pytest.mark.parametrize("size", [0x20, 0xFE0, 0x1000, 0x1020, 0x4000])
def test_memory_of_a_known_length_costs_what_it_must(size):
    code = bytes.fromhex(f"60016001525961{size:04x}526002604052595f5260205ff3")
    for gas in (*range(3, 200, 7), 2_000, 10_000):
        both(code, gas=gas)


# --- costs ----------------------------------------------------------------------------------------


def test_a_contract_earns_its_compilation(monkeypatch):
    """One opcode for each 300 gas of its own frames; until then it runs opcode by opcode."""
    cache = CodeCache()
    monkeypatch.setattr(CompiledComputation, "cache", cache)
    program = Program((bytes.fromhex("5f54505b00"), b"", b""), (), b"", 0, 50_000)
    price = GAS_AN_OPERATION * (5 + UNIT_OPERATIONS)
    for run in range(price):
        run_program(program, is_compiled=True)
        code = cache.find(program.codes[0])
        if code.operations:
            break
    assert price <= code.gas - 2 * 2_105 <= price + 2 * 2_105
    assert run == price // (2 * 2_105) + 1


def test_a_loop_in_one_frame_earns_its_compilation(monkeypatch):
    """No one can keep a node in the slow loop: compiled code takes over at a jump destination."""
    cache = CodeCache()
    monkeypatch.setattr(CompiledComputation, "cache", cache)
    program = Program((bytes.fromhex("5b5f56"), b"", b""), (), b"", 0, 100_000)
    run_program(program, is_compiled=True)
    assert cache.find(program.codes[0]).operations > 0


def test_gas_of_called_frames_earns_the_caller_nothing(monkeypatch):
    """Otherwise a chain of calls would have each contract compiled with the last one's gas."""
    cache = CodeCache()
    monkeypatch.setattr(CompiledComputation, "cache", cache)
    caller = bytes.fromhex("5f5f5f5f5f73") + ADDRESSES[1] + bytes.fromhex("5af100")
    program = Program((caller, bytes.fromhex("5b5f56"), b""), (), b"", 0, 5_000_000)
    run_program(program, is_compiled=True)
    assert cache.find(caller).gas < 6_000 < 10_000 < cache.find(program.codes[1]).gas


def test_creation_code_has_no_place_in_the_cache(monkeypatch):
    """Otherwise a stranger's creations would evict the contracts in use."""
    cache = CodeCache()
    monkeypatch.setattr(CompiledComputation, "cache", cache)
    code = bytes.fromhex("5b5f5f5ff0505f56")  # endless creations
    run_program(Program((code, b"", b""), (), b"", 0, 1_000_000), is_compiled=True)
    assert len(cache) == 1


@pytest.mark.parametrize("flaw", [SyntaxError("too nested"), RecursionError(), MemoryError()])
def test_code_that_python_cannot_compile_still_runs(flaw, monkeypatch):
    def refuse(*arguments):
        raise flaw

    monkeypatch.setattr(engine, "_build", refuse)
    assert both(bytes.fromhex("6001600101") + RETURN_TOP).output[-1] == 2


def test_the_cache_is_bounded():
    cache = CodeCache(gas_an_operation=0, operations_max=50, codes_max=5)
    for number in range(20):
        code = cache.find(b"\x60" + bytes([number]) + b"\x5b" * 30)
        cache.compile(code, code.units[0], CompiledComputation.opcodes)
        assert len(cache) <= 5 and cache.operations <= 50 + 33


def test_units_of_one_entry_are_few():
    code = analyse(b"\x5b" * 100)
    numbers = {code.unit_number(50, ((1, known),)) for known in range(20)}
    assert len(numbers) == 5 and len(code.units) == 6


@pytest.mark.parametrize(
    "code",
    [
        b"\x5b" * 24_576,
        b"\x60\x01\x60\x00\x57" * 4_915,
        b"\x5f\x35\x60\x08\x57\x5b\x5b\x5b\x5b" * 2_700,
        b"\x80" * 24_576,
        b"\x34\x61\x01\x00\x57" * 4_915,
        b"\x5b\x34\x60\x00\x57\x5b\x34\x60\x05\x57" * 2_400,
    ],
)
def test_one_unit_of_hostile_code_is_bounded(code):
    tracer = Tracer(analyse(code), 0, ())
    text = tracer.write()
    assert tracer.operations <= 3 * OPERATIONS_MAX and len(text) < 400_000
    joined = Tracer(tracer.code, 0, (), frozenset(range(100_000)))
    text = joined.write()
    assert joined.operations <= 3 * JOINED_OPERATIONS_MAX and len(text) < 1_200_000
    compile(text, "joined", "exec")


def test_gas_for_hashing_much_is_taken_before_the_work():
    """Many hashes of existing memory, with gas for none of them."""
    small, large = (bytes.fromhex(f"61{size:04x}60002050") for size in (0x100, 0x5A80))
    text = Tracer(analyse(small * 3), 0, ()).write()
    assert "K(m[" in text and "hash_memory" not in text
    text = Tracer(analyse(large * 3), 0, ()).write()
    assert "K(m[" not in text and text.count("hash_memory") == 3
    for gas in range(3_000, 20_000, 611):
        both(large * 20 + RETURN_TOP, gas=gas)


# --- running both engines --------------------------------------------------------------------


def test_running_both_passes_what_is_equal():
    program = draw_program(Random(3))
    evm = Evm(state_of(program), replace(CONTEXT, engine=Engine.BOTH))
    arguments = (SENDER, ADDRESSES[0], program.value, program.data, program.gas)
    outcomes = [evm.call(*arguments) for _ in range(2)]
    assert (outcomes, evm.writes()) == run_program(program, is_compiled=True)


@pytest.mark.parametrize("name", ["GAS_COLD_SLOAD", "GAS_SSTORE_SET", "GAS_PER_LOG_BYTE"])
def test_running_both_stops_on_a_difference(name, monkeypatch):
    monkeypatch.setattr(runtime, name, getattr(runtime, name) + 1)
    chain = kit.Chain()
    evm = Evm(chain.ledger, replace(kit.context(), engine=Engine.BOTH))
    with pytest.raises(EngineMismatch, match="differs from py-evm on transaction 0x"):
        evm.execute(register())


@pytest.mark.parametrize(
    "name",
    [
        "comparisons leave a bool (N-P0)",
        "a cold slot costs one too many",
        "a cold account costs one too many",
    ],
)
def test_the_differential_finds_known_faults(name):
    """And shrinks its findings. `lowu bench differential --mutants` runs all mutants."""
    with MUTANTS[name]():
        _, program = next(find_differences(5, 3_000))
        small = shrink(program)
        assert find_difference(small) is not None
    assert find_difference(small) is None
    assert sum(map(len, small.codes)) <= min(60, sum(map(len, program.codes)))
