"""up: start a network, in a new folder or in the one that holds it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowu.cli import emit_json
from lowu.commands.network import node_entry, note_fragile
from lowu.options import (
    DEFAULT_NETWORK,
    Number,
    directory_option,
    json_option,
    name_folder,
    read_network,
)
from lowu.output import Progress, print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lowu.node.topology.changes import Difference
    from lowu.node.topology.network import UpResult
    from lowu.node.topology.plan import PlannedNode

VOTED_ON = {
    "block_tx_count_limit": "tx_count_limit",
    "leader_period": "consensus_leader_period",
    "tx_gas_limit": "tx_gas_limit",
}
"""Settings of genesis that the group can change, with the keys that they have on the ledger."""


@click.command()
@click.argument("network", default=DEFAULT_NETWORK)
@directory_option
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Change a setting of the network file, such as block_tx_count_limit=500.",
)  # fmt: skip
@click.option(
    "--recreate", is_flag=True,
    help="Delete the network in the folder, with its chain, desks and wallets; start afresh.",
)  # fmt: skip
@click.option(
    "--timeout",
    "ready_s",
    type=Number(min=1, max=86_400),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the first block.",
)
@click.option(
    "--evm",
    type=click.Choice(["compiled", "interpreted", "both"]),
    help="EVM engine; both: run both, and halt if they differ.",
)
@json_option
def up(
    network: str,
    directory: Path,
    settings: tuple[str, ...],
    recreate: bool,
    ready_s: float,
    evm: str | None,
    is_json: bool,
) -> None:
    """Start NETWORK (a bundled name or a TOML file) and wait for its first block.

    A folder that holds a network goes on with it; NETWORK may then be left out. Settings that a
    chain keeps for good do not change there.
    """
    import trio

    from lowu.node.config import Engine
    from lowu.node.topology.control import Control
    from lowu.node.topology.network import NotReady, bring_up
    from lowu.node.topology.spec import parse_spec
    from lowu.node.topology.tree import is_tree

    text, origin = _choose(network, directory)
    parse_spec(text, origin)  # before anything is put into it, so that its lines are the file's
    text = _apply(text, settings)
    progress = Progress(is_silent=is_json)
    if recreate:
        _recreate(text, origin, directory, progress)
    elif is_tree(directory):
        _reconcile(text, origin, directory, progress)
    was_running = Control(directory).is_running()
    try:
        engine = Engine(evm) if evm else None
        result = trio.run(bring_up, directory, text, origin, progress, ready_s, engine)
        _tell_up(result, directory, is_json=is_json)
    except NotReady:
        raise  # the nodes stay up, so that they can be looked at
    except BaseException:  # the result could not be written, or it was interrupted, for instance
        if not was_running and Control(directory).down():
            progress("the network has been stopped again")
        raise


def _apply(text: str, settings: Sequence[str]) -> str:
    """Return a network file's text with settings; a value that cannot be is blamed on them."""
    from lowu.node.errors import ConfigError
    from lowu.node.topology.changes import set_values
    from lowu.node.topology.spec import parse_spec

    changed = set_values(text, settings)
    try:
        parse_spec(changed, Path("--set"))
    except ConfigError as error:
        told = [re.sub(r"^--set:[0-9]+: ", "", line) for line in str(error).splitlines()]
        given = " ".join(f"--set {item}" for item in settings)
        raise click.UsageError(f"{given}: {'; '.join(told)}") from error
    return changed


def _choose(network: str, directory: Path) -> tuple[str, Path]:
    """Return the text of the network that is asked for: without a name, the one in the folder."""
    from lowu.node.topology.supervisor_files import network_file
    from lowu.node.topology.tree import is_tree

    source = click.get_current_context().get_parameter_source("network")
    if source is click.core.ParameterSource.DEFAULT and is_tree(directory):
        return read_network(str(network_file(directory)))
    return read_network(network)


