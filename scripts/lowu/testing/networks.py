"""Networks for other people's tests: as processes, or in one process and virtual time.

Both run an async function with the institutions of a network (`Actors`) and can take nodes down;
only virtual networks can also slow nodes and cut links. Usable without the pytest plugin.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TypeVar

import click
import trio

from lowu.contracts.registry import Jurisdiction
from lowu.experiments.actors.actors import Actors, open_actors
from lowu.node.errors import ConfigError
from lowu.node.simulation.virtual_network import VirtualNodes, open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.control import Control
from lowu.node.topology.network import bring_up
from lowu.node.topology.plan import Plan, build_plan
from lowu.node.topology.spec import parse_spec
from lowu.options import read_network
from lowu.temporary import temporary_network_folder

T = TypeVar("T")


@contextmanager
def running_network(network: str = "seed-7") -> Iterator[ProcessNetwork]:
    """Context manager: a network of processes in a temporary folder, removed at the end.

    Args:
        network: the name of a bundled network, or the path of a network file.
    """
    with temporary_network_folder("network") as folder:
        running = ProcessNetwork(network, folder)
        running.start()
        yield running


def load_plan(network: str) -> Plan:
    """Return the plan of a bundled network or of a network file."""
    try:
        text, path = read_network(network)
    except click.UsageError as error:
        raise ConfigError(error.message) from error
    return build_plan(parse_spec(text, path))


class VirtualFaults:
    """Faults of a virtual network, while a function runs on it."""

    def __init__(self, network: VirtualNodes) -> None:
        self._network = network

    @asynccontextmanager
    async def down(self, *nodes: str) -> AsyncIterator[None]:
        """Keep nodes down, by ``nodeN`` or by institution; then they start again."""
        async with self._network.down(*nodes):
            yield

    @asynccontextmanager
    async def slow(self, delay_s: float, *nodes: str) -> AsyncIterator[None]:
        """Delay all bytes from and to nodes by at least `delay_s`, so that they lag behind."""
        async with self._network.slow(delay_s, *nodes):
            yield

    @asynccontextmanager
    async def cut(self, first: Jurisdiction, second: Jurisdiction) -> AsyncIterator[None]:
        """Cut all links between two sides; then they heal."""
        async with self._network.cut(first, second):
            yield


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
                return await function(actors, VirtualFaults(network))

        return run_virtual(self.seed, main)


class ProcessFaults:
    """Faults of a network of processes."""

    def __init__(self, network: ProcessNetwork) -> None:
        self._network = network

    @asynccontextmanager
    async def down(self, *nodes: str) -> AsyncIterator[None]:
        """Kill nodes (SIGKILL), by ``nodeN`` or by institution; then start them again.

        Afterwards they answer, but may still fetch blocks that they missed.
        """
        chosen = []
        for name in nodes:
            planned = self._network.plan.find_node(name)
            if planned is None:
                raise KeyError(f"no node {name!r}; there are {self._network.plan.node_names}")
            chosen.append(planned.name)
        control = Control(self._network.folder)
        await trio.to_thread.run_sync(control.order, "kill", chosen)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(control.start, chosen)


class ProcessNetwork:
    """A network of real processes, with TLS and disks, that many tests share."""

    def __init__(self, network: str, folder: Path) -> None:
        self.folder = folder
        self._network = network
        self._plan: Plan | None = None

    def start(self) -> None:
        """Start the nodes; return once a quorum has committed a block."""
        text, origin = read_network(self._network)
        up = trio.run(bring_up, self.folder, text, origin, lambda text: None)
        self._plan = up.plan

    def stop(self) -> None:
        """Stop the nodes."""
        Control(self.folder).down()

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
                return await function(actors, ProcessFaults(self))

        return trio.run(main)
