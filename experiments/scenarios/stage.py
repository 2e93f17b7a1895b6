"""A stage: the actors of a running network, and the expected and actual results of a scenario."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from lowu.experiments.actors.actors import Actors
from lowu.institutions.verification.verdicts import Report


@dataclass(frozen=True, slots=True)
class Step:
    """One result of a scenario."""

    what: str
    expected: str
    """A verdict, with a code that must be among its codes, or a fact."""
    got: str
    is_as_expected: bool
    codes: tuple[str, ...] = ()
    """All codes of a verdict; `got` names the first three."""


@dataclass(slots=True)
class Stage:
    """The environment in which a scenario plays."""

    actors: Actors
    folder: Path
    steps: list[Step] = field(default_factory=list)
    cut_s: float = 60.0
    """How long X2 keeps the boundary cut."""

    def verdict(self, what: str, expected: str, report: Report) -> None:
        """Record a report; `expected` is ``ACCEPT``, or a verdict and the start of one code."""
        verdict, _, code = expected.partition(" ")
        is_code_there = not code or any(found.startswith(code) for found in report.codes)
        is_clean = verdict != "ACCEPT" or not report.codes
        got = " ".join([report.verdict.value, *report.codes[:3]])
        is_right = report.verdict.value == verdict and is_code_there and is_clean
        self.steps.append(Step(what, expected, got, is_right, tuple(report.codes)))

    def fact(self, what: str, expected: object, got: object) -> None:
        """Record a value and the value expected."""
        self.steps.append(Step(what, str(expected), str(got), expected == got))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, with the name and title that users see."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[None]]
