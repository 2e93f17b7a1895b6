"""``lowu bench gas``: CPU time per gas of the most expensive opcodes and precompiles."""

from __future__ import annotations

import sys
from typing import Any

from lowu.cli import emit_json
from lowu.measuring.bench_report import describe_machine, print_machine
from lowu.node.simulation.evm.opcode_costs import LOOPS, measure_loop
from lowu.node.simulation.evm.precompile_costs import (
    STEPS_PER_GAS_MAX,
    draw_worst_inputs,
    measure_cost,
)
from lowu.output import Progress, print_table

DIGITS = 2


def run_bench_gas(*, is_json: bool) -> None:
    """Measure them all; exit 1 if one costs more than a block's bound allows (ADR 5)."""
    progress = Progress(is_silent=is_json)
    rows: list[dict[str, Any]] = []
    for what in LOOPS:
        loop = measure_loop(what)
        rows.append(_row(what, "cold", loop.cold_ms, loop.cold_steps))
        rows.append(_row(what, "hot", loop.hot_ms, loop.hot_steps))
    progress(f"{len(LOOPS)} opcode loops measured")
    for item in draw_worst_inputs():
        cost = measure_cost(item)
        rows.append(_row(cost.precompile, cost.what, cost.ms_per_million, cost.steps_per_gas))
    rows.sort(key=lambda row: -row["steps_a_gas"])
    worst = rows[0]
    is_ok = worst["steps_a_gas"] <= STEPS_PER_GAS_MAX
    if is_json:
        figures = {
            "worst_steps_a_gas": worst["steps_a_gas"],
            "bound_steps_a_gas": STEPS_PER_GAS_MAX,
            "worst_ms_a_million": worst["ms_a_million"],
        }
        emit_json(is_ok, figures, rows=rows, machine=describe_machine())
    else:
        print_table(
            "CPU time per gas, most expensive first (step: one step of a plain arithmetic loop)",
            ("what", "case", "ms per million gas", "steps per gas"),
            [tuple(row.values()) for row in rows],
        )
        print_machine(describe_machine())
    sys.exit(0 if is_ok else 1)


def _row(what: str, how: str, ms: float, steps: float) -> dict[str, Any]:
    return {
        "what": what,
        "how": how,
        "ms_a_million": round(ms, 1),
        "steps_a_gas": round(steps, DIGITS),
    }
