"""What an experiment runs on: a fresh network of processes, or one in virtual time."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Protocol

import click
import trio

from lowu.commands.experiment.command import experiments_folder
from lowu.commands.experiment.live_view import RunView
from lowu.contracts.account import Account
from lowu.contracts.named import printable
from lowu.experiments.load.planned.experiment_file import Experiment
from lowu.experiments.load.run import LoadRun, run_once
from lowu.experiments.load.target import check_target, run_on_target
from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError
from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.errors import ConfigError
from lowu.node.simulation.costs import CostModel, parse_costs
from lowu.node.simulation.simulated_machine import Machine
from lowu.node.topology.toml_reader import FILE_BYTES_MAX
from lowu.node.topology.upkeep.archive import is_archive
from lowu.options import read_or_saved
from lowu.temporary import temporary_network_folder

LOCAL, SIM, TARGET = "local", "sim", "target"
KEY_BYTES_MAX = 1_024


class Provider(Protocol):
    """Plays runs."""

    is_virtual: bool
    """Whether the same run gives the same files, whenever and wherever it is played."""

    def play(self, item: Experiment, number: int, view: RunView) -> LoadRun:
        """Play one run."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what a repetition needs to know, as a JSON value."""
        ...


class LocalProvider:
    """A temporary network of processes for each run."""

    is_virtual = False

    def play(self, item: Experiment, number: int, view: RunView) -> LoadRun:
        """Start a network, offer the load, and stop it."""
        text, origin = read_or_saved(item.network)
        view.tell("starting the network")
        with temporary_network_folder("experiment") as folder:

            async def main() -> LoadRun:
                return await run_once(
                    item,
                    text,
                    origin,
                    folder,
                    number,
                    tell=view.tell,
                    watch=view.note,
                    watch_all=view.note_nodes if view.watches_nodes else None,
                )

            return trio.run(main)

    def describe(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": LOCAL}


class SimulatedProvider:
    """A network in virtual time, whose work costs what a model says."""

    is_virtual = True

    def __init__(self, model: CostModel) -> None:
        self.model = model

    def play(self, item: Experiment, number: int, view: RunView) -> LoadRun:
        """Play a run in virtual time."""
        from lowu.commands.experiment.simulating import simulate_once

        root = logging.getLogger()
        if not root.handlers:  # nodes' warnings, of which faults make many, are not the user's
            root.addHandler(logging.NullHandler())
        text, origin = read_or_saved(item.network)
        if is_archive(origin):
            raise ConfigError(
                f'{origin}: a saved network goes on as processes only; choose provider = "local"'
            )
        return simulate_once(
            item, text, origin, Machine(self.model), number, tell=view.tell, watch=view.note
        )

    def describe(self) -> dict[str, Any]:
        """Return its name and its costs."""
        return {"name": SIM, "costs": self.model.to_json()}


class TargetProvider:
    """A system that is there already."""

    is_virtual = False

    def __init__(self, urls: tuple[str, ...], funder: bytes | None) -> None:
        self._urls = urls
        self._funder = funder

    def play(self, item: Experiment, number: int, view: RunView) -> LoadRun:
        """Offer the load to it."""

        async def main() -> LoadRun:
            return await run_on_target(
                item, self._urls, self._funder, number, tell=view.tell, watch=view.note
            )

        try:
            return trio.run(main)
        except (ClientError, RemoteError, ValueError, TypeError, KeyError) as error:
            raise click.ClickException(f"{self._urls[0]}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Return its URLs."""
        return {"name": TARGET, "urls": list(self._urls)}


def choose_target(
    experiments: tuple[Experiment, ...], urls: tuple[str, ...], funder: Path | None
) -> Provider:
    """Return the provider that offers load to a system that is there already.

    Raises:
        click.UsageError: the experiment changes its network, or the funder's key cannot be read.
    """
    key = None
    try:
        for item in experiments:
            check_target(item)
        for url in urls:
            RpcClient(url)  # checks it
        if funder is not None:
            key = bytes.fromhex(
                read_given(funder, KEY_BYTES_MAX).decode().strip().removeprefix("0x")
            )
            Account(key)
    except (ValueError, FormError) as error:
        where = f"{funder}: no private key in hex" if funder and key is None else str(error)
        raise click.UsageError(where) from error
    return TargetProvider(urls, key)


def choose_provider(item: Experiment, name: str | None, costs: Path | None) -> Provider:
    """Return the provider that a command or an experiment names, the command first.

    Raises:
        click.UsageError: costs are given for processes, or cannot be read.
    """
    if (name or item.provider) == LOCAL:
        if costs is not None:
            raise click.UsageError("--costs is for runs in virtual time: add --provider sim")
        return LocalProvider()
    return SimulatedProvider(read_costs(costs or item.costs or experiments_folder() / "costs.json"))


def read_costs(path: Path) -> CostModel:
    """Return the cost model in a file; `click.UsageError` if there is none."""
    try:
        text = read_given(path, FILE_BYTES_MAX).decode()
        return parse_costs(text, str(path))
    except FormError as error:
        told = f"{path.parent / str(error)}; `lowu calibrate` writes a cost model"
        raise click.UsageError(told) from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: no cost model ({error}); `lowu calibrate`") from error
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def restore_provider(described: object) -> Provider:
    """Return the provider that a manifest describes; one of old describes none.

    Raises:
        click.UsageError: it is a target. Who has results from somebody else must not send load to a
            system that they name.
        ConfigError: its costs are damaged.
    """
    told = described if isinstance(described, dict) else {}
    if told.get("name", LOCAL) == LOCAL:
        return LocalProvider()
    if told["name"] == TARGET:
        raise click.UsageError(
            f"these results are of another system ({printable(str(told.get('urls')))}): run their "
            "experiment.toml, with --target"
        )
    return SimulatedProvider(parse_costs(json.dumps(told.get("costs")), "manifest.json: costs"))
