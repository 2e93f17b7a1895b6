"""ADR 16: if a transaction breaks an engine, it still has a result, and the node continues."""

from dataclasses import replace

import pytest

from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.config import Engine
from lowu.node.errors import EngineMismatch, StorageError
from lowu.node.execution.account_db import FlatAccountDB
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.evm import Evm
from lowu.node.execution.flat_state import EmptyState
from lowu.node.execution.machine import InterpretedComputation
from lowu.node.simulation.evm.differential import CONTEXT, state_of
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program

# Stores 7 in slot 1, logs, reads a balance (the failing opcode below), and stores 8 in slot 2.
CODE = bytes.fromhex("60076001555f5fa0303150600860025500")
BALANCE = 0x31


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    cache = CodeCache(gas_an_operation=0)
    monkeypatch.setattr(CompiledComputation, "cache", cache)


def break_opcode(monkeypatch, computation, error):
    def fail(computation):
        raise error

    opcodes = {**computation.opcodes, BALANCE: fail}
    monkeypatch.setattr(computation, "opcodes", opcodes)


def run(engine=Engine.COMPILED, gas=100_000):
    evm = Evm(state_of(Program((CODE, b"", b""), (), b"", 0, gas)), replace(CONTEXT, engine=engine))
    return evm, evm.call(SENDER, ADDRESSES[0], 0, b"", gas)


@pytest.mark.parametrize("error", [ValueError("of py-evm"), RecursionError(), KeyError(1)])
def test_what_only_the_compiled_engine_fails_on_has_the_interpreters_result(error, monkeypatch):
    expected, expected_outcome = run(Engine.INTERPRETED)
    monkeypatch.setattr(CompiledComputation, "opcodes", dict(CompiledComputation.opcodes))
    break_opcode(monkeypatch, CompiledComputation, error)
    evm, outcome = run()
    assert outcome == expected_outcome and outcome.status is ReceiptStatus.SUCCESS
    assert evm.writes() == expected.writes()
    assert len(evm.flaws) == 1 and expected.flaws == []


def test_what_both_engines_fail_on_has_failed_and_used_its_gas(monkeypatch):
    break_opcode(monkeypatch, InterpretedComputation, ValueError("of py-evm"))
    monkeypatch.setattr(CompiledComputation, "opcodes", InterpretedComputation.opcodes)
    results = []
    for engine in (Engine.COMPILED, Engine.INTERPRETED):
        evm, outcome = run(engine)
        assert evm.flaws
        results.append((outcome, evm.writes()))
        assert evm.get_nonce(SENDER) == 1
        assert evm.accounts.get_storage(ADDRESSES[0], 1) == 0
    assert results[0] == results[1]
    assert results[0][0] == (ReceiptStatus.UNKNOWN, 100_000, b"", (), b"")


def test_the_next_transaction_of_the_block_is_none_the_worse(monkeypatch):
    break_opcode(monkeypatch, InterpretedComputation, ValueError("of py-evm"))
    monkeypatch.setattr(CompiledComputation, "opcodes", InterpretedComputation.opcodes)
    evm, _ = run()
    monkeypatch.undo()
    assert evm.call(SENDER, ADDRESSES[0], 0, b"", 100_000) == run(Engine.INTERPRETED)[1]


def test_two_engines_at_once_stop_on_it(monkeypatch):
    """Simulated nodes run both engines, so that such failures are found there."""
    monkeypatch.setattr(CompiledComputation, "opcodes", dict(CompiledComputation.opcodes))
    break_opcode(monkeypatch, CompiledComputation, ValueError("of py-evm"))
    with pytest.raises(EngineMismatch, match="fails on a call to"):
        run(Engine.BOTH)


@pytest.mark.parametrize(
    "error", [StorageError("damaged"), OSError("disk"), Exception("Corruption")]
)
def test_a_failing_disk_is_no_result(error):
    """It stops the node: other nodes have read what this one could not."""

    class Failing(EmptyState):
        def get(self, table, key):
            raise error

    with pytest.raises(StorageError):
        Evm(Failing(), CONTEXT).call(SENDER, ADDRESSES[0], 0, b"", 100_000)


def test_memory_that_is_not_there_is_no_result(monkeypatch):
    def refuse(*arguments):
        raise MemoryError

    monkeypatch.setattr(FlatAccountDB, "increment_nonce", refuse)
    with pytest.raises(MemoryError):
        run()
