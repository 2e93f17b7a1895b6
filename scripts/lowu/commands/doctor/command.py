"""``lowu doctor``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowu.cli import emit_json
from lowu.options import directory_option, json_option, name_folder
from lowu.output import Progress

if TYPE_CHECKING:
    from lowu.commands.doctor.checking import NodeReport

SHOWN_MAX = 8
"""Findings of a node that are printed."""


@click.command()
@click.argument("names", metavar="[NODE]...", nargs=-1)
@click.option("--full", "is_full", is_flag=True, help="Every block and record, not the last ones.")
@click.option(
    "--repair", "is_repair", is_flag=True,
    help="Give damaged nodes the chain of a sound one; they are stopped and started.",
)  # fmt: skip
@directory_option
@json_option
def doctor(
    names: tuple[str, ...], is_full: bool, is_repair: bool, directory: Path, is_json: bool
) -> None:
    """Look at files, keys, certificates and databases of all nodes, or of NODE, and mend them.

    Nothing is changed without --repair, and nodes may run meanwhile. Exits with 1 if a database is
    damaged.
    """
    from lowu.commands.doctor.checking import check_node, compare, open_reports
    from lowu.node.execution.genesis import build_genesis
    from lowu.node.topology.control import Control, NotRunning
    from lowu.node.topology.tree import load_tree

    plan = load_tree(directory)
    chosen = [plan.find_node(name) for name in names]
    if None in chosen:
        wrong = names[chosen.index(None)]
        raise click.UsageError(f"no node {wrong!r}; there are {plan.node_names}")
    try:
        states = Control(directory).order("status")
    except NotRunning:
        states = []
    running = {item["name"] for item in states if item["pid"] is not None}
    progress, started = Progress(is_silent=is_json), time.monotonic()
    block = build_genesis(plan.genesis)
    reports = open_reports(plan, directory, running)
    for report in reports:
        progress(f"looking at {report.node.name}")
        check_node(plan, block, report, is_full=is_full or is_repair, tell=_say(progress, report))
    compare(reports)
    wanted = [item for item in reports if not chosen or item.node in chosen]
    mended = _repair(plan, block, wanted, reports, directory, progress) if is_repair else {}
    damaged = [item for item in wanted if not item.is_sound and item.node.name not in mended]
    seconds = time.monotonic() - started
    if is_json:
        _print_json(wanted, mended, damaged, seconds)
    else:
        _print(wanted, mended, damaged, seconds, directory)
    if damaged:
        raise click.exceptions.Exit(1)


def _say(progress: Progress, report: NodeReport) -> Callable[[int], None]:
    return lambda count: progress(f"{report.node.name}: {count} blocks")


def _repair(
    plan: object,
    block: object,
    wanted: list[NodeReport],
    reports: list[NodeReport],
    directory: Path,
    progress: Progress,
) -> dict[str, str]:
    """Mend the damaged nodes; return by name what was done."""
    from lowu.commands.doctor.mending import choose_source, mend
    from lowu.node.topology.control import Control

    done: dict[str, str] = {}
    damaged = [item for item in wanted if not item.is_sound]
    foreign = [
        item.node.name
        for item in damaged
        if item.inspection is not None and item.inspection.is_of_other_genesis
    ]
    if foreign:
        raise click.ClickException(
            f"the chain of {', '.join(foreign)} began with another genesis than config.genesis: "
            "that is no damage, and nothing was mended. Restore the config.genesis with which it "
            "began; or, if the node is in the wrong folder, move its data away"
        )
    for report in damaged:
        source = choose_source(reports, report.inspection.settled if report.inspection else 0)
        if source is None:
            raise click.ClickException(
                "no node of this network has a sound database to take the chain from; restore one "
                "from a copy"
            )
        name = report.node.name
        progress(f"{name}: taking the chain of {source.node.name}")
        if report.is_running:
            Control(directory).order("stop", [name])
        kept, is_voting = mend(plan, block, report, source)  # type: ignore[arg-type]
        if report.is_running:
            Control(directory).start([name])
        votes = "keeps its votes" if is_voting else "has lost its votes and abstains for a while"
        done[name] = f"has the chain of {source.node.name}, and {votes}; the old data is in {kept}"
    return done


def _print_json(
    wanted: list[NodeReport],
    mended: dict[str, str],
    damaged: list[NodeReport],
    seconds: float,
) -> None:
    nodes = [
        {
            "name": item.node.name,
            "is_sound": item.is_sound,
            "is_running": item.is_running,
            "damage": item.damage,
            "warnings": item.warnings,
            "repaired": mended.get(item.node.name, ""),
            "height": 0 if item.inspection is None else item.inspection.head.number,
            "blocks": 0 if item.inspection is None else item.inspection.blocks,
            "records": 0 if item.inspection is None else item.inspection.records,
        }
        for item in wanted
    ]
    figures = {
        "nodes": len(wanted),
        "damaged": len(damaged),
        "repaired": len(mended),
        "warnings": sum(len(item.warnings) for item in wanted),
        "seconds": round(seconds, 1),
    }
    emit_json(not damaged, figures, nodes=nodes)


def _print(
    wanted: list[NodeReport],
    mended: dict[str, str],
    damaged: list[NodeReport],
    seconds: float,
    directory: Path,
) -> None:
    for item in wanted:
        name = f"{item.node.name} ({item.node.spec.institution})"
        seen = item.inspection
        unseen = "has never run" if item.is_sound else "its height cannot be read"
        looked = unseen if seen is None else f"height {seen.head.number}"
        if seen is not None:
            records = f", {seen.records:,} records" if seen.records else ""
            looked += f"; {seen.blocks:,} blocks{records} looked at"
        state = "sound" if item.is_sound else "DAMAGED"
        if item.node.name in mended:
            state = "mended"
        click.echo(f"{name}: {state}, {looked}")
        for text in item.damage[:SHOWN_MAX]:
            click.echo(f"  {text}")
        if len(item.damage) > SHOWN_MAX:
            click.echo(f"  and {len(item.damage) - SHOWN_MAX} more")
        for text in item.warnings:
            click.echo(f"  warning: {text}")
        if item.node.name in mended:
            click.echo(f"  it {mended[item.node.name]}")
    if damaged:
        names = " ".join(item.node.name for item in damaged)
        click.echo(f"next: lowu doctor {names} --repair{name_folder(directory)}")
    else:
        click.echo(f"nothing is damaged ({seconds:.1f} s)")
