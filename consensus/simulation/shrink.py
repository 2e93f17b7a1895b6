"""Shrinks a failing plan: fewer faults first, then fewer inputs, then a quieter network.

A plan lists its faults one by one, so each may be left out and the run repeated. A smaller
plan counts only if it breaks the same property. The search is greedy and bounded by a number
of runs; what is left is what the failure needs, or close to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lowu.consensus.simulation.explore import PlanFinding, run_plan
from lowu.consensus.simulation.result import RunResult
from lowu.consensus.simulation.run_plan import RunPlan, keeps_promise

RUNS_MAX = 400
QUIET_DELAY_MS = 2
_LISTS = (
    "crashes", "cuts", "rots", "byzantine", "changes", "twins", "dead", "diverging", "slow",
    "skews", "submissions",
)  # fmt: skip
_RATES = ("drop", "duplicate", "long_delay", "crash_mid_step", "lost_answer")


def shrink(
    finding: PlanFinding,
    run: Callable[[RunPlan], RunResult | PlanFinding] = run_plan,
    runs_max: int = RUNS_MAX,
) -> PlanFinding:
    """Return the smallest finding of the same property that was found."""
    best, runs = finding, 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for plan in candidates(best.plan):
            if runs == runs_max:
                return best
            runs += 1
            found = run(plan)
            if isinstance(found, PlanFinding) and found.property_id == finding.property_id:
                best, is_smaller = found, True
                break
    return best


def candidates(plan: RunPlan) -> Iterator[RunPlan]:
    """Yield plans reduced in one respect; of each list, those that leave out most come first."""
    for name in _LISTS:
        yield from _shorter_lists(plan, name)
    for position, (node, names) in enumerate(plan.byzantine):
        for name in names if len(names) > 1 else ():
            fewer = (node, tuple(item for item in names if item != name))
            liars = (*plan.byzantine[:position], fewer, *plan.byzantine[position + 1 :])
            yield replace(plan, byzantine=liars)
    for name in _RATES:
        if getattr(plan.rates, name):
            change: dict[str, Any] = {name: 0.0}
            yield replace(plan, rates=replace(plan.rates, **change))
    if plan.rates.delay_ms_max > QUIET_DELAY_MS:
        yield replace(plan, rates=replace(plan.rates, delay_ms_max=QUIET_DELAY_MS))
    if plan.lost_kind:
        yield replace(plan, lost_kind="")
    if plan.snapshot_blocks:
        yield replace(plan, snapshot_blocks=0)
    if plan.is_relaying:
        yield replace(plan, is_relaying=False)
    equal = replace(plan, weights=(1,) * len(plan.weights))
    if equal != plan and keeps_promise(equal):
        yield equal


def _shorter_lists(plan: RunPlan, name: str) -> Iterator[RunPlan]:
    items: tuple[Any, ...] = getattr(plan, name)
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            change: dict[str, Any] = {name: items[:start] + items[start + size :]}
            yield replace(plan, **change)
        size //= 2
