"""``lowu consistency``: what clients see under faults, recorded and checked."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowu.cli import emit_json
from lowu.options import json_option, read_network
from lowu.output import Progress

if TYPE_CHECKING:
    from lowu.experiments.consistency.checker import Anomaly
    from lowu.experiments.consistency.recorder import Recording

SHOWN_MAX = 5
"""Anomalies that are printed."""


@click.command()
@click.option(
    "--operations", type=click.IntRange(1, 10_000_000), default=2_000, show_default=True,
    help="Operations to record.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of faults and clients.")
@click.option("--network", default="dev-4", show_default=True, help="Bundled name or file.")
@click.option(
    "--provider", type=click.Choice(["sim", "local"]), default="sim", show_default=True,
    help="In virtual time, or real processes.",
)  # fmt: skip
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="File for the history, one JSON object a line.",
)  # fmt: skip
@json_option
def consistency(
    operations: int, seed: int, network: str, provider: str, save: Path | None, is_json: bool
) -> None:
    """Record what clients see while nodes stop and pause, and check that it can be.

    Issuers register and revoke through any node, readers read through each. Writes and fresh reads
    must be linearizable; what one node says must never go back.
    """
    from lowu.experiments.consistency.checker import WRITES, check_history, count_stale
    from lowu.experiments.consistency.recorded import OperationKind
    from lowu.experiments.consistency.recorder import Recording

    if save is not None and (save.exists() or not save.absolute().parent.is_dir()):
        why = "exists already" if save.exists() else "is in no folder that exists"
        raise click.UsageError(f"--save {save} {why}; name a new file")
    progress = Progress(is_silent=is_json)
    text, _ = read_network(network)
    recording, started = Recording(), time.monotonic()

    def tell(count: int) -> None:
        progress(f"{count} of {operations} operations recorded")

    if provider == "sim":
        logging.disable(logging.CRITICAL)  # of all nodes, which are this process
    _record(text, provider, seed, operations, recording, tell)
    found = check_history(recording.operations)
    kinds = [item.kind for item in recording.operations]
    figures = {
        "operations": len(kinds),
        "writes": sum(item in WRITES for item in kinds),
        "fresh_reads": kinds.count(OperationKind.FRESH_READ),
        "local_reads": kinds.count(OperationKind.LOCAL_READ),
        "stale_local_reads": count_stale(recording.operations),
        "violations": len(found),
        "seconds": round(time.monotonic() - started, 1),
    }
    if save is not None:
        _save(recording, save)
    _print(figures, recording, found, seed, is_json=is_json)
    if found:
        raise click.exceptions.Exit(1)


def _record(
    text: str,
    provider: str,
    seed: int,
    operations: int,
    recording: Recording,
    tell: Callable[[int], None],
) -> None:
    from functools import partial

    import trio

    from lowu.commands.crash.command import open_folder
    from lowu.commands.crash.virtual_consortium import open_in_virtual_time
    from lowu.experiments.consistency.recorder import Recorder
    from lowu.experiments.crashes.campaign import prepare_text
    from lowu.experiments.crashes.consortium import open_processes
    from lowu.node.simulation.virtual_time import run_virtual
    from lowu.node.topology.plan import build_plan
    from lowu.node.topology.spec import parse_spec

    prepared = prepare_text(text)

    async def in_virtual_time() -> None:
        plan = build_plan(parse_spec(prepared, Path("consistency")))
        async with open_in_virtual_time(plan, {}, seed) as consortium:
            await Recorder(consortium, seed, recording).run(operations, tell)

    async def on_processes(folder: Path) -> None:
        async with open_processes(prepared, folder / "network", {}) as consortium:
            await Recorder(consortium, seed, recording).run(operations, tell)

    if provider == "sim":
        run_virtual(seed, in_virtual_time)
        return
    with open_folder(None, "consistency") as folder:
        trio.run(partial(on_processes, folder))


def _save(recording: Recording, path: Path) -> None:
    from dataclasses import asdict

    with path.open("w", encoding="utf-8") as file:
        for item in recording.operations:
            row = asdict(item)
            row["end_s"] = None if item.value is None else item.end_s
            row["value"] = None if item.value is None else item.value.name
            file.write(json.dumps(row) + "\n")


def _print(
    figures: dict[str, float],
    recording: Recording,
    found: list[Anomaly],
    seed: int,
    *,
    is_json: bool,
) -> None:
    if is_json:
        told = [str(item) for item in found]
        emit_json(not found, figures, seed=seed, faults=recording.faults, anomalies=told)
        return
    for item in found[:SHOWN_MAX]:
        click.echo(str(item))
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(recording.faults.items()))
    click.echo(
        f"{figures['operations']} operations ({figures['writes']} writes, "
        f"{figures['fresh_reads']} fresh reads, {figures['local_reads']} local reads, of which "
        f"{figures['stale_local_reads']} missed what another node had acknowledged) under faults "
        f"({faults}): {len(found)} violations; {figures['seconds']:.0f} s"
    )
