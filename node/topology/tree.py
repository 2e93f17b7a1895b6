"""Writing a plan to disk in the layout that FISCO BCOS users know.

    DIR/ca/…                                consortium and agency keys
    DIR/127.0.0.1/nodeN/{config.ini,config.genesis,nodes.json,conf/…,start.sh,stop.sh}
    DIR/127.0.0.1/{start_all.sh,stop_all.sh,sdk/…}
    DIR/.lowu/{network.toml,ports.json}     the input that the tree was made from
    DIR/.lowu/{joined,left}.json            the nodes that have joined since, and that have left

The tree is complete or absent: it is built in a temporary folder and renamed into place.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from lowu.contracts.registry import Jurisdiction
from lowu.node.config import (
    Engine,
    dump_genesis,
    dump_node_config,
    load_node_config,
    read_genesis_format,
)
from lowu.node.errors import ConfigError, MachineRefuses
from lowu.node.ledger.first_start import TEXT as FIRST_START_TEXT
from lowu.node.ledger.first_start import marker_path
from lowu.node.topology.changes import set_values
from lowu.node.topology.node_certificates import (
    IssuedCertificate,
    issue_agency_ca,
    issue_consortium_ca,
    issue_node_certificate,
    issue_sdk_certificate,
    read_certificate,
)
from lowu.node.topology.plan import (
    HOST,
    JoinedNode,
    Plan,
    PlannedNode,
    PortBlock,
    build_plan,
)
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.supervisor_files import META, joined_file, left_file, network_file

_SCRIPT = """#!/bin/sh
# {comment}
own={python}
if [ -x "$own" ]; then exec "$own" -P -m lowu {command} --dir "$(dirname "$0")/{up}"; fi
if command -v lowu > /dev/null; then exec lowu {command} --dir "$(dirname "$0")/{up}"; fi
echo "$0: neither $own nor the command lowu is there; install Lowu again" >&2
exit 3
"""


CERTIFICATES = ("conf/ca.crt", "conf/ssl.crt", "conf/ssl.key")
"""A node's certificate with its key and its root, which fit each other only."""
PRIVATE = ("conf/ssl.key", "conf/node.pem")


def node_folder(directory: Path, node: PlannedNode) -> Path:
    """Return the folder of a node."""
    return directory / HOST / node.name


def is_tree(directory: Path) -> bool:
    """Whether a directory holds a network."""
    return network_file(directory).is_file()


def list_foreign(directory: Path) -> list[Path]:
    """Return what stands in a network's folder and is not of the network."""
    own = {"ca", HOST, META, "desks", "wallets"}
    return sorted(path for path in directory.iterdir() if path.name not in own)


