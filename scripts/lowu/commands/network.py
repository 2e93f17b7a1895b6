"""down, status, start, stop, kill, restart, accounts, env, validate, version."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowu.cli import emit_json
from lowu.commands.node.other_python import check_reading, python_option
from lowu.options import DEFAULT_NETWORK, directory_option, json_option, name_folder, read_network
from lowu.output import Progress, print_table, say

if TYPE_CHECKING:
    from lowu.node.topology.plan import Plan, PlannedInstitution
    from lowu.office import Office


def note_fragile(plan: Plan) -> None:
    """Warn of a network that halts with its first failure."""
    if plan.genesis.validators.fault_threshold == 0:
        click.echo("note: no fault tolerance; if any validator stops, the chain halts", err=True)


def node_entry(node: Any) -> dict[str, Any]:
    """Return a node as a JSON value."""
    return {
        "name": node.name,
        "institution": node.spec.institution,
        "side": node.side.name,
        "kind": "validator" if node.spec.is_validator else "observer",
        "url": node.url,
        "rpc_port": node.ports.rpc,
        "p2p_port": node.ports.p2p,
        "node_id": node.key.node_id.hex(),
    }


@click.command()
@directory_option
@json_option
def down(directory: Path, is_json: bool) -> None:
    """Stop all nodes and their supervisor. Data stays; `lowu up` continues from it."""
    from lowu.node.topology.control import Control
    from lowu.node.topology.tree import require_tree

    was_running = Control(directory).down()
    if not was_running:
        require_tree(directory)  # one that was damaged can be stopped as well
    if is_json:
        emit_json(True, {}, was_running=was_running)
    else:
        click.echo("stopped" if was_running else f"{directory}: nothing was running")


@click.command()
@directory_option
@json_option
def status(directory: Path, is_json: bool) -> None:
    """Show every node's process, height, view, links and pool."""
    import trio

    from lowu.node.topology.control import Control
    from lowu.node.topology.network import read_statuses
    from lowu.node.topology.tree import load_tree

    plan = load_tree(directory)
    states = {item["name"]: item for item in Control(directory).order("status")}
    found = trio.run(read_statuses, plan.nodes)
    entries = [
        {**node_entry(node), **states[node.name], **_read_by(found.get(node.name))}
        | ({"kind": "removed"} if node.name in plan.left else {})
        for node in plan.nodes
    ]
    if is_json:
        heights = [entry["height"] for entry in entries if "height" in entry]
        running = sum(entry["pid"] is not None for entry in entries)
        emit_json(True, {"height": max(heights, default=0), "running": running}, nodes=entries)
        return
    rows = [_status_row(entry) for entry in entries]
    columns = (
        "node",
        "institution",
        "side",
        "kind",
        "process",
        "height",
        "block",
        "view",
        "links",
        "pool",
    )
    print_table(f"{plan.spec.settings.name} in {directory}", columns, rows)
    for entry in entries:
        for line in _status_notes(entry):
            click.echo(f"{entry['name']}: {line}")
    for line in _quorum_notes(plan, entries):
        click.echo(line)


