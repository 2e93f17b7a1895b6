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
    from lowu.node.execution.executor import ExecutedBlock
    from lowu.node.topology.plan import Plan

SHOWN_MAX = 8
"""Findings of a node that are printed."""


@click.command()
@click.argument("names", metavar="[NODE]...", nargs=-1)
@click.option("--full", "is_full", is_flag=True, help="Every block and record, not the last ones.")
@click.option(
    "--repair", "is_repair", is_flag=True,
    help="Give damaged nodes the chain of a sound one, and write files anew; nodes that run are "
    "stopped for it and started.",
)  # fmt: skip
@directory_option
@json_option
def doctor(
    names: tuple[str, ...], is_full: bool, is_repair: bool, directory: Path, is_json: bool
) -> None:
    """Look at files, keys, certificates and databases of all nodes, or of NODE, and mend them.

    Nothing is changed without --repair, and nodes may run meanwhile. Exits with 1 if a database is
    damaged, or a node could not start.
    """
    from lowu.commands.doctor.checking import check_node, compare, open_reports
    from lowu.commands.doctor.mending import choose_source
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
    mended: dict[str, str] = {}
    failed: dict[str, str] = {}
    if is_repair:
        mended, failed = _repair(plan, block, wanted, reports, directory, progress)
    bad = [item for item in wanted if not item.is_sound and item.node.name not in mended]
    seconds = time.monotonic() - started
    if is_json:
        _print_json(wanted, mended, failed, bad, seconds)
    else:
        _print(wanted, mended, failed)
        is_whole = is_full or is_repair
        is_hopeless = choose_source(reports, 0) is None and any(item.damage for item in bad)
        _print_next(wanted, mended, bad, directory, seconds, is_whole, is_hopeless)
    if bad:
        raise click.exceptions.Exit(1)


def _say(progress: Progress, report: NodeReport) -> Callable[[int], None]:
    return lambda count: progress(f"{report.node.name}: {count} blocks")


def _repair(
    plan: Plan,
    block: ExecutedBlock,
    wanted: list[NodeReport],
    reports: list[NodeReport],
    directory: Path,
    progress: Progress,
) -> tuple[dict[str, str], dict[str, str]]:
    """Mend the nodes that are not sound; return by name what was done, and why it could not be."""
    import shutil

    from lowu.commands.doctor.checking import LEFT_OVER
    from lowu.node.errors import NodeError

    foreign = [
        item.node.name
        for item in wanted
        if item.inspection is not None and item.inspection.is_of_other_genesis
    ]
    if foreign:
        raise click.ClickException(
            f"the chain of {', '.join(foreign)} began with another genesis than config.genesis: "
            "that is no damage, and nothing was mended. Restore the config.genesis with which it "
            "began; or, if the node is in the wrong folder, move its data away"
        )
    mended: dict[str, str] = {}
    failed: dict[str, str] = {}
    for report in wanted:
        if not report.is_sound:
            name = report.node.name
            try:
                mended[name] = _mend(plan, block, report, reports, directory, progress)
            except NodeError as error:
                failed[name] = str(error)
        shutil.rmtree(report.folder / LEFT_OVER, ignore_errors=True)
    return mended, failed


def _mend(
    plan: Plan,
    block: ExecutedBlock,
    report: NodeReport,
    reports: list[NodeReport],
    directory: Path,
    progress: Progress,
) -> str:
    """Mend one node; return what was done. It runs afterwards if it ran before."""
    from lowu.commands.doctor.mending import choose_source, mend
    from lowu.node.errors import StorageError
    from lowu.node.topology.control import Control
    from lowu.node.topology.tree import restore_node

    name, done = report.node.name, []
    if report.unusable:
        restore_node(plan, report.node, directory, report.unusable)
        done.append(f"has its files anew: {', '.join(sorted(report.unusable))}")
    if not report.damage:
        return done[0]
    source = choose_source(reports, report.inspection.settled if report.inspection else 0)
    if source is None:
        raise StorageError("no node of this network has a sound database to take the chain from")
    progress(f"{name}: taking the chain of {source.node.name}")
    is_stopped = False

    def stop() -> None:
        nonlocal is_stopped
        if report.is_running:
            Control(directory).order("stop", [name])
            is_stopped = True

    try:
        kept, is_voting = mend(plan, block, report, source, stop)
    finally:
        if is_stopped:
            Control(directory).start([name])
    votes = "keeps its votes" if is_voting else "has none of its votes: a validator abstains then"
    old = f"; the old data is in {kept}" if kept else ""
    return ", and ".join([*done, f"has the chain of {source.node.name}", votes]) + old


