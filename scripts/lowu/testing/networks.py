"""Networks for other people's tests: as processes, or in one process and virtual time.

Both run an async function with the institutions of a network (`Actors`) and can take nodes down;
only virtual networks can also slow nodes and cut links. Usable without the pytest plugin.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TypeVar

import click
import trio

from lowu.experiments.actors.actors import Actors, open_actors
from lowu.experiments.faults.relays import Relays
from lowu.node.errors import ConfigError
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.control import Control
from lowu.node.topology.network import bring_up
from lowu.node.topology.plan import Plan, build_plan
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.supervisor_files import network_file
from lowu.node.topology.upkeep.archive import is_archive, load_network
from lowu.options import read_network
from lowu.temporary import temporary_network_folder
from lowu.testing.network_faults import ProcessFaults, VirtualFaults
from lowu.testing.playing import call, plain_errors

T = TypeVar("T")


@contextmanager
def running_network(network: str = "seed-7") -> Iterator[ProcessNetwork]:
    """Context manager: a network of processes in a temporary folder, removed at the end.

    Args:
        network: the name of a bundled network, the path of a network file, or that of a file that
            `lowu snapshot save` has written: then the network goes on from there.
    """
    with temporary_network_folder("network") as folder:
        running = ProcessNetwork(network, folder)
        try:
            running.start()
            yield running
        finally:
            running.stop()


def load_plan(network: str) -> Plan:
    """Return the plan of a bundled network or of a network file."""
    if is_archive(Path(network)):
        raise ConfigError(
            f"{network}: a saved network goes on as processes only; use lowu_processes, or "
            "lowu.running_network"
        )
    try:
        text, path = read_network(network)
    except click.UsageError as error:
        raise ConfigError(error.message) from None
    return build_plan(parse_spec(text, path))


def draw_bytes(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes that follow from a seed: no secret, and the same in every run."""
    return Random(f"lowu actors {seed}").randbytes  # noqa: S311  (simulation)


class VirtualNetwork:
    """A network in virtual time, created fresh for each function that runs on it."""

    def __init__(self, network: str, seed: int = 0) -> None:
        self.plan = load_plan(network)
        self.seed = seed

    def play(self, function: Callable[[Actors, VirtualFaults], Awaitable[T]]) -> T:
        """Run an async function with a fresh network; return what it returns."""

        async def main() -> T:
            async with (
                open_virtual(self.plan, self.seed) as network,
                open_actors(
                    self.plan, network.now_s, network.client, draw_bytes(self.seed)
                ) as actors,
            ):
                return await call(function, actors, VirtualFaults(network))

        with plain_errors():
            return run_virtual(self.seed, main)


class ProcessNetwork:
    """A network of real processes, with TLS and disks, that many tests share."""

    def __init__(self, network: str, folder: Path) -> None:
        self.folder = folder
        self._network = network
        self._plan: Plan | None = None
        self._relays: Relays | None = None

    def start(self) -> None:
        """Start the nodes; return once a quorum has committed a block."""
        if is_archive(Path(self._network)):
            load_network(Path(self._network), self.folder)
            text, origin = read_network(str(network_file(self.folder)))
        else:
            text, origin = read_network(self._network)
        up = trio.run(bring_up, self.folder, text, origin, lambda text: None)
        self._plan = up.plan

    def stop(self) -> None:
        """Stop the nodes."""
        Control(self.folder).down()
        relays, self._relays = self._relays, None
        if relays is not None:
            relays.stop(is_restarting=False)

    @property
    def plan(self) -> Plan:
        """The network, with the ports it uses."""
        if self._plan is None:
            raise RuntimeError("the network has not been started")
        return self._plan

    @cached_property
    def urls(self) -> dict[str, str]:
        """The nodes' JSON-RPC URLs, by institution."""
        return {item.spec.id: item.node.url for item in self.plan.institutions}

    def play(self, function: Callable[[Actors, ProcessFaults], Awaitable[T]]) -> T:
        """Run an async function with the network's institutions; return what it returns."""

        async def main() -> T:
            async with open_actors(self.plan, lambda: int(time.time())) as actors:
                faults = ProcessFaults(self.plan, self.folder, self._route)
                return await call(function, actors, faults)

        with plain_errors():
            return trio.run(main)

    def _route(self) -> Relays:
        """Return the relays of all links; at the first call, the links are routed through them."""
        if self._relays is None:
            relays = Relays(self.plan, self.folder)
            try:
                relays.start()
            except BaseException:
                relays.stop(is_restarting=False)
                raise
            self._relays = relays
        return self._relays
