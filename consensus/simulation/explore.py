"""Runs many seeds: in order, over several sizes of network, with totals.

A violation is kept with its plan, so that it can be repeated, shrunk and stored. One seed in a
hundred is run twice with a trace, and both traces must be equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lowu.consensus.errors import ConsensusError
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.result import RunResult
from lowu.consensus.simulation.run_plan import RunPlan, draw_plan
from lowu.consensus.simulation.world import World

TWICE_EVERY = 100
TRACE_LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class PlanFinding:
    """A plan that broke a property."""

    plan: RunPlan
    text: str

    @property
    def property_id(self) -> str:
        """The number of the property, or the kind of error."""
        return self.text.split(" ", 1)[0].rstrip(":")


@dataclass(slots=True)
class Totals:
    """What a campaign has done so far."""

    seeds: int = 0
    blocks: int = 0
    inputs: int = 0
    view_changes: int = 0
    virtual_ms: int = 0
    recovery_ms_max: int = 0
    compared: int = 0
    """Seeds that were run twice with equal traces."""
    faults: Counter[str] = field(default_factory=Counter)
    coverage: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[PlanFinding] = field(default_factory=list)

    def add(self, found: RunResult | PlanFinding) -> None:
        """Count a run."""
        self.seeds += 1
        if isinstance(found, PlanFinding):
            self.findings.append(found)
            return
        self.blocks += found.heights
        self.inputs += found.inputs
        self.view_changes += found.view_max
        self.virtual_ms += found.virtual_ms
        self.recovery_ms_max = max(self.recovery_ms_max, found.recovery_ms)
        self.compared += bool(found.trace_hash)
        self.faults.update(found.faults)
        self.coverage.update(found.coverage)


def run_plan(plan: RunPlan, *, is_traced: bool = False) -> RunResult | PlanFinding:
    """Run a plan; return its result, or what it broke."""
    return guard(plan, lambda: World(plan, is_traced=is_traced).run())


def guard(plan: RunPlan, run: Callable[[], RunResult]) -> RunResult | PlanFinding:
    """Call `run`; return its result, or the finding for the error that it raised."""
    try:
        return run()
    except (Violation, ConsensusError) as error:
        name = "" if isinstance(error, Violation) else f"{type(error).__name__}: "
        return PlanFinding(plan, f"{name}{error}")
    except Exception as error:  # noqa: BLE001  (a crash of the product is a finding too)
        return PlanFinding(plan, f"{type(error).__name__}: {error}")


def run_seed(seed: int, nodes: int) -> RunResult | PlanFinding:
    """Run one seed; run every hundredth twice, with a trace."""
    plan = draw_plan(seed, nodes)
    if seed % TWICE_EVERY:
        return run_plan(plan)
    first, second = (run_plan(plan, is_traced=True) for _ in range(2))
    if isinstance(first, RunResult) and first != second:
        return PlanFinding(plan, "P11 two runs of one plan differ")
    return first


def run_traced(world: World) -> tuple[str, list[str]]:
    """Run a traced world; return the broken property, or "", and its trace's last lines."""
    found = guard(world.plan, world.run)
    text = found.text if isinstance(found, PlanFinding) else ""
    if text:
        world.trace_event(None, "VIOLATION", text)
    return text, list(world.trace.lines)
