"""No opcode costs more for its gas than a block's bound allows (ADR 5), compiled or not."""

import pytest

from lowu.node.execution.compiler import stepper
from lowu.node.execution.compiler.engine import CompiledComputation
from lowu.node.simulation.evm.opcode_costs import LOOPS, measure_loop
from lowu.node.simulation.evm.precompile_costs import STEPS_PER_GAS_MAX


@pytest.mark.parametrize("what", LOOPS)
def test_a_million_gas_of_an_opcode_costs_a_bounded_time(what):
    """In steps of a reference loop timed beside it; py-evm's own loop takes up to ten a gas."""
    cost = measure_loop(what)
    assert max(cost.cold_steps, cost.hot_steps) < STEPS_PER_GAS_MAX, cost


def test_the_yardstick_tells_what_is_too_slow(monkeypatch):
    """Unpaid hashes at each COINBASE are detected."""
    slow = bytes.fromhex("5b" + "41" + "50" + "5f56")

    def dawdle(frame):
        for _ in range(8):
            hash(bytes(2_000))
        return 0

    table = list(stepper._TABLE)
    kind, gas, pops, _ = table[0x41]
    table[0x41] = (kind, gas, pops, dawdle)
    monkeypatch.setattr(stepper, "_TABLE", tuple(table))
    monkeypatch.setattr(CompiledComputation, "find_unit", lambda *arguments: -1)
    assert measure_loop("slow", slow).cold_steps > STEPS_PER_GAS_MAX
