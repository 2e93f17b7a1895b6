"""Scenarios that institutions play on a real network: E1 to E15, and X1 to X9.

docs/SCENARIOS.md says what each shows, and names those still missing here. Each adds steps to its
stage: what was expected, and what was found.
"""

from lowu.experiments.scenarios import (
    attacking,
    crashing,
    dividing,
    governing,
    lifecycle,
    presenting,
    watching,
)
from lowu.experiments.scenarios.stage import Scenario, Stage, Step


def _order(scenario: Scenario) -> tuple[str, int]:
    return scenario.name[0], int(scenario.name[1:])


_EVERY = (
    *presenting.SCENARIOS,
    *lifecycle.SCENARIOS,
    *attacking.SCENARIOS,
    *dividing.SCENARIOS,
    *crashing.SCENARIOS,
    *governing.SCENARIOS,
    *watching.SCENARIOS,
)

ALL: dict[str, Scenario] = {item.name: item for item in sorted(_EVERY, key=_order)}

__all__ = ["ALL", "Scenario", "Stage", "Step"]