def write_tree(plan: Plan, spec_text: str, directory: Path) -> None:
    """Create the tree of a network; `ConfigError` if the folder exists and is not empty."""
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(
            f"{directory}: exists and is not empty. Choose another folder, or empty this one."
        )
    _remove_abandoned(directory)
    staging = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _write_all(plan, spec_text, staging)
        if directory.exists():
            directory.rmdir()
        staging.rename(directory)
    except OSError as error:
        raise MachineRefuses(f"{directory}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_abandoned(directory: Path) -> None:
    """Remove what commands have begun to write that were killed meanwhile."""
    start, end = f".{directory.name}.", ".tmp"
    for path in directory.parent.iterdir() if directory.parent.is_dir() else ():
        number = path.name.removeprefix(start).removesuffix(end)
        if path.name != f"{start}{number}{end}" or not number.isdecimal():
            continue
        try:
            os.kill(int(number), 0)
        except (ProcessLookupError, OverflowError):
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # it runs, as another user


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file, whole or not at all.

    It is created with its final mode, so that no key is readable even for a moment.

    Raises:
        MachineRefuses: it cannot be written.
    """
    staging = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(staging, flags, mode), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            if path.exists():
                file.flush()
                os.fsync(file.fileno())
        staging.replace(path)
    except OSError as error:
        with suppress(OSError):
            staging.unlink()
        raise MachineRefuses(f"{path}: cannot be written ({error.strerror})") from error


def _write_script(path: Path, comment: str, command: str, up: str) -> None:
    """Write a script that runs a command of the Lowu that wrote it, or of one on the PATH."""
    python = shlex.quote(sys.executable)
    text = _SCRIPT.format(comment=comment, command=command, up=up, python=python)
    _write(path, text, 0o755)


def _make_private(folder: Path) -> Path:
    """Make a folder for keys."""
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _write_all(plan: Plan, spec_text: str, directory: Path) -> None:
    root = issue_consortium_ca(f"{plan.spec.settings.name} consortium")
    agencies = {
        node.spec.institution: issue_agency_ca(root, node.spec.institution) for node in plan.nodes
    }
    ca = _make_private(directory / "ca")
    _write(ca / "ca.crt", root.certificate_pem)
    _write(ca / "ca.key", root.key_pem, 0o600)
    for name, agency in agencies.items():
        own = _make_private(ca / name)
        _write(own / "agency.crt", agency.certificate_pem)
        _write(own / "agency.key", agency.key_pem, 0o600)
    for node in plan.nodes:
        _write_node(plan, node, node_folder(directory, node), root, agencies[node.spec.institution])
    agency = agencies[plan.nodes[0].spec.institution]
    _write_sdk(directory / HOST / "sdk", root, agency)
    start = "Start all nodes and wait until a quorum has committed a block."
    _write_script(directory / HOST / "start_all.sh", start, "up", "..")
    _write_script(
        directory / HOST / "stop_all.sh", "Stop all nodes and their supervisor.", "down", ".."
    )
    _write(network_file(directory), spec_text)
    write_ports(plan, directory)


def _write_node(
    plan: Plan, node: PlannedNode, folder: Path, root: IssuedCertificate, agency: IssuedCertificate
) -> None:
    _make_private(folder / "conf")
    for name, content in _keep_of(plan, node, root, agency).items():
        _write(folder / name, content, 0o600 if name in PRIVATE else 0o644)
    _write(marker_path(folder), FIRST_START_TEXT)
    _write_scripts(node, folder)


def _write_scripts(node: PlannedNode, folder: Path) -> None:
    start, stop = "Start this node.", "Stop this node; the others keep running."
    _write_script(folder / "start.sh", start, f"start {node.name}", "../..")
    _write_script(folder / "stop.sh", stop, f"stop {node.name}", "../..")


def _keep_of(
    plan: Plan, node: PlannedNode, root: IssuedCertificate, agency: IssuedCertificate
) -> dict[str, str | bytes]:
    """Return a node's key, certificates and genesis, by their names in its folder."""
    issued = issue_node_certificate(
        agency, node.key.node_id, f"{node.name}.{node.spec.institution}"
    )
    return {
        "conf/ca.crt": root.certificate_pem,
        "conf/ssl.crt": issued.certificate_pem + agency.certificate_pem,
        "conf/ssl.key": issued.key_pem,
        "conf/node.pem": node.key.to_pem(),
        "conf/node.nodeid": node.key.node_id.hex() + "\n",
        "config.genesis": dump_genesis(plan.genesis),
    }


def restore_node(plan: Plan, node: PlannedNode, directory: Path, names: Collection[str]) -> None:
    """Write some of a node's files anew: of `CERTIFICATES` all or none, config.ini as planned.

    What was there is kept, with ".damaged" after its name, ".damaged-2" and so on.

    A node whose folder was gone has lost its votes: nothing says that this is its first start.

    Raises:
        ConfigError, MachineRefuses: a key of the network's CAs is gone; or the disk refuses.
    """
    folder = node_folder(directory, node)
    ca = directory / "ca"
    own = ca / node.spec.institution
    root = read_certificate(ca / "ca.crt", ca / "ca.key")
    agency = read_certificate(own / "agency.crt", own / "agency.key")
    files = {
        **_keep_of(plan, node, root, agency),
        "config.ini": dump_node_config(plan.node_config(node, folder)),
        "nodes.json": _dump_peers(plan),
    }
    try:
        (folder / "conf").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            if (folder / name).exists():
                _keep_aside(folder / name)
    except OSError as error:
        raise MachineRefuses(f"{folder}: cannot be written ({error.strerror})") from error
    for name in names:
        _write(folder / name, files[name], 0o600 if name in PRIVATE else 0o644)
    if not (folder / "start.sh").exists():
        _write_scripts(node, folder)


def _keep_aside(path: Path) -> None:
    """Move a file out of the way, to a name that nothing has."""
    kept, number = path.with_name(f"{path.name}.damaged"), 2
    while kept.exists():
        kept, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
    path.replace(kept)


def _write_sdk(folder: Path, root: IssuedCertificate, agency: IssuedCertificate) -> None:
    sdk = issue_sdk_certificate(agency, "sdk")
    _make_private(folder)
    _write(folder / "ca.crt", root.certificate_pem)
    _write(folder / "sdk.crt", sdk.certificate_pem + agency.certificate_pem)
    _write(folder / "sdk.key", sdk.key_pem, 0o600)


def write_ports(plan: Plan, directory: Path) -> None:
    """Write the files that depend on ports: config.ini and nodes.json of each node."""
    for node in plan.nodes:
        folder = node_folder(directory, node)
        if not folder.is_dir():
            continue  # half a folder would hide that it is gone
        config = plan.node_config(node, folder)
        if (folder / "config.ini").exists():  # keep changes made by hand
            ports = node.ports
            config = replace(
                load_node_config(folder, node.name),
                p2p_port=ports.p2p,
                rpc_port=ports.rpc,
                web3_port=ports.web3,
            )
        _write(folder / "config.ini", dump_node_config(config))
        _write(folder / "nodes.json", _dump_peers(plan))
    _write(directory / META / "ports.json", json.dumps(asdict(plan.ports)) + "\n")


def write_joined_node(plan: Plan, node: PlannedNode, directory: Path) -> None:
    """Write the folder of a node that joins, with certificates of the network's own CAs."""
    ca, institution = directory / "ca", node.spec.institution
    root = read_certificate(ca / "ca.crt", ca / "ca.key")
    own = ca / institution
    if not (own / "agency.key").exists():  # which is written last
        agency = issue_agency_ca(root, institution)
        shutil.rmtree(own, ignore_errors=True)
        _make_private(own)
        _write(own / "agency.crt", agency.certificate_pem)
        _write(own / "agency.key", agency.key_pem, 0o600)
    agency = read_certificate(own / "agency.crt", own / "agency.key")
    folder = node_folder(directory, node)
    _write_node(plan, node, folder, root, agency)
    config = plan.node_config(node, folder)
    _write(folder / "config.ini", dump_node_config(config))
    _write(folder / "nodes.json", _dump_peers(plan))


def write_joined(plan: Plan, directory: Path) -> None:
    """List the nodes that have joined, and tell all nodes their addresses for the next start."""
    rows = [[item.institution, item.side.name] for item in plan.joined]
    _write(joined_file(directory), json.dumps(rows) + "\n")
    for node in plan.nodes:
        if node_folder(directory, node).is_dir():
            _write(node_folder(directory, node) / "nodes.json", _dump_peers(plan))


def _read_joined(directory: Path) -> tuple[JoinedNode, ...]:
    path = joined_file(directory)
    if not path.exists():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(JoinedNode(name, Jurisdiction[side]) for name, side in rows)
        if not all(isinstance(item.institution, str) and item.institution for item in found):
            raise ValueError("an institution is not a name")
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f'{path}: damaged ({error}); it lists nodes that have joined, as [["name", "SZ"], …]'
        ) from error
    return found


