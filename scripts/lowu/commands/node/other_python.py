"""Nodes of another interpreter, whose Lowu may be of another version."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lowu.node.topology.plan import PlannedNode


def _check_python(ctx: click.Context, param: click.Parameter, value: Path | None) -> str:
    """Return an interpreter's path, once it has shown that it has a Lowu."""
    if value is None:
        return ""
    own = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    path = value.absolute()  # not resolved: in a virtual environment it is a link
    try:
        done = subprocess.run(
            [path, "-P", "-c", "import lowu.node.process"],
            capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60,
            cwd="/", env=own,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise click.BadParameter(f"{path} cannot be run ({error})") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise click.BadParameter(f"{path} cannot run a node: {last}. Install Lowu for it")
    return str(path)


_READS = """
import sys
from pathlib import Path
from lowu.node.config import load_genesis

print(load_genesis(Path(sys.argv[1])).digest.hex())
"""


def check_reading(python: str, directory: Path, node: PlannedNode) -> None:
    """Refuse an interpreter whose Lowu would make another block 0 of a node's configuration."""
    from lowu.node.config import load_genesis
    from lowu.node.topology.tree import node_folder

    path = node_folder(directory, node) / "config.genesis"
    done = subprocess.run(
        [python, "-P", "-c", _READS, path.absolute()],
        capture_output=True, encoding="utf-8", errors="replace", check=False, cwd="/",
    )  # fmt: skip
    if done.returncode != 0 or done.stdout.strip() != load_genesis(path).digest.hex():
        raise click.UsageError(
            f"the Lowu of {python} does not know the format of this chain's genesis; it is an "
            "earlier one, and nodes of it cannot take part. Nothing was stopped"
        )


python_option = click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=_check_python,
    help="Run it by this interpreter, with the Lowu installed for it: another version.",
)
