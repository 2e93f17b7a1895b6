"""Output for people: progress on stderr, tables on stdout, plain where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lowu.cli import emit_json


class Progress:
    """Prints what the command is doing, one line per step; silent in JSON mode."""

    def __init__(self, *, is_silent: bool) -> None:
        self._is_silent = is_silent

    def __call__(self, text: str) -> None:
        """Show a step."""
        if not self._is_silent:
            click.echo(f"  {text}", err=True)


def say(text: str, *, is_json: bool, **details: Any) -> None:
    """Print a command's result, for a person or as its one JSON object."""
    if is_json:
        emit_json(True, {}, **details)
    else:
        click.echo("".join(char if char.isprintable() or char == "\n" else "?" for char in text))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table to stdout; if that is no terminal, at most 160 columns wide."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(item) for item in row))
    console.print(table)
