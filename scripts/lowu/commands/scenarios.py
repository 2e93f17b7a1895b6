"""``lowu scenarios``: scenarios of the pilot and beyond, played on a real network.

Every scenario also asserts that no byte of its documents is in any node's data, logs or traffic,
and that all nodes reach the same state.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json
from lowu.options import Number, json_option, read_tapped_network
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.experiments.actors.actors import Actors
    from lowu.experiments.scenarios import Scenario, Step

NETWORK = "seed-7"
LEVEL_S = 30.0
GOT_SHOWN = 70


@dataclass(slots=True)
class Played:
    """The outcome of one scenario."""

    name: str
    title: str
    steps: list[Step] = field(default_factory=list)
    canary_hits: int = 0
    is_level: bool = False
    """Whether all nodes reached the same block and state."""
    error: str = ""
    seconds: float = 0.0

    @property
    def is_as_expected(self) -> bool:
        """Whether everything went as expected."""
        is_right = bool(self.steps) and all(step.is_as_expected for step in self.steps)
        return is_right and self.is_level and not self.canary_hits and not self.error


def _choose(names: tuple[str, ...], *, is_all: bool) -> list[Scenario]:
    from lowu.experiments.scenarios import ALL

    known = ", ".join(ALL)
    if is_all or not names:
        if not is_all:
            raise click.UsageError(f"name scenarios, or give --all. There are: {known}")
        return list(ALL.values())
    unknown = [name for name in names if name.upper() not in ALL]
    if unknown:
        raise click.UsageError(f"no scenario {', '.join(unknown)}. There are: {known}")
    return [ALL[name.upper()] for name in names]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Play all scenarios.")
@click.option(
    "--cut",
    "cut_s",
    type=Number(6, 3_600),
    default=60.0,
    show_default=True,
    help="Seconds for which X2 cuts the boundary.",
)
@click.option("--list", "is_list", is_flag=True, help="List all scenarios and exit.")
@json_option
def scenarios(
    names: tuple[str, ...], is_all: bool, cut_s: float, is_list: bool, is_json: bool
) -> None:
    """Play the scenarios NAMES, such as E1 X4, on a temporary network (seed-7)."""
    if is_list:
        _print_list(is_json=is_json)
        return
    play(_choose(names, is_all=is_all), cut_s, is_json=is_json)


def play_named(name: str, *, is_json: bool) -> None:
    """Play one scenario, print the outcome, and exit."""
    play(_choose((name,), is_all=False), 0.0, is_json=is_json)


def play(chosen: list[Scenario], cut_s: float, *, is_json: bool) -> None:
    """Play scenarios on a temporary network, print the outcomes, and exit."""
    from lowu.temporary import temporary_network_folder

    started = time.monotonic()
    with temporary_network_folder("scenarios") as folder:
        played = trio.run(_play, folder, chosen, cut_s, Progress(is_silent=is_json))
    is_ok = all(item.is_as_expected for item in played)
    if is_json:
        _emit(played, is_ok=is_ok, seconds=time.monotonic() - started)
    else:
        _print(played, seconds=time.monotonic() - started)
    sys.exit(0 if is_ok else 1)


def _print_list(*, is_json: bool) -> None:
    from lowu.experiments.scenarios import ALL

    if is_json:
        emit_json(True, {}, scenarios={item.name: item.title for item in ALL.values()})
        return
    print_table("Scenarios", ("name", "what it shows"), [(i.name, i.title) for i in ALL.values()])


async def _play(
    folder: Path, chosen: list[Scenario], cut_s: float, progress: Progress
) -> list[Played]:
    from lowu.experiments.actors.actors import open_actors
    from lowu.node.topology.network import bring_up

    progress(f"starting {NETWORK}")
    up = await bring_up(folder, *read_tapped_network(NETWORK), progress)
    played = []
    async with open_actors(up.plan, lambda: int(time.time())) as actors:
        for scenario in chosen:
            item = await _play_one(actors, folder, scenario, cut_s)
            played.append(item)
            sign = "as expected" if item.is_as_expected else "NOT AS EXPECTED"
            progress(f"{item.name} {item.title}: {sign}, {item.seconds:.1f} s")
    return played


async def _play_one(actors: Actors, folder: Path, scenario: Scenario, cut_s: float) -> Played:
    from lowu.experiments.scenarios import Stage
    from lowu.node.errors import raise_if_fatal, root_causes

    item = Played(scenario.name, scenario.title)
    stage = Stage(actors, folder, item.steps, cut_s)
    documents, anchors = len(actors.documents), len(actors.anchors)
    started = time.monotonic()
    try:
        await scenario.play(stage)
        await _check_nodes(actors, folder, item, documents, anchors)
    except Exception as error:  # noqa: BLE001  (a failed scenario does not stop the others)
        raise_if_fatal(error)
        item.error = "; ".join(f"{type(one).__name__}: {one}" for one in root_causes(error))
    item.seconds = time.monotonic() - started
    return item


async def _check_nodes(
    actors: Actors, folder: Path, item: Played, documents: int, anchors: int
) -> None:
    """Search all nodes for the scenario's documents, and compare the nodes' states."""
    from lowu.experiments.canary import search_nodes
    from lowu.experiments.faults.killed_nodes import wait_for_level
    from lowu.node.topology.tree import node_folder

    statuses = await wait_for_level(actors.plan, LEVEL_S)
    item.is_level = statuses is not None and len({s["state_root"] for s in statuses}) == 1
    canaries = sorted({text for doc in actors.documents[documents:] for text in doc.canaries()})
    folders = [node_folder(folder, node) for node in actors.plan.nodes]
    found = await trio.to_thread.run_sync(search_nodes, folders, canaries, actors.anchors[anchors:])
    item.canary_hits = len(found.hits)
    if not found.is_control_found:
        item.error = "the search did not find the anchors, which must be there"
    elif found.hits:
        item.error = f"a document leaked: {found.hits[0]}"


def _emit(played: list[Played], *, is_ok: bool, seconds: float) -> None:
    figures = {
        "scenarios": len(played),
        "as_expected": sum(item.is_as_expected for item in played),
        "steps": sum(len(item.steps) for item in played),
        "canary_hits": sum(item.canary_hits for item in played),
        "seconds": round(seconds, 3),
    }
    details = [{**_describe(item), "is_as_expected": item.is_as_expected} for item in played]
    emit_json(is_ok, figures, played=details)


def _describe(item: Played) -> dict[str, Any]:
    return {**asdict(item), "seconds": round(item.seconds, 3)}


def _print(played: list[Played], *, seconds: float) -> None:
    rows = [
        (
            "✓" if step.is_as_expected else "✗",
            item.name if not number else "",
            step.what,
            step.expected if len(step.expected) < GOT_SHOWN else f"{step.expected[:GOT_SHOWN]}…",
            step.got if len(step.got) < GOT_SHOWN else f"{step.got[:GOT_SHOWN]}…",
        )
        for item in played
        for number, step in enumerate(item.steps)
    ]
    print_table("Steps", ("", "scenario", "step", "expected", "got"), rows)
    for item in played:
        if item.error:
            click.echo(f"{item.name}: {item.error}")
        if not item.is_level:
            click.echo(f"{item.name}: the nodes did not reach the same state")
    right = sum(item.is_as_expected for item in played)
    hits = sum(item.canary_hits for item in played)
    click.echo(
        f"{right} of {len(played)} scenarios as expected, {hits} canaries of documents found on "
        f"nodes, {seconds:.1f} s"
    )
