"""``lowu crash-matrix``: plays cells, and prints what came of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.commands.crash.command import NETWORK, open_folder
from lowu.commands.crash.virtual_consortium import play_in_virtual_time
from lowu.experiments.crashes.campaign import play_on_processes
from lowu.experiments.crashes.cells import Cell, Occasion, choose_some, list_cells
from lowu.experiments.crashes.matrix import PlayedCell
from lowu.node.topology.faults.fail_order import FailMode, Failpoint
from lowu.options import read_network
from lowu.output import Progress, print_table


def _choose(only: str) -> list[Cell]:
    chosen = [cell for cell in list_cells() if only in cell.name]
    if not chosen:
        raise click.UsageError(f"no cell has {only!r} in its name; --list lists them")
    return chosen


def list_matrix(count: int | None, only: str, provider: str, seed: int, *, is_json: bool) -> None:
    """Print the names of the cells that would be played."""
    list_names([cell.name for cell in _draw(count, only, provider, seed)], is_json=is_json)


def _draw(count: int | None, only: str, provider: str, seed: int) -> list[Cell]:
    cells = _choose(only)
    if provider == "sim":
        cells = [cell for cell in cells if cell.occasion is not Occasion.DAMAGED]
    return choose_some(cells, count or len(cells), seed)


def list_names(names: Sequence[str], *, is_json: bool) -> None:
    """Print the names of what could be played."""
    if is_json:
        emit_json(True, {"cells": len(names)}, cells=names)
        return
    for name in names:
        click.echo(name)


def run_matrix(
    count: int | None, only: str, provider: str, seed: int, keep: Path | None, *, is_json: bool
) -> None:
    """Play cells, print the table, and exit with 1 if anything is not as it must be."""
    cells = _draw(count, only, provider, seed)
    progress = Progress(is_silent=is_json)
    played: list[PlayedCell] = []
    started = time.monotonic()

    def note(item: PlayedCell) -> None:
        played.append(item)
        found = "; ".join(item.problems) or "as it must be"
        progress(
            f"{len(played)} of {len(cells)}, {item.victim}, {item.name}: {found} "
            f"({item.seconds:.1f} s)"
        )

    text, _ = read_network(NETWORK)
    is_interrupted = False
    try:
        if provider == "sim":
            logging.disable(logging.CRITICAL)
            play_in_virtual_time(text, cells, note, seed)
        else:
            with open_folder(keep, "crashes") as folder:
                play_on_processes(text, folder, cells, note)
    except* KeyboardInterrupt:
        if not played:
            raise
        is_interrupted = True
    figures = {
        "cells": len(played),
        "reached": sum(item.is_reached for item in played),
        "violations": sum(bool(item.problems) for item in played),
        "acknowledged": sum(item.acknowledged for item in played),
        "longest_stall_seconds": round(max(item.longest_gap_s for item in played), 3),
        "seconds": round(time.monotonic() - started, 1),
    }
    is_ok = figures["violations"] == 0 and figures["reached"] == len(cells)
    if is_json:
        wrong = [asdict(item) for item in played if item.problems]
        emit_json(
            is_ok, figures, provider=provider, violations=wrong, is_interrupted=is_interrupted
        )
    else:
        _print(cells, played, figures)
    if is_interrupted:
        raise click.exceptions.Exit(130)
    if not is_ok:
        raise click.exceptions.Exit(1)


def _print(cells: Sequence[Cell], played: Sequence[PlayedCell], figures: dict[str, float]) -> None:
    wrong = {item.name for item in played if item.problems}
    right = {item.name for item in played} - wrong
    counts: Counter[tuple[str, str, bool]] = Counter()
    for cell in cells:
        key = f"{cell.occasion}, {cell.order.point}"
        if cell.name in wrong | right:
            counts[key, cell.order.mode, cell.name in right] += 1
    rows = []
    for occasion in Occasion:
        for point in Failpoint:
            key = f"{occasion}, {point}"
            texts = [_tell(counts[key, mode, True], counts[key, mode, False]) for mode in FailMode]
            if any(texts):
                rows.append((key, *texts))
    print_table("Cells as they must be, of those played", ("step", *FailMode), rows)
    for item in played:
        for problem in item.problems:
            click.echo(f"{item.name}, {item.victim}: {problem}")
    click.echo(
        f"{figures['cells']} cells, {figures['reached']} reached, {figures['violations']} with "
        f"violations; {figures['acknowledged']} registrations acknowledged, at most "
        f"{figures['longest_stall_seconds']:.1f} s without one; {figures['seconds']:.0f} s"
    )


def _tell(right: int, wrong: int) -> str:
    return f"{right}/{right + wrong}" if right + wrong else ""
