"""The commands and their options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lowu.options import json_option

NETWORK = "dev-4"

folder_option = click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="New folder for the networks, which stay there.  [default: a temporary one]",
)


@contextmanager
def open_folder(keep: Path | None, purpose: str) -> Iterator[Path]:
    """Make the folder of the networks: one that stays, or one that goes at the end."""
    if keep is None:
        from lowu.temporary import temporary_network_folder

        with temporary_network_folder(purpose) as folder:
            yield folder
        return
    if keep.exists():
        raise click.UsageError(f"{keep} exists; --keep makes a new folder")
    keep.mkdir(parents=True)
    yield keep


@click.command()
@click.option(
    "--cells",
    type=click.IntRange(1),
    help="Play so many, drawn by the seed.  [default: all]",
)
@click.option("--only", default="", help="Only cells with this text in their names: sync, vote:…")
@click.option(
    "--provider",
    type=click.Choice(["local", "sim", "commands"]),
    default="local",
    show_default=True,
    help="Nodes as processes, nodes in virtual time with memory for disks; or Lowu's own commands "
    "at their files: configuration, keys, stores.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the draw, and of virtual time.",
)
@click.option("--list", "is_list", is_flag=True, help="List the cells and exit.")
@folder_option
@json_option
def crash_matrix(
    cells: int | None,
    only: str,
    provider: str,
    seed: int,
    is_list: bool,
    keep: Path | None,
    is_json: bool,
) -> None:
    """Let a node fail at each durable step, in each way, and check what holds.

    Each cell is a step (a vote, its trace, a block, …), a way to fail at it (the node dies before
    or after it, half of it is written, the disk reports an error), and what the node is doing then.
    The others must go on; the node must come back without repair, with all that was acknowledged.
    """
    from lowu.commands.crash.matrix_run import list_matrix, run_matrix

    if provider == "commands":
        from lowu.commands.crash.command_run import run_commands

        run_commands(cells, only, seed, keep, is_list=is_list, is_json=is_json)
    elif is_list:
        list_matrix(cells, only, provider, seed, is_json=is_json)
    else:
        run_matrix(cells, only, provider, seed, keep, is_json=is_json)


@click.command()
@click.option(
    "--kills",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="How many processes to kill in all.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--network", default=NETWORK, show_default=True, help="A network, or its file.")
@folder_option
@json_option
def crash_test(kills: int, seed: int, network: str, keep: Path | None, is_json: bool) -> None:
    """Kill and pause nodes at random under load, and check what holds.

    One at a time, the leader, more than may fail, and all at once. No acknowledged registration may
    be lost, nobody may vote twice, and all must come back by being started.
    """
    from lowu.commands.crash.kill_run import run_kill_test

    run_kill_test(kills, seed, network, keep, is_json=is_json)
