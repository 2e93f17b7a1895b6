"""``lowu snapshot save | load``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from lowu.options import EXISTING, FILE, directory_option, json_option, name_folder, quote
from lowu.output import Progress, say


@click.group()
def snapshot() -> None:
    """Save a whole network as one file, and begin from one.

    It has all keys, and the documents of desks and wallets: keep it as you keep those.
    """


@snapshot.command()
@click.argument("path", type=FILE)
@directory_option
@json_option
def save(path: Path, directory: Path, is_json: bool) -> None:
    """Write the network in a folder to PATH. Its nodes are stopped meanwhile, and started again."""
    from lowu.node.errors import ConfigError
    from lowu.node.topology.control import Control, NotRunning
    from lowu.node.topology.tree import require_tree
    from lowu.node.topology.upkeep.archive import save_network

    require_tree(directory)
    if path.resolve().is_relative_to(directory.resolve()):
        raise click.UsageError(f"{path} is in the network's own folder; choose another place")
    if path.exists():
        raise ConfigError(f"{path}: exists already; choose another name, or remove it")
    parent = path.absolute().parent
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: {parent} does not exist, or cannot be written to")
    progress, control = Progress(is_silent=is_json), Control(directory)
    try:
        running = [item["name"] for item in control.order("status") if item["pid"] is not None]
    except NotRunning:
        running = []
    try:
        if running:
            progress(f"stopping {len(running)} nodes")
            control.order("stop", running)
        manifest = save_network(directory, path, lambda name: progress(f"writing {name}"))
    finally:
        if running:
            control.order("start", running)
            control.wait_until_settled(running)
    size = path.stat().st_size
    again = f"; {len(running)} nodes run again" if running else ""
    say(
        f"{manifest.network} with {manifest.nodes} nodes is in {path}, {size / 1024**2:.1f} MiB"
        f"{again}\n"
        f"next: lowu snapshot load {quote(path)} --dir FOLDER",
        is_json=is_json,
        path=str(path),
        bytes=size,
        network=manifest.network,
        nodes=manifest.nodes,
        was_running=bool(running),
    )


@snapshot.command()
@click.argument("path", type=EXISTING)
@directory_option
@json_option
def load(path: Path, directory: Path, is_json: bool) -> None:
    """Unpack PATH into a new folder; `lowu up` then goes on from it."""
    from lowu.node.topology.upkeep.archive import load_network

    manifest = load_network(path, directory)
    written = datetime.fromtimestamp(manifest.written_s, UTC).isoformat(timespec="minutes")
    say(
        f"{manifest.network} of {written} is in {directory}\nnext: lowu up{name_folder(directory)}",
        is_json=is_json,
        network=manifest.network,
        nodes=manifest.nodes,
        chain_id=manifest.chain_id,
        written_s=manifest.written_s,
    )
