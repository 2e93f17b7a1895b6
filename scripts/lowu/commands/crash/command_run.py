"""``lowu crash-matrix --provider commands``: plays cells, and prints what came of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.commands.crash.command import open_folder
from lowu.commands.crash.command_cells import (
    CommandCell,
    CommandTest,
    PlayedCommand,
    list_command_cells,
)
from lowu.commands.crash.file_steps import FileKind, FileMode
from lowu.commands.crash.matrix_run import list_names
from lowu.experiments.crashes.cells import choose_some
from lowu.output import Progress, print_table


def run_commands(
    count: int | None, only: str, seed: int, keep: Path | None, *, is_list: bool, is_json: bool
) -> None:
    """Play cells, print the table, and exit with 1 if anything is not as it must be."""
    cells = [cell for cell in list_command_cells() if only in cell.name]
    if not cells:
        raise click.UsageError(f"no cell has {only!r} in its name; --list lists them")
    cells = choose_some(cells, count or len(cells), seed)
    if is_list:
        list_names([cell.name for cell in cells], is_json=is_json)
        return
    progress, played, started = Progress(is_silent=is_json), [], time.monotonic()
    with open_folder(keep, "commands") as folder:
        folder.mkdir(parents=True, exist_ok=True)
        with CommandTest(folder) as test:
            for cell in cells:
                item = test.play(cell)
                played.append(item)
                found = "; ".join(item.problems)
                found = found or ("as it must be" if item.is_reached else "not that many steps")
                progress(
                    f"{len(played)} of {len(cells)}, {item.name}: {found} ({item.seconds:.1f} s)"
                )
    figures = {
        "cells": len(played),
        "reached": sum(item.is_reached for item in played),
        "violations": sum(bool(item.problems) for item in played),
        "seconds": round(time.monotonic() - started, 1),
    }
    if is_json:
        wrong = [asdict(item) for item in played if item.problems]
        emit_json(not figures["violations"], figures, provider="commands", violations=wrong)
    else:
        _print(cells, played, figures)
    if figures["violations"]:
        raise click.exceptions.Exit(1)


def _print(
    cells: Sequence[CommandCell], played: Sequence[PlayedCommand], figures: dict[str, float]
) -> None:
    right: Counter[tuple[str, FileKind, FileMode]] = Counter()
    reached: Counter[tuple[str, FileKind, FileMode]] = Counter()
    for cell, item in zip(cells, played, strict=True):
        key = (cell.command, cell.order.kind, cell.order.mode)
        reached[key] += item.is_reached
        right[key] += item.is_reached and not item.problems
    rows = []
    for command, kind in dict.fromkeys((cell.command, cell.order.kind) for cell in cells):
        keys = [(command, kind, mode) for mode in FileMode]
        texts = [f"{right[key]}/{reached[key]}" if reached[key] else "" for key in keys]
        rows.append((f"{command}, {kind}", *texts))
    print_table("Cells as they must be, of those reached", ("files", *FileMode), rows)
    for item in played:
        for problem in item.problems:
            click.echo(f"{item.name}: {problem}")
    click.echo(
        f"{figures['cells']} cells, {figures['reached']} reached, {figures['violations']} with "
        f"violations; {figures['seconds']:.0f} s"
    )