def _print_json(
    wanted: list[NodeReport],
    mended: dict[str, str],
    failed: dict[str, str],
    bad: list[NodeReport],
    seconds: float,
) -> None:
    nodes = [
        {
            "name": item.node.name,
            "is_sound": item.is_sound or item.node.name in mended,
            "is_running": item.is_running,
            "damage": item.damage,
            "faults": item.faults,
            "warnings": item.warnings,
            "repaired": mended.get(item.node.name, ""),
            "not_repaired": failed.get(item.node.name, ""),
            "height": 0 if item.inspection is None else item.inspection.head.number,
            "blocks": 0 if item.inspection is None else item.inspection.blocks,
            "records": 0 if item.inspection is None else item.inspection.records,
        }
        for item in wanted
    ]
    figures = {
        "nodes": len(wanted),
        "damaged": len(bad),
        "repaired": len(mended),
        "warnings": sum(len(item.warnings) for item in wanted),
        "seconds": round(seconds, 1),
    }
    emit_json(not bad, figures, nodes=nodes)


def _print(wanted: list[NodeReport], mended: dict[str, str], failed: dict[str, str]) -> None:
    for item in wanted:
        name = f"{item.node.name} ({item.node.spec.institution})"
        seen = item.inspection
        unseen = "its height cannot be read" if item.damage else "has never run"
        looked = unseen if seen is None else f"height {seen.head.number}"
        if seen is not None:
            records = f", {seen.records:,} records" if seen.records else ""
            looked += f"; {seen.blocks:,} blocks{records} looked at"
        state = "sound" if item.is_sound else "DAMAGED" if item.damage else "CANNOT START"
        if item.node.name in mended:
            state = "mended"
        click.echo(f"{name}: {state}, {looked}")
        texts = [*item.faults, *item.damage]
        for text in texts[:SHOWN_MAX]:
            click.echo(f"  {text}")
        if len(texts) > SHOWN_MAX:
            click.echo(f"  and {len(texts) - SHOWN_MAX} more")
        for text in item.warnings:
            click.echo(f"  warning: {text}")
        if item.node.name in mended:
            click.echo(f"  it {mended[item.node.name]}")
        if item.node.name in failed:
            click.echo(f"  NOT MENDED: {failed[item.node.name]}")


def _print_next(
    wanted: list[NodeReport],
    mended: dict[str, str],
    bad: list[NodeReport],
    directory: Path,
    seconds: float,
    is_whole: bool,
    is_hopeless: bool,
) -> None:
    folder = name_folder(directory)
    if is_hopeless:
        click.echo(
            "no node has a sound database to mend the others from. Restore a node's folder from a "
            "copy, or the whole network with `lowu snapshot load`"
        )
    elif bad:
        names = " ".join(item.node.name for item in bad)
        click.echo(f"next: lowu doctor {names} --repair{folder}")
    elif is_whole or mended:
        click.echo(f"nothing is damaged ({seconds:.1f} s)")
    else:
        click.echo(
            f"no damage was found in files and the last blocks ({seconds:.1f} s); --full reads "
            "every record"
        )
    for item in wanted:
        if item.node.name in mended and not item.is_running:
            click.echo(f"next: lowu start {item.node.name}{folder}")
