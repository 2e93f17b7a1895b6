"""``lowu logs``: the logs of a network's nodes, merged by time."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from pathlib import Path

import click

from lowu.options import directory_option

FOLLOW_S = 0.2
LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command()
@click.argument("node", required=False)
@directory_option
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Lines to show; 0 for all.",
)
@click.option("-g", "--grep", default="", help="Only lines that contain this text.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="Lowest level to show.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing lines as they are written.")
def logs(
    node: str | None, directory: Path, lines: int, grep: str, level: str, follow: bool
) -> None:
    """Show the logs of NODE, or of all nodes merged in time order."""
    from lowu.node.topology.tree import load_tree, node_folder

    plan = load_tree(directory)
    if node is not None and plan.find_node(node) is None:
        raise click.UsageError(f"no node {node!r}; there are {plan.node_names}")
    chosen = [plan.find_node(node)] if node is not None else list(plan.nodes)
    paths = {
        item.name: node_folder(directory, item) / "log" / "node.log"
        for item in chosen
        if item is not None
    }
    wanted = frozenset(LEVELS[LEVELS.index(level) :])
    found = [line for line in merge_logs(paths) if _is_wanted(line, grep, wanted)]
    for line in found[-lines:] if lines else found:
        click.echo(line)
    if follow:
        _follow(paths, grep, wanted)


def _entries(name: str, path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (time, node, line); continuation lines keep the time of the line before them."""
    if not path.exists():
        return
    moment = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            parts = line.split("|", 2)
            if len(parts) == 3:
                moment = parts[1]
            yield moment, name, line.rstrip("\n")


def merge_logs(paths: dict[str, Path]) -> Iterator[str]:
    """Yield the lines of several nodes' logs in time order, each with its node's name."""
    merged = heapq.merge(*(_entries(name, path) for name, path in paths.items()))
    for _, name, line in merged:
        yield f"{name:<7} {line}"


def _is_wanted(line: str, grep: str, levels: frozenset[str]) -> bool:
    return grep in line and line[8:].split("|", 1)[0] in levels


def _follow(paths: dict[str, Path], grep: str, levels: frozenset[str]) -> None:
    places = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            if not path.exists():
                continue
            size = path.stat().st_size
            start = places[name] if places[name] <= size else 0  # rotated
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(start)
                for text in file:
                    line = f"{name:<7} {text.rstrip()}"
                    if _is_wanted(line, grep, levels):
                        click.echo(line)
                places[name] = file.tell()
        time.sleep(FOLLOW_S)
