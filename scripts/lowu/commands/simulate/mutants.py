"""``lowu simulate --mutants``: put known bugs back, and measure how soon each is found."""

from __future__ import annotations

import os
import sys
from statistics import median
from typing import Any

import click

from lowu.cli import emit_json
from lowu.consensus.simulation.mutants.catalogue import MUTANTS
from lowu.consensus.simulation.mutants.edit import Mutant
from lowu.experiments.mutation_testing import Hunt, hunt_all
from lowu.output import Progress, print_table


def run_mutants(options: dict[str, Any]) -> None:
    """Hunt the mutants; exit 1 if one survives."""
    chosen = _choose(options["only"])
    progress = Progress(is_silent=options["is_json"])
    jobs = options["jobs"] or os.cpu_count() or 1
    hunts: list[Hunt] = []
    for hunt in hunt_all(chosen, options["seconds"], jobs, options["first_seed"] or 1):
        hunts.append(hunt)
        how = f"{hunt.property_id} broken by {hunt.attempt}" if hunt.is_killed else "NOT FOUND"
        progress(f"{len(hunts)}/{len(chosen)} {hunt.name}: {how} after {hunt.seconds:.1f} s")
    hunts.sort(key=lambda hunt: hunt.name)
    killed = [hunt for hunt in hunts if hunt.is_killed]
    figures = {
        "mutants": len(hunts),
        "killed": len(killed),
        "median_seconds": round(median(hunt.seconds for hunt in hunts), 2),
        "max_seconds": round(max(hunt.seconds for hunt in hunts), 2),
    }
    if options["is_json"]:
        emit_json(len(killed) == len(hunts), figures, mutants=[_describe(hunt) for hunt in hunts])
    else:
        print_table(
            f"{len(killed)} of {len(hunts)} found, median {figures['median_seconds']} s of CPU",
            ("mutant", "bug", "violated", "found by", "attempts", "seconds"),
            [
                (
                    h.name,
                    h.bug,
                    h.property_id or "NOTHING",
                    h.attempt,
                    h.attempts,
                    f"{h.seconds:.1f}",
                )
                for h in hunts
            ],
        )
    if len(killed) < len(hunts):
        sys.exit(1)


def _choose(names: str) -> list[Mutant]:
    wanted = [name for name in names.split(",") if name]
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in wanted:
        if name not in known:
            raise click.UsageError(f"--only {name}: no such mutant; there are {', '.join(known)}")
    return [known[name] for name in wanted] or list(MUTANTS)


def _describe(hunt: Hunt) -> dict[str, Any]:
    return {
        "name": hunt.name,
        "bug": hunt.bug,
        "property": hunt.property_id,
        "attempt": hunt.attempt,
        "attempts": hunt.attempts,
        "seconds": round(hunt.seconds, 2),
    }
