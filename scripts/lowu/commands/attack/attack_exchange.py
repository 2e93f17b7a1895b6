"""``lowu attack relay`` and others: attacks on the exchange of documents, by its own parties."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from lowu.cli import emit_json
from lowu.options import json_option
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.experiments.actors.actors import Actors
    from lowu.experiments.attacks.exchange import Deed
    from lowu.testing.network_faults import VirtualFaults

NETWORK = "seed-7"
HELP = {
    "relay": "Pass a request on with another sealing key, and an answer to another receiver.",
    "retarget": "Show another receiver's anchor of a document whose own is revoked.",
    "omit": "Answer another question than was asked: cut lists, hide fields, another schema.",
    "freeze": "Hide that time has passed, on an idle ledger and at a node that stands still.",
    "squat-consent": "Log a consent, and use up a presentation, that belong to others.",
    "revive-consent": "Log a consent after its holder has withdrawn it.",
    "capture-votes": "Suspend the other side's voters, and decide alone.",
    "swap-file": "Supply other files than a document shows, and headers of other documents.",
    "end-desk": "Give a desk an order that it cannot carry out, twice.",
}
"""By the command's name: what the attacker tries."""


def build_commands() -> list[click.Command]:
    """Return one command for each attack."""
    return [_build(name, text) for name, text in HELP.items()]


def _build(name: str, text: str) -> click.Command:
    @click.command(name, help=f"{text}\n\nExits 0 if it fails, as docs/THREATS.md promises.")
    @json_option
    def command(is_json: bool) -> None:
        _run(name, text, is_json=is_json)

    return command


def _run(name: str, text: str, *, is_json: bool) -> None:
    from lowu.experiments.attacks.exchange import play_attack
    from lowu.testing.networks import VirtualNetwork

    progress = Progress(is_silent=is_json)
    progress(f"playing on {NETWORK}, in virtual time")

    async def play(actors: Actors, faults: VirtualFaults) -> list[Deed]:
        return await play_attack(name, actors)

    deeds = VirtualNetwork(NETWORK).play(play)
    held = sum(deed.is_held_off for deed in deeds)
    if is_json:
        rows = [
            {"did": deed.what, "expected": deed.expected, "got": deed.got, "ok": deed.is_held_off}
            for deed in deeds
        ]
        emit_json(held == len(deeds), {"deeds": len(deeds), "held_off": held}, steps=rows)
    else:
        rows_of = [(deed.what, deed.got[:80], _mark(deed)) for deed in deeds]
        print_table(text, ("what was done", "what came of it", ""), rows_of)
        click.echo(f"{held} of {len(deeds)} came to what docs/THREATS.md says")
    sys.exit(0 if held == len(deeds) else 1)


def _mark(deed: Deed) -> str:
    return "as promised" if deed.is_held_off else f"should be {deed.expected}"


CHUNK = 500
"""Mutants of one task."""


def run_structural(count: int, seed: int, jobs: int, *, is_json: bool) -> NoReturn:
    """Judge mutants of structure in several processes, print the result, and exit."""
    from lowu.experiments.attacks.structural import StructuralOutcome, try_chunk
    from lowu.experiments.worker_pool import open_worker_pool

    progress, started = Progress(is_silent=is_json), time.monotonic()
    sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
    tasks = [(size, seed * 1_000_000 + number) for number, size in enumerate(sizes)]
    total = StructuralOutcome()
    with open_worker_pool("spawn", min(jobs, len(tasks))) as pool:
        for outcome in pool.map(try_chunk, tasks):
            total.add(outcome)
            progress(f"{total.tried} of {count}: {len(total.accepted)} wrongly accepted")
    seconds = time.monotonic() - started
    figures = {
        "mutants": total.tried,
        "accepted": len(total.accepted),
        "too_strict": len(total.refused),
        "rightly_accepted": total.agreed["ACCEPT"],
        "seconds": round(seconds, 1),
    }
    is_ok = not total.accepted and not total.refused
    if is_json:
        found = dict(total.agreed.most_common())
        emit_json(is_ok, figures, verdicts=found, holes=(total.accepted + total.refused)[:20])
    else:
        print_table("Verdicts", ("verdict", "mutants"), total.agreed.most_common())
        for told in (total.accepted + total.refused)[:20]:
            click.echo(told)
        click.echo(
            f"{total.tried} mutants, {len(total.accepted)} wrongly accepted, "
            f"{len(total.refused)} wrongly refused, {seconds:.0f} s"
        )
    sys.exit(0 if is_ok else 1)
