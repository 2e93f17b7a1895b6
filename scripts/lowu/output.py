"""Output for people: progress on stderr, tables on stdout, plain where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowu.cli import LINE_END, emit_json
from lowu.contracts.named import printable

COLUMNS_MIN = 2
"""How many columns of a table are shown however narrow the terminal."""


class Progress:
    """Prints what the command is doing, one line per step; silent in JSON mode."""

    def __init__(self, *, is_silent: bool) -> None:
        self._is_silent = is_silent

    def __call__(self, text: str) -> None:
        """Show a step."""
        if not self._is_silent:
            click.echo(f"  {printable(text, LINE_END)}", err=True)


def say(text: str, *, is_json: bool, **details: Any) -> None:
    """Print a command's result, for a person or as its one JSON object."""
    if is_json:
        emit_json(True, {}, **details)
    else:
        click.echo(printable(text, LINE_END))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to stdout: drawn on a terminal, plain text in columns anywhere else.

    Where a terminal is too narrow, columns are left out from the right, and named: an identifier
    that is folded cannot be copied.
    """
    title, texts = _one_line(title), [[_one_line(item) for item in row] for row in rows]
    if not sys.stdout.isatty():
        _print_plain(title, columns, texts)
        return
    console = Console()
    shown = _count_fitting(columns, texts, console.width)
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns[:shown]:
        table.add_column(column, overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row[:shown]))
    console.print(table)
    if shown < len(columns):
        left = ", ".join(columns[shown:])
        console.print(f"left out for want of width: {left}; `| cat` or --json shows all")


def _one_line(item: object) -> str:
    return printable("; ".join(str(item).splitlines()))


def _count_fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return how many columns fit into a width, each with its frame; at least two."""
    taken = 1
    for count, column in enumerate(columns):
        taken += 3 + max(cell_len(text) for text in [column, *(row[count] for row in rows)])
        if taken > width and count >= COLUMNS_MIN:
            return count
    return len(columns)


def _print_plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [list(columns), *map(list, rows)]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(columns))]
    click.echo(title)
    for line in lines:
        padded = (
            text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)
        )
        click.echo("  ".join(padded).rstrip())
