"""No precompile costs more for its gas than ADR 5 allows, or blocks other threads for long."""

import sys
from threading import Event, Thread

import pytest
from eth.vm.forks.cancun.computation import CANCUN_PRECOMPILES

from lowu.node.execution.precompiles.table import PRECOMPILES
from lowu.node.simulation.evm import precompile_costs
from lowu.node.simulation.evm.precompile_costs import (
    STEPS_PER_GAS_MAX,
    Input,
    draw_worst_inputs,
    encode_modexp,
    measure_cost,
    prepare,
)

INPUTS = draw_worst_inputs()


def test_each_precompile_is_measured():
    assert {item.address for item in INPUTS} == set(PRECOMPILES)


@pytest.mark.parametrize("item", INPUTS, ids=lambda item: f"{item.precompile}, {item.what}")
def test_n_f1_n_e2_a_million_gas_costs_a_bounded_time(item):
    """N-F1, N-E2: in steps of a loop timed beside it; py-evm's own take up to 270 a gas."""
    cost = measure_cost(item)
    assert cost.gas > 0
    assert cost.steps_per_gas < STEPS_PER_GAS_MAX, cost


def test_the_yardstick_tells_what_is_too_slow(monkeypatch):
    monkeypatch.setattr(precompile_costs, "PRECOMPILES", CANCUN_PRECOMPILES)
    slow = [item for item in INPUTS if item.what in {"two points", "2²⁵⁶ − 1", "12 rounds"}]
    assert [item.precompile for item in slow] == ["ECADD", "ECMUL", "BLAKE2F"]
    for item in slow:
        assert measure_cost(item).steps_per_gas > STEPS_PER_GAS_MAX


def test_a_long_power_lets_other_threads_run():
    """The event loop runs in the same process.

    With such a long switch interval, another thread runs only if the working one releases the lock.
    """
    data = encode_modexp(b"\xff" * 1500, b"\xff" * 1024, b"\xff" * 1499 + b"\xfe")
    call = prepare(Input("MODEXP", "a long power", bytes(19) + b"\x05", data))
    started, done = Event(), Event()

    def work():
        started.set()
        call()
        done.set()

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        worker = Thread(target=work)
        worker.start()
        started.wait()
        ran_beside_it = not done.is_set()
        worker.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert ran_beside_it