def write_left(directory: Path, names: Iterable[str]) -> None:
    """List the nodes that the group has removed."""
    _write(left_file(directory), json.dumps(sorted(names)) + "\n")


def _read_left(directory: Path) -> tuple[str, ...]:
    path = left_file(directory)
    if not path.exists():
        return ()
    names = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{path}: damaged; it lists nodes that have left, as ["node3", …]')
    return tuple(names)


def _genesis_file(directory: Path) -> Path:
    """Return the genesis of the first node that has one; all have the same."""
    found = sorted((directory / HOST).glob("node*/config.genesis"))
    return found[0] if found else directory / HOST / "node0" / "config.genesis"


def _dump_peers(plan: Plan) -> str:
    return (
        json.dumps({"nodes": [f"{HOST}:{node.ports.p2p}" for node in plan.nodes]}, indent=2) + "\n"
    )


def write_engine(plan: Plan, directory: Path, engine: Engine) -> None:
    """Set the EVM that all nodes run from their next start on."""
    for node in plan.nodes:
        folder = node_folder(directory, node)
        config = replace(load_node_config(folder, node.name), evm=engine)
        _write(folder / "config.ini", dump_node_config(config))


def change_settings(directory: Path, spec_text: str, origin: Path) -> None:
    """Give the network in a folder another network file, which differs in what may change.

    Settings are written into each node's config.ini; what was changed there by hand stays if the
    file has it as before. The chain keeps the number that its transactions are signed for.

    Raises:
        ConfigError: a setting is made smaller that may only grow, or a file is damaged.
    """
    held, wanted = load_tree(directory), parse_spec(spec_text, origin)
    window, asked_window = (item.settings.pipeline_size for item in (held.spec, wanted))
    if asked_window < window:
        raise ConfigError(
            f"{origin}: pipeline_size {asked_window} is less than {window}, which this chain has "
            "had. It may only grow: a validator that loses its votes abstains for two windows, and "
            "would count on smaller ones than it has voted in"
        )
    chain_id = held.spec.settings.web3_chain_id
    text = set_values(spec_text, [f"web3_chain_id={chain_id}"])
    first, asked = build_plan(held.spec).ports, build_plan(wanted).ports
    ports = held.ports if first == asked else asked
    plan = replace(held, spec=parse_spec(text, origin), ports=ports)
    written: dict[Path, str] = {}  # first everything that may fail
    for node in plan.nodes:
        folder = node_folder(directory, node)
        before, after = (item.node_config(node, folder) for item in (held, plan))
        changed = {
            part.name: getattr(after, part.name)
            for part in fields(after)
            if getattr(before, part.name) != getattr(after, part.name)
        }
        config = replace(load_node_config(folder, node.name), **changed)
        written[folder / "config.ini"] = dump_node_config(config)
    for path, content in {**written, network_file(directory): text}.items():
        _write(path, content)
    write_ports(plan, directory)


def require_tree(directory: Path) -> None:
    """Raise `ConfigError` if a folder holds no network."""
    if not is_tree(directory):
        raise ConfigError(
            f"{directory}: no network here. Start one with `lowu up --dir {directory}`."
        )


def load_tree(directory: Path) -> Plan:
    """Return the plan of an existing tree; `ConfigError` if there is none."""
    require_tree(directory)
    source = network_file(directory)
    try:
        spec = parse_spec(source.read_text(encoding="utf-8"), source)
        ports = PortBlock(
            **json.loads((directory / META / "ports.json").read_text(encoding="utf-8"))
        )
        joined, left = _read_joined(directory), _read_left(directory)
        genesis_format = read_genesis_format(_genesis_file(directory))
        plan = Plan(spec, ports, joined, genesis_format, left)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{directory}: the network's files are damaged ({error})") from error
    if not plan.members:
        raise ConfigError(
            f"{left_file(directory)}: damaged; it lists all nodes, but a group cannot remove its "
            "last one. Take out the nodes that have not left"
        )
    return plan
