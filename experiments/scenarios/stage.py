"""A stage: the actors of a running network, and what a scenario was to show and showed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.actors.actors import Actors
from institutions.verification.verdicts import Report


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a scenario shows."""

    what: str
    expected: str
    """A verdict and the code that must be among the codes, or a fact."""
    got: str
    is_as_expected: bool
    codes: tuple[str, ...] = ()
    """All codes of a verdict; `got` names the first few."""


@dataclass(slots=True)
class Stage:
    """What a scenario plays on."""

    actors: Actors
    folder: Path
    steps: list[Step] = field(default_factory=list)
    cut_s: float = 60.0
    """How long X2 keeps the boundary cut."""

    def verdict(self, what: str, expected: str, report: Report) -> None:
        """Note a report; `expected` is ``ACCEPT``, or a verdict and how one of its codes begins."""
        verdict, _, code = expected.partition(" ")
        is_code_there = not code or any(found.startswith(code) for found in report.codes)
        is_clean = verdict != "ACCEPT" or not report.codes
        got = " ".join([report.verdict.value, *report.codes[:3]])
        is_right = report.verdict.value == verdict and is_code_there and is_clean
        self.steps.append(Step(what, expected, got, is_right, tuple(report.codes)))

    def fact(self, what: str, expected: object, got: object) -> None:
        """Note what is to be equal."""
        self.steps.append(Step(what, str(expected), str(got), expected == got))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story with a name that users know it by."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[None]]
