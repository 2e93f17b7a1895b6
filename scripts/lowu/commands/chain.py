"""``lowu build-chain``: a tree of nodes by the flags that FISCO BCOS users know."""

from __future__ import annotations

from pathlib import Path

import click

from lowu.cli import emit_json
from lowu.commands.node.command import node_lock, say_that_it_waits
from lowu.options import json_option, name_folder

HOSTS = ("127.0.0.1", "localhost")
DEPLOY_OPTIONS = ("hosts", "ports", "group", "chain", "seed")
"""Those that say what a new chain is."""


def chain_text(count: int, seed: int, group: str, chain: str, ports: tuple[int, int]) -> str:
    """Return the network file of a chain of unnamed agencies on alternating sides."""
    lines = [
        "# Written by lowu build-chain.",
        "[network]",
        'name = "build-chain"',
        f"seed = {seed}",
        f'chain_id = "{chain}"',
        f'group_id = "{group}"',
        f"p2p_port = {ports[0]}",
        f"rpc_port = {ports[1]}",
        "allow_one_side_quorum = true",
    ]
    for index in range(count):
        side = ("SZ", "HK")[index % 2]
        lines += [
            "",
            "[[institution]]",
            f'id = "agency{index}"',
            f'side = "{side}"',
            'roles = ["ADMIN", "ISSUER", "VERIFIER"]',
            'schemas = ["cn.ecr/1", "cn.smeowner/1", "grp.kyc/1"]',
        ]
    for index in range(count):
        lines += ["", "[[node]]", f'institution = "agency{index}"']
    return "\n".join(lines) + "\n"


def parse_hosts(text: str) -> int:
    """Return the number of nodes in ``127.0.0.1:4``."""
    host, _, count = text.partition(":")
    if host not in HOSTS:
        raise click.UsageError(f"-l {text}: nodes run on this machine only; use 127.0.0.1:COUNT")
    if not count.isdigit() or not 1 <= int(count) <= 64:
        raise click.UsageError(f"-l {text}: COUNT must be 1 to 64, as in 127.0.0.1:4")
    return int(count)


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def parse_ports(text: str) -> tuple[int, int]:
    """Return the two start ports of ``30300,20200``."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise click.UsageError(f"-p {text}: expected P2P,RPC such as 30300,20200")
    return int(parts[0]), int(parts[1])


@click.command()
@click.option(
    "-C",
    "what",
    type=click.Choice(["deploy", "expand"]),
    default="deploy",
    show_default=True,
    help="deploy: a new chain; expand: the folder of a further node.",
)
@click.option(
    "-l",
    "hosts",
    metavar="IP:COUNT",
    help="This machine's address, and the number of nodes; for deploy.",
)
@click.option(
    "-c",
    "config",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="For expand: the folder of a node of the institution that runs the new one.",
)
@click.option(
    "-d",
    "ca",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="For expand: the chain's folder of certificate authorities.  [default: its own]",
)
@click.option("-p", "ports", default="30300,20200", show_default=True, help="First ports: p2p,rpc.")
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    default=Path("nodes"),
    show_default=True,
    help="Folder to write; must not exist. For expand, such as nodes/127.0.0.1/node4.",
)
@click.option("-g", "group", default="group0", show_default=True, help="Group id.")
@click.option("-I", "chain", default="chain0", show_default=True, help="Chain id.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same keys.")
@json_option
def build_chain(
    what: str,
    hosts: str | None,
    config: Path | None,
    ca: Path | None,
    ports: str,
    output: Path,
    group: str,
    chain: str,
    seed: int,
    is_json: bool,
) -> None:
    """Write keys, certificates, genesis and configuration of a chain, ready to start.

    With -C expand, those of one more node of a chain; the group has to let it in.
    """
    if what == "expand":
        given = [name for name in DEPLOY_OPTIONS if _is_given(name)]
        if given or config is None:
            raise click.UsageError("-C expand takes -c, -o and -d only, and needs -c and -o")
        _expand(config, ca, output, is_json)
        return
    if hosts is None or config is not None or ca is not None:
        raise click.UsageError("-C deploy takes -l, such as -l 127.0.0.1:4, and no -c or -d")
    from lowu.node.topology.plan import build_plan
    from lowu.node.topology.spec import parse_spec
    from lowu.node.topology.tree import write_tree

    count = parse_hosts(hosts)
    text = chain_text(count, seed, group, chain, parse_ports(ports))
    plan = build_plan(parse_spec(text, Path("build-chain")))
    write_tree(plan, text, output)
    if is_json:
        emit_json(True, {"nodes": count}, directory=str(output))
        return
    click.echo(f"[INFO] Processing IP:127.0.0.1 Total:{count}")
    for node in plan.nodes:
        click.echo(f"[INFO] {node.name} nodeid {node.key.node_id.hex()[:16]}…")
    click.echo(f"[INFO] GroupID              : {group}")
    click.echo(f"[INFO] ChainID              : {chain}")
    click.echo(f"[INFO] Start port           : {ports}")
    click.echo(f"[INFO] Output dir           : {output}")
    click.echo(f"[INFO] All completed. Files in {output}")
    click.echo(f"next: `lowu up --dir {output}` (or bash {output}/127.0.0.1/start_all.sh)")


def _expand(config: Path, ca: Path | None, output: Path, is_json: bool) -> None:
    """Write the folder of the next node of a chain, run by the institution of another."""
    from lowu.institutions.files import hold_lock
    from lowu.node.topology.tree import require_tree

    host = output.parent.resolve()
    directory = host.parent
    if host.name != HOSTS[0]:
        raise click.UsageError(f"-o {output}: not in the folder {HOSTS[0]} of a chain")
    require_tree(directory)
    own = directory / "ca"
    if ca is not None and ca.resolve() != own:
        raise click.UsageError(f"-d {ca}: nodes accept certificates of {own} only")
    if output.exists():
        raise click.UsageError(f"-o {output}: exists already; move it away")
    with hold_lock(node_lock(directory), say_that_it_waits):  # two would take one place
        node_id, owner, name = _write_next(directory, config, host / output.name)
    if is_json:
        emit_json(True, {"nodes": 1}, directory=str(output), node=name, node_id=node_id)
        return
    click.echo(f"[INFO] {name} nodeid {node_id[:16]}…, run by {owner}")
    click.echo(f"[INFO] Output dir           : {output}")
    click.echo(f"[INFO] All completed. Files in {output}")
    click.echo(
        f"next: `lowu node add {name}{name_folder(output.parents[1])}` has the group let it in and "
        "starts it"
    )


def _write_next(directory: Path, config: Path, wanted: Path) -> tuple[str, str, str]:
    """Write the next node's folder; return the node's id, its owner and its name."""
    from lowu.node.topology.tree import load_tree, node_folder
    from lowu.node.topology.upkeep.growth import add_node, plan_node

    plan = load_tree(directory)
    model = next((item for item in plan.nodes if item.name == config.resolve().name), None)
    if model is None or node_folder(directory, model) != config.resolve():
        raise click.UsageError(f"-c {config}: not the folder of a node of the chain in {directory}")
    new = plan_node(directory, model.spec.institution, model.side)
    if wanted != node_folder(directory, new):
        raise click.UsageError(
            f"-o {wanted}: the next node's folder is {node_folder(directory, new)}"
        )
    add_node(directory, model.spec.institution, model.side)
    return new.key.node_id.hex(), model.spec.institution, new.name
