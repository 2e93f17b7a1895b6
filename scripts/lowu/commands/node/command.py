"""``lowu node add | remove | promote | demote | weight | list``, on a running network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.office import Office, run_steps
from lowu.options import directory_option, json_option, name_folder
from lowu.output import print_table, say

if TYPE_CHECKING:
    from lowu.commands.node.deciding import Decision
    from lowu.institutions.ledger.governance import Call
    from lowu.node.topology.plan import PlannedNode

WEIGHT = click.IntRange(1, 10_000)
weight_option = click.option(
    "--weight", type=WEIGHT, default=1, show_default=True, help="Weight of its vote."
)
force_option = click.option(
    "--force", "is_forced", is_flag=True,
    help="Also if no block could be committed afterwards.",
)  # fmt: skip


@click.group()
def node() -> None:
    """Add, remove and list the nodes of a running network, and give them votes.

    The consortium decides: institutions with the role GOVERNOR vote until the change has passed. It
    holds from the next block on.
    """


def _call(name: str, *arguments: object) -> Call:
    from lowu.contracts.group import consensus_function
    from lowu.contracts.registry import CONSENSUS_ADDRESS

    return CONSENSUS_ADDRESS, consensus_function(name).encode_call(*arguments)


def _find(office: Office, name: str) -> PlannedNode:
    found = office.plan.find_node(name)
    if found is None:
        raise click.UsageError(f"no node {name!r}; there are {office.plan.node_names}")
    return found


def _change(
    office: Office,
    found: PlannedNode,
    calls: Sequence[Call],
    weight: int,
    *,
    is_forced: bool,
    is_removed: bool = False,
) -> Decision:
    """Have a change decided after which the node has this weight, and wait for its effect."""
    from lowu.commands.node.deciding import (
        check_change,
        decide,
        list_needed,
        read_group,
        wait_for_effect,
    )
    from lowu.contracts.group import NodeKind

    names = {item.key.node_id.hex(): item.name for item in office.plan.nodes}

    async def run() -> Any:
        node_id = found.key.node_id.hex()
        known = (await read_group(office)).get(node_id)
        if known is None:
            raise click.ClickException(
                f"{found.name} is not of the group; `lowu node add {found.name}` comes first"
            )
        if known.weight == weight and not is_removed:
            state = f"votes with weight {weight}" if weight else "observes"
            raise click.ClickException(f"{found.name} {state} already; nothing was proposed")
        if not is_forced:
            await check_change(office, node_id, weight)
        decision = await decide(office, calls)
        group = await read_group(office)
        sealers = {key: item.weight for key, item in group.items() if item.kind is NodeKind.SEALER}
        if node_id in group:
            await wait_for_effect(office, found.name, sealers, decision.height)
        return decision, sealers

    decision: Decision
    decision, sealers = run_steps(run)
    for heavy in list_needed(sealers):
        click.echo(
            f"note: without {names.get(heavy, heavy)}, of weight {sealers[heavy]}, no block can be "
            "committed",
            err=True,
        )
    return decision


def _tell(found: PlannedNode, what: str, decision: Decision, *, is_json: bool) -> None:
    say(
        f"{found.name} ({found.spec.institution}) {what}: {decision.tell()}",
        is_json=is_json,
        height=decision.height or None,
        node=found.name,
        node_id=found.key.node_id.hex(),
        proposal=decision.proposal,
        voters=list(decision.voters),
    )


@node.command()
@click.argument("name", metavar="INSTITUTION|NODE")
@click.option("--validator", "is_validator", is_flag=True, help="Give it a vote once it is level.")
@weight_option
@force_option
@directory_option
@json_option
def add(
    name: str,
    is_validator: bool,
    weight: int,
    is_forced: bool,
    directory: Path,
    is_json: bool,
) -> None:
    """Add a node that INSTITUTION runs, or NODE again after it was removed.

    It gets keys, certificates and ports of its own, starts as an observer, and fetches the chain.
    """
    from lowu.institutions.files import hold_lock
    from lowu.node.topology.control import Control

    Control(directory).order("status")  # it must run
    with hold_lock(node_lock(directory), say_that_it_waits):
        _add(Office(directory), name, weight, is_validator, is_forced, is_json)


def node_lock(directory: Path) -> Path:
    """Return the file whose lock a command holds that adds or removes a node."""
    return directory / ".lowu" / "node.lock"


def say_that_it_waits() -> None:
    """Say why nothing happens."""
    click.echo("  waiting for another command that adds or removes a node", err=True)


def _let_in(office: Office, new: PlannedNode, org_id: int, *, has_folder: bool) -> Decision:
    """Have the group let a node in, unless an `add` that was cut short has done so.

    A node of the group that has a folder is refused: it would lose its vote.
    """
    from lowu.commands.node.deciding import Decision, decide, read_group

    group: Any = run_steps(lambda: read_group(office))
    found = group.get(new.key.node_id.hex())
    if found is None:
        calls = [_call("addObserverOf", org_id, new.key.node_id.hex())]
        decision: Decision = run_steps(lambda: decide(office, calls))
        return decision
    if has_folder:
        raise click.ClickException(
            f"{new.name} is of the group already; `lowu start {new.name}` starts it, `lowu "
            f"node promote {new.name}` gives it a vote"
        )
    return Decision(found.enabled_height - 1, None, (), is_earlier=True)


def _add(
    office: Office, name: str, weight: int, is_validator: bool, is_forced: bool, is_json: bool
) -> None:
    """Add a node; one command at a time: two would take one place."""
    import trio

    from lowu.commands.node.deciding import wait_until_level
    from lowu.node.topology.control import Control
    from lowu.node.topology.tree import write_left
    from lowu.node.topology.upkeep.growth import add_node, plan_node

    directory = office.directory
    again = next((item for item in office.plan.nodes if item.name == name), None)
    owner = office.find(name if again is None else again.spec.institution)
    new = plan_node(directory, owner.spec.id, owner.spec.side) if again is None else again

    def report(text: str) -> None:
        if not is_json:
            click.echo(f"  {text}", err=True)

    decision = _let_in(office, new, owner.org_id, has_folder=again is not None)
    report(f"{new.name} is of the group: {decision.tell()}")
    if again is None:
        add_node(directory, owner.spec.id, owner.spec.side)
    else:
        write_left(directory, set(office.plan.left) - {new.name})
    office = Office(directory)
    Control(directory).start([new.name])
    height = trio.run(wait_until_level, office, new, report, decision.height)
    report(f"{new.name} runs and is level at block {height}")
    if is_validator:
        calls = [_call("addSealer", new.key.node_id.hex(), weight)]
        decision = _change(office, new, calls, weight, is_forced=is_forced)
    what = f"votes with weight {weight}" if is_validator else "observes"
    _tell(new, what, decision, is_json=is_json)
    if not is_json and not is_validator:
        click.echo(f"next: lowu node promote {new.name}{name_folder(directory)}")


@node.command()
@click.argument("name", metavar="NODE")
@weight_option
@force_option
@directory_option
@json_option
def promote(name: str, weight: int, is_forced: bool, directory: Path, is_json: bool) -> None:
    """Give the observer NODE a vote; it need not start again."""
    office = Office(directory)
    found = _find(office, name)
    calls = [_call("addSealer", found.key.node_id.hex(), weight)]
    decision = _change(office, found, calls, weight, is_forced=is_forced)
    _tell(found, f"votes with weight {weight}", decision, is_json=is_json)


@node.command()
@click.argument("name", metavar="NODE")
@force_option
@directory_option
@json_option
def demote(name: str, is_forced: bool, directory: Path, is_json: bool) -> None:
    """Let the validator NODE observe, without a vote."""
    office = Office(directory)
    found = _find(office, name)
    calls = [_call("addObserver", found.key.node_id.hex())]
    decision = _change(office, found, calls, 0, is_forced=is_forced)
    _tell(found, "observes", decision, is_json=is_json)


@node.command("weight")
@click.argument("name", metavar="NODE")
@click.argument("weight", type=WEIGHT)
@force_option
@directory_option
@json_option
def set_weight(name: str, weight: int, is_forced: bool, directory: Path, is_json: bool) -> None:
    """Change the WEIGHT of the vote of NODE."""
    office = Office(directory)
    found = _find(office, name)
    _require_vote(office, found)
    calls = [_call("setWeight", found.key.node_id.hex(), weight)]
    decision = _change(office, found, calls, weight, is_forced=is_forced)
    _tell(found, f"votes with weight {weight}", decision, is_json=is_json)


def _require_vote(office: Office, found: PlannedNode) -> None:
    from lowu.commands.node.deciding import read_group

    group: Any = run_steps(lambda: read_group(office))
    known = group.get(found.key.node_id.hex())
    if known is not None and not known.weight:
        raise click.ClickException(
            f"{found.name} has no vote; `lowu node promote {found.name} --weight N` gives it one"
        )


@node.command()
@click.argument("name", metavar="NODE")
@force_option
@directory_option
@json_option
def remove(name: str, is_forced: bool, directory: Path, is_json: bool) -> None:
    """Remove NODE from the group and stop it; its folder stays.

    `lowu node add NODE` takes it back. If it was cut short, the same command completes it.
    """
    from lowu.institutions.files import hold_lock
    from lowu.node.topology.control import Control

    Control(directory).order("status")  # it must run
    with hold_lock(node_lock(directory), say_that_it_waits):
        _remove(Office(directory), name, is_forced, is_json)


def _remove(office: Office, name: str, is_forced: bool, is_json: bool) -> None:
    """Remove a node; one command at a time, as with those that add one."""
    from lowu.commands.node.deciding import Decision, is_cut_short
    from lowu.node.topology.control import Control
    from lowu.node.topology.tree import write_left

    directory = office.directory
    found = _find(office, name)
    decision = Decision(0, None, (), is_earlier=True)
    if not run_steps(lambda: is_cut_short(office, found)):
        calls = [_call("remove", found.key.node_id.hex())]
        decision = _change(office, found, calls, 0, is_forced=is_forced, is_removed=True)
    write_left(directory, {*office.plan.left, found.name})
    Control(directory).order("stop", [found.name])
    _tell(found, "is removed and does not run", decision, is_json=is_json)


@node.command("list")
@directory_option
@json_option
def list_nodes(directory: Path, is_json: bool) -> None:
    """List the nodes of the group as the ledger has them."""
    from lowu.commands.node.deciding import read_group

    office = Office(directory)
    group: Any = run_steps(lambda: read_group(office))
    names = {item.key.node_id.hex(): item for item in office.plan.nodes}
    entries = [
        {
            "node_id": node_id,
            "name": names[node_id].name if node_id in names else "",
            "institution": names[node_id].spec.institution if node_id in names else "",
            "kind": "validator" if item.weight else "observer",
            "side": "" if item.jurisdiction is None else item.jurisdiction.name,
            "weight": item.weight,
            "since_block": item.enabled_height,
        }
        for node_id, item in group.items()
    ]
    left = [item.name for node_id, item in names.items() if node_id not in group]
    if is_json:
        emit_json(True, {"nodes": len(entries)}, nodes=entries, not_of_the_group=left)
        return
    keys = ("name", "institution", "side", "kind", "weight", "since_block")
    rows = [(*(entry[key] for key in keys), str(entry["node_id"])[:16]) for entry in entries]
    columns = ("node", "institution", "side", "kind", "weight", "since block", "node id")
    print_table(f"Nodes of the group in {directory}", columns, rows)
    if left:
        click.echo(f"not of the group: {', '.join(left)}")
