"""``lowu demo``: the pilot end to end, with a leader killed in the middle."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from lowu.cli import emit_json
from lowu.options import DEFAULT_NETWORK, json_option, read_tapped_network
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from lowu.experiments.scenarios import Stage

ACTORS = ("szcredit", "nova", "baihang", "fusion", "bea-cn", "bea-hk")
"""Institutions whose nodes stay up, as they act while the leader is down."""
CODES_SHOWN = 2
LOAD_BEFORE, LOAD_AFTER = 3, 5
"""Registrations acknowledged before the leader is killed, and after its restart."""


@dataclass(slots=True)
class DemoResult:
    """The demo's results."""

    network: str = ""
    seconds: float = 0.0
    first_block_seconds: float = 0.0
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    state_roots: list[str] = field(default_factory=list)
    leader_killed: bool = False
    killed_node: str = ""
    longest_gap_seconds: float = 0.0
    acknowledged: int = 0
    acknowledged_missing: int = -1
    recovered: bool = False
    recovery_seconds: float = 0.0
    canary_hits: int = -1
    canary_control_found: bool = False
    searched_files: int = 0
    searched_bytes: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether everything was as expected."""
        is_level = len(set(self.state_roots)) == 1 and len(set(self.heights)) == 1
        is_clean = self.canary_hits == 0 and self.canary_control_found
        is_safe = self.acknowledged > 0 and self.acknowledged_missing == 0
        return (
            bool(self.verdicts)
            and all(item["is_as_expected"] for item in self.verdicts)
            and (is_level and is_clean and is_safe and self.leader_killed and self.recovered)
        )


@click.command()
@click.option("--keep", is_flag=True, help="Leave the network up, in --dir.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder of the network.  [default: a temporary one, ./nodes with --keep]",
)
@json_option
def demo(keep: bool, directory: Path | None, is_json: bool) -> None:
    """Start seed-7, verify credit reports across the boundary, survive a killed leader."""
    from lowu.node.topology.control import Control
    from lowu.node.topology.tree import is_tree
    from lowu.temporary import temporary_network_folder

    folder = Path("nodes") if directory is None and keep else directory
    if folder is not None and is_tree(folder):
        raise click.UsageError(
            f"{folder} holds a network already: stop it with `lowu down --dir {folder}` and "
            "remove it, or choose another folder with --dir"
        )
    progress = Progress(is_silent=is_json)
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(temporary_network_folder("demo"))
        else:
            stack.callback(Control(folder).down)
        result = trio.run(_play, folder, progress)
        if keep:
            stack.pop_all()
    if is_json:
        _print_json(result)
    else:
        _print_result(result, folder if keep else None)
    sys.exit(0 if result.is_ok else 1)


async def _play(folder: Path, progress: Progress) -> DemoResult:
    from lowu.experiments.actors.actors import open_actors
    from lowu.experiments.faults.killed_nodes import find_leader, wait_for_level
    from lowu.experiments.scenarios import Stage, lifecycle, presenting
    from lowu.node.topology.network import bring_up

    started = time.monotonic()
    result = DemoResult()
    progress("starting seven validators and two observers")
    up = await bring_up(folder, *read_tapped_network(DEFAULT_NETWORK), progress)
    plan = up.plan
    result.network = plan.spec.settings.name
    result.first_block_seconds = up.first_block_s
    progress(
        f"first block after {up.first_block_s:.2f} s; leader is {(await find_leader(plan)).name}"
    )
    async with open_actors(plan, lambda: int(time.time())) as actors:
        stage = Stage(actors, folder)
        await _show(presenting.show_report, stage, result, progress)
        await _show(presenting.show_some_fields, stage, result, progress)
        await _with_killed_leader(plan, folder, stage, result, progress)
        await _show(lifecycle.show_revoked, stage, result, progress)
        await _show(presenting.show_unregistered, stage, result, progress)
        await _show(presenting.hide_months, stage, result, progress)
        statuses = await wait_for_level(plan)
        if statuses is None:
            progress("the nodes did not reach the same height")
        else:
            _note_nodes(plan, statuses, result)
        await _search(plan, folder, actors, result, progress)
    result.seconds = time.monotonic() - started
    return result


async def _show(act: Any, stage: Stage, result: DemoResult, progress: Progress) -> None:
    """Play one act of the scenarios, which ends in a verdict."""
    await act(stage)
    step = stage.steps[-1]
    verdict = step.got.partition(" ")[0]
    result.verdicts.append(
        {
            "scenario": step.what,
            "expected": step.expected,
            "got": verdict,
            "codes": list(step.codes),
            "is_as_expected": step.is_as_expected,
        }
    )
    progress(f"{step.what}: {verdict} {_brief(step.codes)}".rstrip())


def _brief(codes: Any) -> str:
    """Return codes for a person: the first few, and the number of the others."""
    shown = " ".join(codes[:CODES_SHOWN])
    return shown if len(codes) <= CODES_SHOWN else f"{shown} (+{len(codes) - CODES_SHOWN} more)"


async def _with_killed_leader(
    plan: Any, folder: Path, stage: Stage, result: DemoResult, progress: Progress
) -> None:
    """Kill the leader under load, continue, restart it, wait until it has caught up."""
    from lowu.experiments.faults.killed_nodes import (
        SteadyLoad,
        count_missing,
        kill_node,
        start_node,
        wait_for_level,
        wait_until_leading,
    )
    from lowu.experiments.scenarios import lifecycle, presenting
    from lowu.node.client import RpcClient

    idle = frozenset(node.name for node in plan.nodes if node.spec.is_validator) - {
        item.node.name for item in plan.institutions if item.spec.id in ACTORS
    }
    issuer = next(item for item in plan.institutions if item.spec.id == "szcredit")
    load = SteadyLoad(issuer)
    async with RpcClient(issuer.node.url) as client, trio.open_nursery() as nursery:
        nursery.start_soon(load.run, client)
        await load.wait_for(LOAD_BEFORE)
        leader = await wait_until_leading(plan, idle)
        progress(f"killing the leader, {leader.name} ({leader.spec.institution}), with SIGKILL")
        await kill_node(folder, leader)
        result.leader_killed, result.killed_node = True, leader.name
        await _show(lifecycle.show_file_south, stage, result, progress)
        await _show(lifecycle.show_file_north, stage, result, progress)
        await _show(presenting.show_changed_amount, stage, result, progress)
        restarted = time.monotonic()
        await start_node(folder, leader)
        progress(f"{leader.name} restarted; waiting until it has caught up")
        await load.wait_for(LOAD_AFTER)
        nursery.cancel_scope.cancel()
    statuses = await wait_for_level(plan)
    result.recovered = statuses is not None
    result.recovery_seconds = time.monotonic() - restarted
    result.longest_gap_seconds = load.longest_gap_s
    result.acknowledged = len(load.acknowledged)
    if result.recovered:
        result.acknowledged_missing = await count_missing(plan, issuer, load.acknowledged)
    progress(
        f"{'caught up' if result.recovered else 'did not catch up'}; longest wait for a commit "
        f"was {load.longest_gap_s:.2f} s, {len(load.acknowledged)} acknowledged registrations, "
        f"{result.acknowledged_missing} missing on any node"
    )


def _note_nodes(plan: Any, statuses: list[dict[str, Any]], result: DemoResult) -> None:
    for node, status in zip(plan.nodes, statuses, strict=True):
        result.heights.append(status["height"])
        result.state_roots.append(status["state_root"])
        result.nodes.append(
            {
                "name": node.name,
                "institution": node.spec.institution,
                "side": node.side.name,
                "kind": "validator" if node.spec.is_validator else "observer",
                **status,
            }
        )


async def _search(
    plan: Any, folder: Path, actors: Any, result: DemoResult, progress: Progress
) -> None:
    from lowu.experiments.canary import search_nodes
    from lowu.node.topology.tree import node_folder

    canaries = sorted({text for item in actors.documents for text in item.canaries()})
    folders = [node_folder(folder, node) for node in plan.nodes]
    progress(f"searching data, logs and tapped traffic of all nodes for {len(canaries)} canaries")
    found = await trio.to_thread.run_sync(search_nodes, folders, canaries, actors.anchors)
    result.canary_hits = len(found.hits)
    result.canary_control_found = found.is_control_found
    result.searched_files, result.searched_bytes = found.files, found.size_bytes
    for hit in found.hits[:10]:
        progress(f"LEAK {hit}")


def _print_json(result: DemoResult) -> None:
    details = asdict(result)
    for name in ("seconds", "first_block_seconds", "nodes"):
        del details[name]
    figures = {
        "seconds": round(result.seconds, 3),
        "first_block_seconds": round(result.first_block_seconds, 3),
        "longest_gap_seconds": round(result.longest_gap_seconds, 3),
        "recovery_seconds": round(result.recovery_seconds, 3),
    }
    emit_json(result.is_ok, figures, nodes=len(result.nodes), **details)


def _print_result(result: DemoResult, kept: Path | None) -> None:
    rows = [
        (
            "✓" if item["is_as_expected"] else "✗",
            item["scenario"],
            item["expected"],
            item["got"],
            _brief(item["codes"]) or "-",
        )
        for item in result.verdicts
    ]
    print_table("Verdicts", ("", "scenario", "expected", "got", "codes"), rows)
    nodes = [
        (
            n["name"],
            n["institution"],
            n["side"],
            n["kind"],
            n["height"],
            n["hash"][:14],
            n["state_root"][:14],
        )
        for n in result.nodes
    ]
    columns = ("node", "institution", "side", "kind", "height", "block", "state root")
    print_table("Nodes", columns, nodes)
    click.echo(
        f"leader killed: {result.killed_node or 'no'}; longest wait for a commit "
        f"{result.longest_gap_seconds:.2f} s; caught up in {result.recovery_seconds:.2f} s"
    )
    click.echo(
        f"registrations acknowledged under the fault: {result.acknowledged}, "
        f"missing on any node: {result.acknowledged_missing}"
    )
    control = "found, as they must be" if result.canary_control_found else "NOT FOUND"
    click.echo(
        f"canaries found on any node: {result.canary_hits} ({result.searched_files} files, "
        f"{result.searched_bytes / 1e6:.1f} MB searched; anchors {control})"
    )
    click.echo(
        f"{'everything' if result.is_ok else 'NOT'} as expected, in {result.seconds:.1f} s "
        f"(first block after {result.first_block_seconds:.2f} s)"
    )
    if kept is not None:
        click.echo(f"the network is still up: `lowu status --dir {kept}`, `lowu down --dir {kept}`")
    else:
        click.echo("next: `lowu up`, `lowu status`, `lowu logs -f`, `lowu simulate`")
