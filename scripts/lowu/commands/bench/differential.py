"""``lowu bench differential``: compare both EVM engines over millions of steps."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowu.cli import emit_json
from lowu.commands.simulate.campaign import FINDINGS_SHOWN, Stopwatch, print_figures, run_parallel
from lowu.measuring.bench_report import describe_machine, print_machine
from lowu.node.errors import ConfigError, EngineMismatch
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.simulation.evm.contracts import load_artifacts, run_contracts
from lowu.node.simulation.evm.differential import (
    counted_steps,
    find_difference,
    find_differences,
    shrink,
)
from lowu.node.simulation.evm.mutants import MUTANTS
from lowu.output import Progress

PROGRAMS_A_TASK = 100
CALLS_A_TASK = 500
CONTRACTS_A_WORLD = 24
"""More would not fit into the cache of compiled code."""


def run_differential(options: dict[str, Any]) -> None:
    """Run programs and contracts; exit 1 if the engines differ on one."""
    CompiledComputation.cache = CodeCache(gas_an_operation=0, join_every=1)
    watch, progress = Stopwatch(), Progress(is_silent=options["is_json"])
    totals: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    names: set[str] = set()
    findings: list[str] = []
    for done in run_parallel(_run_task, _tasks(options), options["jobs"], chunk=1):
        totals.update(done["totals"])
        outcomes.update(done["outcomes"])
        names |= done["names"]
        findings += done["findings"]
        if watch.is_due():
            progress(
                f"{totals['programs']} programs, {totals['calls']} calls of {len(names)} "
                f"contracts, {totals['steps'] / 1e6:.1f} million steps, "
                f"{len(findings)} differences"
            )
    figures = {
        "programs": totals["programs"],
        "contracts": len(names),
        "calls": totals["calls"],
        "steps": totals["steps"],
        "differences": len(findings),
        "seconds": round(watch.elapsed_s, 1),
    }
    if options["is_json"]:
        emit_json(
            not findings,
            figures,
            machine=describe_machine(),
            outcomes=dict(outcomes.most_common()),
            contracts=sorted(names),
            findings=findings[:20],
        )
    else:
        print_figures(figures)
        print_machine(describe_machine())
        for text in findings[:FINDINGS_SHOWN]:
            progress(text)
    if findings:
        sys.exit(1)


def _tasks(options: dict[str, Any]) -> Iterator[tuple[str, int, int, Path | None]]:
    seed = options["first_seed"]
    for number in range(-(-options["programs"] // PROGRAMS_A_TASK)):
        count = min(PROGRAMS_A_TASK, options["programs"] - number * PROGRAMS_A_TASK)
        yield "programs", seed + number, count, None
    if options["contracts"] is not None:
        for number in range(-(-options["calls"] // CALLS_A_TASK)):
            count = min(CALLS_A_TASK, options["calls"] - number * CALLS_A_TASK)
            yield "contracts", seed + number, count, options["contracts"]


def _run_task(task: tuple[str, int, int, Path | None]) -> dict[str, Any]:
    kind, seed, count, folder = task
    found: dict[str, Any] = {"names": set(), "findings": [], "outcomes": Counter()}
    with counted_steps() as steps:
        if kind == "programs" or folder is None:
            for number, program in find_differences(seed, count):
                small = shrink(program)
                codes = " ".join(code.hex() or "-" for code in small.codes)
                text = f"program {number} of seed {seed}: {find_difference(small)}: {codes}"
                found["findings"].append(text)
            found["totals"] = {"programs": count}
        else:
            _run_world(found, folder, seed, count)
        found["totals"]["steps"] = steps()
    return found


def _run_world(found: dict[str, Any], folder: Path, seed: int, count: int) -> None:
    every = list(load_artifacts(folder))
    if not every:
        raise ConfigError(f"{folder} has no JSON file with the abi and bytecode of a contract")
    start = seed * CONTRACTS_A_WORLD % len(every)
    chosen = (every + every)[start : start + min(len(every), CONTRACTS_A_WORLD)]
    found["totals"] = {"calls": count}
    try:
        run = run_contracts(chosen, seed, count)
    except EngineMismatch as error:
        found["findings"].append(f"contracts of seed {seed}: {error}")
    else:
        found["names"] = {artifact.name for artifact in run.deployed.values()}
        found["outcomes"] = run.outcomes
        found["totals"]["calls"] = run.calls


def run_mutants(options: dict[str, Any]) -> None:
    """Put each known fault into the compiler; exit 1 if the programs miss one."""
    tasks = [(name, options["first_seed"], options["programs"]) for name in MUTANTS]
    watch, progress = Stopwatch(), Progress(is_silent=options["is_json"])
    found: dict[str, int | None] = {}
    for name, number in run_parallel(_run_mutant, tasks, options["jobs"], chunk=1):
        found[name] = number
        progress(f"{name}: {'NOT FOUND' if number is None else f'found by program {number}'}")
    survivors = [name for name, number in found.items() if number is None]
    figures = {
        "mutants": len(found),
        "killed": len(found) - len(survivors),
        "seconds": round(watch.elapsed_s, 1),
    }
    if options["is_json"]:
        emit_json(not survivors, figures, found=found, machine=describe_machine())
    else:
        print_figures(figures)
        print_machine(describe_machine())
    if survivors:
        sys.exit(1)


def _run_mutant(task: tuple[str, int, int]) -> tuple[str, int | None]:
    """Return the number of the first program that finds a mutant."""
    name, seed, count = task
    logging.getLogger("EXECUTOR").setLevel(logging.CRITICAL)
    with MUTANTS[name]():
        for number, _ in find_differences(seed, count):
            return name, number
    return name, None
