"""Puts known bugs back into the core, and times how soon the simulation finds each.

An edit replaces text in a function's source, compiles the result, and gives its code to the
function object, so every reference to the function runs the changed code. Each mutant runs in a
process of its own. `hunt` alternates seeds, over several network sizes, and Twins scenarios until
a property breaks or the time is up.
"""

from __future__ import annotations

import importlib
import inspect
import signal
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from random import Random
from types import FunctionType
from typing import Any

from lowu.consensus.simulation.explore import PlanFinding, run_plan
from lowu.consensus.simulation.mutants.edit import Edit, Mutant
from lowu.consensus.simulation.run_plan import draw_plan
from lowu.consensus.simulation.twins import run_scenario, sample_scenario
from lowu.experiments.worker_pool import open_worker_pool

SIZES = (4, 5, 7, 4, 6)
TWINS_EVERY = 4
"""Every fourth attempt is a Twins scenario."""
RUN_S_MAX = 30
"""A run that takes longer counts as endless: it breaks P22."""


class MutantError(Exception):
    """A mutant no longer fits the source; update the mutant."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """The result of hunting one mutant."""

    name: str
    bug: str
    property_id: str
    """The property that broke; empty if none did."""
    attempt: str
    """The seed and size, or the scenario, that broke it."""
    attempts: int
    seconds: float
    """CPU time of the search."""

    @property
    def is_killed(self) -> bool:
        """Whether the bug was found."""
        return bool(self.property_id)


def _find_function(edit: Edit) -> FunctionType:
    found: Any = importlib.import_module(edit.module)
    for name in edit.function.split("."):
        found = inspect.getattr_static(found, name, None)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if not isinstance(found, FunctionType):
        raise MutantError(f"{edit.module}.{edit.function} is not a function")
    return found


def edited_source(edit: Edit) -> str:
    """Return the source of a function with the bug put in.

    Raises:
        MutantError: the text to replace does not occur exactly once.
    """
    source = textwrap.dedent(inspect.getsource(_find_function(edit)))
    if source.count(edit.old) != 1:
        raise MutantError(
            f"{edit.module}.{edit.function} holds {edit.old!r} {source.count(edit.old)} times"
        )
    return source[source.index("def ") :].replace(edit.old, edit.new)


def apply_edit(edit: Edit) -> None:
    """Change a function for the rest of this process."""
    function, body = _find_function(edit), edited_source(edit)
    namespace: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + body
    exec(compile(code, f"<{edit.function}>", "exec"), function.__globals__, namespace)  # noqa: S102
    function.__code__ = namespace[function.__name__].__code__


def apply_mutant(mutant: Mutant) -> None:
    """Put a bug back into the core for the rest of this process."""
    for edit in mutant.edits:
        apply_edit(edit)


def _attempts(first_seed: int) -> Iterator[tuple[str, Any]]:
    random = Random(first_seed)  # noqa: S311  (repeatable, not secret)
    seed = first_seed
    while True:
        for position in range(TWINS_EVERY):
            if position == TWINS_EVERY - 1:
                scenario = sample_scenario(random, random.choice((4, 4, 5, 7)), 3)
                yield (
                    f"twins {scenario.describe()}",
                    lambda scenario=scenario: run_scenario(scenario),
                )
            else:
                nodes = SIZES[seed % len(SIZES)]
                plan = draw_plan(seed, nodes)
                yield f"seed {seed} nodes {nodes}", lambda plan=plan: run_plan(plan)
                seed += 1


def _stop_hanging(number: int, frame: object) -> None:
    raise TimeoutError(f"P22 a run does not end within {RUN_S_MAX} s")


def hunt(mutant: Mutant, seconds: float, first_seed: int = 1) -> Hunt:
    """Put a bug back and search for it; call this only in a process of its own."""
    apply_mutant(mutant)
    signal.signal(signal.SIGALRM, _stop_hanging)
    started = time.process_time()
    for count, (attempt, run) in enumerate(_attempts(first_seed), 1):
        signal.alarm(RUN_S_MAX)
        found = run()
        signal.alarm(0)
        spent = time.process_time() - started
        if isinstance(found, PlanFinding):
            is_hang = found.text.startswith("TimeoutError")
            broken = "P22" if is_hang else found.property_id
            return Hunt(mutant.name, mutant.bug, broken, attempt, count, spent)
        if spent > seconds:
            return Hunt(mutant.name, mutant.bug, "", "", count, spent)
    raise AssertionError("the attempts never end")


def hunt_all(
    mutants: Sequence[Mutant], seconds: float, jobs: int, first_seed: int = 1
) -> Iterable[Hunt]:
    """Hunt each mutant in a process of its own; yield results as they arrive."""
    with open_worker_pool("spawn", jobs, tasks_per_worker=1) as pool:
        futures = [pool.submit(hunt, mutant, seconds, first_seed) for mutant in mutants]
        for future in as_completed(futures):
            yield future.result()