def _recreate(text: str, origin: Path, directory: Path, progress: Callable[[str], None]) -> None:
    """Put the network in a folder away, once what is to replace it can be written.

    The folder is moved aside, and deleted only after that; what is not of a network stays where it
    is, and nothing is deleted then.
    """
    from lowu.node.errors import ConfigError
    from lowu.node.topology.changes import with_chain_id
    from lowu.node.topology.control import Control
    from lowu.node.topology.plan import build_plan
    from lowu.node.topology.ports import find_free_block
    from lowu.node.topology.spec import parse_spec
    from lowu.node.topology.tree import is_tree, list_foreign

    plan = build_plan(parse_spec(with_chain_id(text), origin))
    if not is_tree(directory):
        return
    if directory.is_symlink():
        raise click.UsageError(f"{directory} is a link; name the folder itself with --dir")
    place = directory.resolve()
    foreign = list_foreign(place)
    if foreign:
        names = ", ".join(path.name for path in foreign[:5])
        raise click.UsageError(f"{directory} holds what is not of a network: {names}; move it away")
    if place == Path.cwd().resolve():
        raise click.UsageError("--recreate deletes the folder, so it cannot be the current one")
    Control(directory).down()
    find_free_block(plan.ports, len(plan.nodes), directory)
    aside = place.with_name(f".{place.name}.deleted-{os.getpid()}")
    try:
        place.rename(aside)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be moved away ({error.strerror})") from error
    shutil.rmtree(aside, ignore_errors=True)
    progress(f"the network in {directory} is deleted, with its chain, desks and wallets")
    if aside.exists():
        progress(f"some of it could not be deleted: {aside}")


def _reconcile(text: str, origin: Path, directory: Path, progress: Callable[[str], None]) -> None:
    """Apply the settings that may change in a folder that holds a network; refuse others."""
    from lowu.node.topology.changes import find_differences
    from lowu.node.topology.control import Control
    from lowu.node.topology.spec import parse_spec
    from lowu.node.topology.tree import change_settings, load_tree

    held, wanted = load_tree(directory).spec, parse_spec(text, origin)
    found = find_differences(held, wanted, text)
    fixed = [item for item in found if item.is_fixed]
    where = shlex.quote(str(directory))
    if fixed:
        name = held.settings.name
        is_other = name != wanted.settings.name
        kind = "another network," if is_other else "other settings of"
        way = ""
        if all(item.what in VOTED_ON for item in fixed):
            first = f"{VOTED_ON[fixed[0].what]} {fixed[0].wanted}"
            way = f"have the group change that while it runs (`lowu config set {first}`); or "
        raise click.UsageError(
            f"{directory} holds {kind} {name}; its first block has them:\n{_list(fixed)}\n"
            f"{way}choose another folder with --dir; or start that network, with `lowu up --dir "
            f"{where}`; or delete it, with --recreate"
        )
    if not found:
        return
    if Control(directory).is_running():
        raise click.UsageError(
            f"the nodes in {directory} are running with other settings:\n{_list(found)}\n"
            f"stop them first, with `lowu down --dir {where}`; then these can change"
        )
    change_settings(directory, text, origin)
    for item in found:
        progress(f"changed: {item.what}, from {item.held} to {item.wanted}")


def _list(differences: Sequence[Difference]) -> str:
    return "\n".join(f"  {item}" for item in differences)


def _kind(result: UpResult, node: PlannedNode) -> str:
    """Return what a node is now, whatever it was in block 0."""
    return "validator" if node.name in result.votes.weights else "observer"


def _tell_up(result: UpResult, directory: Path, *, is_json: bool) -> None:
    if is_json:
        emit_json(
            True,
            {"first_block_seconds": round(result.first_block_s, 3), "height": result.height},
            network=result.plan.spec.settings.name,
            nodes=[{**node_entry(node), "kind": _kind(result, node)} for node in result.plan.nodes],
            was_running=result.was_running,
        )
        return
    rows = [
        (
            node.name,
            node.spec.institution,
            node.side.name,
            _kind(result, node),
            node.url,
            node.ports.rpc,
            node.ports.p2p,
        )
        for node in result.plan.nodes
    ]
    print_table(
        f"{result.plan.spec.settings.name}: ready at height {result.height} "
        f"after {result.first_block_s:.2f} s",
        ("node", "institution", "side", "kind", "eth rpc", "fisco rpc", "p2p"),
        rows,
    )
    note_fragile(result.plan)
    where = name_folder(directory)
    click.echo(
        f"next: `lowu status{where}`, `lowu logs{where}`, `lowu accounts{where}`; "
        f"`lowu down{where}` stops it"
    )