def _read_by(answer: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a node says of itself; it may have joined, or been promoted, since block 0."""
    if answer is None:
        return {}
    return {**answer, "kind": "validator" if answer["is_validator"] else "observer"}


def _quorum_notes(plan: Plan, entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the reason why no block can be committed, if too few validators vote."""
    answering = [item for item in entries if "height" in item]
    highest = max(answering, key=lambda item: int(item["height"]), default=None)
    weights = dict(plan.genesis.sealers) if highest is None else highest["weights"]
    quorum = plan.genesis.validators.quorum if highest is None else highest["quorum"]
    voting = [item["node_id"] for item in answering if not item["is_abstaining"]]
    weight = sum(weights.get(node_id, 0) for node_id in voting)
    if weight < quorum:
        yield (
            f"no block can be committed: the validators that run and vote have weight {weight}, "
            f"but {quorum} is needed"
        )
        stopped = [
            item["name"]
            for item in entries
            if "height" not in item and weights.get(item["node_id"])
        ]
        if stopped:
            yield f"these validators do not run: {', '.join(stopped)}; `lowu start` starts one"
        elif any(item.get("is_abstaining") for item in entries):
            yield "those that abstain wait for blocks: `lowu readmit` is a way on"


def _status_row(entry: dict[str, Any]) -> tuple[object, ...]:
    if entry["pid"] is not None:
        process = f"pid {entry['pid']}"
    elif entry["starts"]:
        process = f"exited ({entry['exit_code']})"
    else:
        process = "not started"
    if entry.get("damage"):
        process += ", damaged"
    view = entry.get("view", "-") if entry["kind"] == "validator" else "-"
    if entry.get("is_changing_view"):
        view = f"{view} (changing)"
    if entry.get("is_abstaining"):
        view = "(abstaining)"
    if entry.get("clock_behind_ms"):
        view = f"{view} (clock {entry['clock_behind_ms'] / 1_000:.0f} s behind)"
    return (
        entry["name"],
        entry["institution"],
        entry["side"],
        entry["kind"],
        process,
        entry.get("height", "-"),
        entry.get("hash", "-")[:12],
        view,
        entry.get("peers", "-"),
        entry.get("pending", "-"),
    )


def _status_notes(entry: dict[str, Any]) -> Iterator[str]:
    """Yield each problem of a running node."""
    if entry.get("abstain_reason"):
        yield (
            f"abstains, because its votes may be lost ({entry['abstain_reason']}); it votes again "
            "once the chain has passed them"
        )
    if entry.get("mended"):
        yield (
            f"its storage was damaged, and {entry['mended']} blocks or other records were mended "
            "from other nodes; check its disk"
        )
    if entry.get("damage"):
        yield (
            f"storage damaged ({entry['damaged_reads']} reads failed, the first: "
            f"{entry['damage']}). `lowu doctor {entry['name']} --repair` gives it the chain of a "
            "sound node and keeps its votes"
        )


def _order(directory: Path, do: str, name: str, done: str, is_json: bool, python: str = "") -> None:
    from lowu.node.errors import NodeError
    from lowu.node.topology.control import Control
    from lowu.node.topology.network import NotReady, describe_end
    from lowu.node.topology.tree import load_tree

    plan = load_tree(directory)
    node = plan.find_node(name)
    if node is None:
        raise click.UsageError(f"no node {name!r}; there are {plan.node_names}")
    control = Control(directory)
    if do == "start" and node.name in plan.left:
        click.echo(
            f"note: the group has removed {node.name}; `lowu node add {node.name}"
            f"{name_folder(directory)}` takes it back",
            err=True,
        )
    (before,) = (item for item in control.order("status") if item["name"] == node.name)
    if do in ("stop", "kill") and before["pid"] is None:
        say(f"{node.name} ({node.spec.institution}) was not running", is_json=is_json, node=before)
        return
    if do == "start" and python and before["pid"] is not None:
        raise click.UsageError(f"{node.name} is running; `lowu restart` takes --python too")
    if do == "start" and before["pid"] is not None:
        pid = before["pid"]
        say(f"{node.name} ({node.spec.institution}) runs already, pid {pid}", is_json=is_json,
            node=before)  # fmt: skip
        return
    if python:
        check_reading(python, directory, node)
    (state,) = control.order(do, [node.name], python=python)
    if state["pid"] is not None:
        (state,) = control.wait_until_settled([node.name])
        if state["pid"] is None:
            raise NodeError(describe_end(node, state["exit_code"], directory))
        if not state["is_ready"]:
            raise NotReady(f"{node.name} is not ready yet; see `lowu logs {node.name}`")
    if is_json:
        emit_json(True, {}, node=state)
    else:
        pid = f", pid {state['pid']}" if state["pid"] is not None else ""
        click.echo(f"{node.name} ({node.spec.institution}) {done}{pid}")


@click.command()
@click.argument("node")
@python_option
@directory_option
@json_option
def start(node: str, python: str, directory: Path, is_json: bool) -> None:
    """Start NODE (node0, or its institution) in a running network."""
    _order(directory, "start", node, "started", is_json, python)


@click.command()
@click.argument("node")
@directory_option
@json_option
def stop(node: str, directory: Path, is_json: bool) -> None:
    """Stop NODE; it finishes what it is writing."""
    _order(directory, "stop", node, "stopped", is_json)


@click.command()
@click.argument("node")
@directory_option
@json_option
def kill(node: str, directory: Path, is_json: bool) -> None:
    """Kill NODE with SIGKILL, to simulate a crash."""
    _order(directory, "kill", node, "killed", is_json)


@click.command()
@click.argument("node", default="")
@click.option("--all", "is_all", is_flag=True, help="All nodes, one after the other.")
@click.option("--force", "is_forced", is_flag=True, help="With --all: also if the chain stands.")
@python_option
@directory_option
@json_option
def restart(
    node: str, is_all: bool, is_forced: bool, python: str, directory: Path, is_json: bool
) -> None:
    """Stop NODE and start it again; it continues from its data.

    With --all, each node is restarted once the one before is level and votes, so that the network
    goes on: for a new version of Lowu, or settings that nodes read at their start.
    """
    if is_all == bool(node):
        raise click.UsageError("give either NODE or --all")
    if not is_all:
        _order(directory, "restart", node, "restarted", is_json, python)
        return
    import trio

    from lowu.commands.node.rolling import restart_all
    from lowu.node.topology.tree import load_tree

    progress = Progress(is_silent=is_json)
    plan = load_tree(directory)
    if python:
        check_reading(python, directory, plan.nodes[0])
    run = partial(restart_all, directory, plan, progress, is_forced=is_forced, python=python)
    took = trio.run(run)
    longest = max(took.values(), default=0.0)
    if is_json:
        rounded = {name: round(seconds, 3) for name, seconds in took.items()}
        figures = {"restarted": len(took), "longest_seconds": round(longest, 3)}
        emit_json(True, figures, nodes=rounded)
    else:
        click.echo(
            f"{len(took)} nodes restarted, one after the other, {longest:.1f} s at most each"
        )


@click.command()
@click.option(
    "--accept-lost-votes", "is_accepted", is_flag=True,
    help="Go on although nobody knows what these validators signed.",
)  # fmt: skip
@directory_option
@json_option
def readmit(is_accepted: bool, directory: Path, is_json: bool) -> None:
    """Let validators vote again that have lost their votes, if no quorum is left without them.

    Only if all validators run and those that vote have one head. Their data is set aside, and they
    fetch the chain again.
    """
    import trio

    from lowu.node.topology.control import Control
    from lowu.node.topology.network import read_statuses
    from lowu.node.topology.tree import load_tree
    from lowu.node.topology.upkeep.readmission import RISK, choose, forget_votes

    plan = load_tree(directory)
    chosen = choose(plan, trio.run(read_statuses, plan.nodes))
    names = [node.name for node in chosen]
    if not is_accepted:
        raise click.UsageError(
            f"{', '.join(names)} would vote again. {RISK} To go on all the same, give "
            "--accept-lost-votes"
        )
    control = Control(directory)
    control.order("stop", names)
    kept = forget_votes(directory, chosen)
    control.order("start", names)
    control.wait_until_settled(names)
    say(
        f"{', '.join(names)} vote again; their data is kept in {', '.join(map(str, kept))}",
        is_json=is_json,
        nodes=names,
        kept=[str(path) for path in kept],
    )


@click.command()
@directory_option
@json_option
def accounts(directory: Path, is_json: bool) -> None:
    """List institutions, their roles, accounts and nodes, with those proposed since genesis.

    Keys are derived from the public seed. Institutions with the role GOVERNOR vote.
    """
    import trio

    from lowu.office import Office

    office = Office(directory)
    members = office.list_institutions()
    standing = trio.run(_read_standing, office)
    entries: list[dict[str, Any]] = [
        {
            "institution": item.spec.id,
            "org_id": item.org_id,
            "side": item.spec.side.name,
            "roles": [role.name for role in item.spec.roles],
            "schemas": list(item.spec.schemas),
            "standing": standing.get(item.org_id, "genesis"),
            "address": office.address_of(item),
            "private_key": _tell_key(office, item),
            "node": item.node.name,
            "url": item.node.url,
        }
        for item in members
    ]
    if is_json:
        emit_json(True, {"institutions": len(entries)}, institutions=entries)
        return
    keys = ("org_id", "institution", "side", "address", "url", "standing")
    rows = [
        (*(entry[key] for key in keys), " ".join(entry["roles"]), " ".join(entry["schemas"]))
        for entry in entries
    ]
    columns = ("org", "institution", "side", "address", "node URL", "since", "roles", "issues")
    print_table("Accounts (simulation keys: never use them elsewhere)", columns, rows)


def _tell_key(office: Office, item: PlannedInstitution) -> str | None:
    """Return the private key that follows from the seed; None if a key file has another."""
    has_own = office.keystore_file(item.spec.id).exists()
    return None if has_own else "0x" + item.account_key.hex()


async def _read_standing(office: Office) -> dict[int, str]:
    """Return what became of the institutions that were proposed since genesis, by their number."""
    from lowu.contracts.registry import OrgStatus
    from lowu.institutions.ledger.registry import Registry
    from lowu.node.client import ClientError, RemoteError

    known = {item.org_id for item in office.plan.institutions}
    proposed = [item.org_id for item in office.list_institutions() if item.org_id not in known]
    if not proposed:
        return {}
    async with office.open_client(office.plan.members[0].url) as client:
        try:
            orgs = await Registry(client).get_orgs(proposed)
        except (ClientError, RemoteError):
            return dict.fromkeys(proposed, "proposed; no node answers")
    told = {}
    for number, org in zip(proposed, orgs, strict=True):
        told[number] = f"block {org.admitted_height}"
        if org.status is OrgStatus.UNKNOWN:
            told[number] = "proposed, not voted in"
        elif org.status is not OrgStatus.ACTIVE:
            told[number] += f", {org.status.name.lower()} since block {org.status_height}"
    return told


@click.command()
@click.option("--by", "institution", default=None, help="The institution whose node is used.")
@directory_option
@json_option
def env(institution: str | None, directory: Path, is_json: bool) -> None:
    """Print what a client needs to reach a node; `eval "$(lowu env)"` sets it in a shell."""
    from lowu.office import Office

    office = Office(directory)
    node = office.plan.members[0] if institution is None else office.find(institution).node
    chain_id = office.plan.genesis.web3_chain_id
    fisco = f"http://127.0.0.1:{node.ports.rpc}"
    if is_json:
        emit_json(True, {}, url=node.url, fisco_url=fisco, chain_id=chain_id, node=node.name)
        return
    click.echo(
        f"export LOWU_URL={node.url}\n"
        f"export LOWU_FISCO_URL={fisco}\n"
        f"export LOWU_CHAIN_ID={chain_id}\n"
        "# in Python, after `pip install web3`:\n"
        f'# w3 = Web3(Web3.HTTPProvider("{node.url}"))  # {node.spec.institution}\'s node\n'
        f"# assert w3.eth.chain_id == {chain_id}"
    )


@click.command()
@click.argument("network", default=DEFAULT_NETWORK)
@json_option
def validate(network: str, is_json: bool) -> None:
    """Check NETWORK (a bundled name or a TOML file) and summarise it."""
    from lowu.node.topology.advice import list_warnings
    from lowu.node.topology.plan import build_plan
    from lowu.node.topology.spec import parse_spec

    text, origin = read_network(network)
    plan = build_plan(parse_spec(text, origin))
    validators = plan.genesis.validators
    figures = {
        "nodes": len(plan.nodes),
        "validators": len(validators),
        "fault_threshold": validators.fault_threshold,
        "quorum": validators.quorum,
        "institutions": len(plan.institutions),
    }
    warnings = list_warnings(plan.spec)
    if is_json:
        emit_json(True, figures, name=plan.spec.settings.name, warnings=warnings)
        return
    click.echo(f"{origin}: ok, {plan.spec.settings.name}")
    for name, value in figures.items():
        click.echo(f"  {name.replace('_', ' ')}: {value}")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    note_fragile(plan)


@click.command()
@json_option
def version(is_json: bool) -> None:
    """Show the versions of Lowu and its main dependencies."""
    import platform
    from importlib.metadata import version as installed

    from lowu.node.version import VERSION

    names = ("py-evm", "eth-account", "trio", "msgpack", "rocksdict", "h11", "wsproto")
    versions = {name: installed(name) for name in names}
    if is_json:
        emit_json(True, {}, version=VERSION, python=platform.python_version(), packages=versions)
        return
    click.echo(f"lowu {VERSION} on Python {platform.python_version()}")
    for name, value in versions.items():
        click.echo(f"  {name} {value}")
