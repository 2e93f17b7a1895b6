"""The same consortium in virtual time: its disks are in memory, and a death is an exception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from lowu.consensus.messages import Message
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.types import Domain
from lowu.experiments.crashes.campaign import play_cells, prepare_text
from lowu.experiments.crashes.cells import Cell, Occasion
from lowu.experiments.crashes.matrix import PlayedCell
from lowu.node.app import Node
from lowu.node.client import RpcClient
from lowu.node.ledger.ledger import Ledger
from lowu.node.simulation.stack.vote_watch import VoteWatch
from lowu.node.simulation.virtual_network import VirtualNodes, open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.faults.fail_order import parse_order
from lowu.node.topology.plan import Plan, PlannedNode, build_plan
from lowu.node.topology.spec import parse_spec

STARTED_S = 30.0
SLOW_S = 0.3
"""Delay of all that a slowed node sends and hears."""


class _SentVotes:
    """What nodes send, held against what is on their disks, and against what they sent before."""

    def __init__(self, plan: Plan) -> None:
        self._watch = VoteWatch(Domain(plan.genesis.chain_id, plan.genesis.group_id))
        self._places = {node.name: place for place, node in enumerate(plan.nodes)}
        self.violations: list[str] = []

    def begin(self, name: str, node: Node) -> None:
        """Watch a node that is about to run."""
        if node.driver is not None:
            node.driver.on_send = partial(self._on_send, self._places[name], node.ledger)

    def _on_send(self, place: int, ledger: Ledger, message: Message) -> None:
        try:
            self._watch.on_send(place, ledger, message)
        except Violation as error:
            self.violations.append(str(error))

    def note_loss(self, name: str) -> None:
        """Note that a node has lost the votes that it has sent so far."""
        self._watch.on_wipe(self._places[name])


class VirtualConsortium:
    """A network in virtual time; see `Consortium`."""

    def __init__(self, network: VirtualNodes, watch: _SentVotes) -> None:
        self.plan: Plan = network.plan
        self.network = network
        self._watch = watch

    def client(self, node: PlannedNode) -> RpcClient:
        """Return a client of a node."""
        return self.network.client(node)

    async def start(self, name: str, fail: str = "") -> None:
        """Start a node, with an order or without."""
        self.network.failpoints[name].arm(parse_order(fail) if fail else None)
        with trio.fail_after(STARTED_S):
            await self.network.start(name)

    async def stop(self, name: str) -> None:
        """Stop a node."""
        await self.network.stop(name)

    async def is_up(self, name: str) -> bool:
        """Whether a node runs."""
        return name in self.network.nodes

    async def find_last_words(self, name: str) -> str:
        """Return why a node ended: here, only an order ends one."""
        return f"as ordered ({self.network.failpoints[name].last_failure})"

    def paused(self, name: str) -> AbstractAsyncContextManager[None]:
        """Have a node hear nothing, and nobody hear of it."""
        return self.network.paused(name)

    def slowed(self, name: str) -> AbstractAsyncContextManager[None]:
        """Have a node's links be slow."""
        return self.network.slow(SLOW_S, name)

    async def lose_trace(self, name: str) -> None:
        """Lose the trace of a stopped node's last vote."""
        self.network.lose_trace(name)
        self._watch.note_loss(name)

    async def wipe(self, name: str) -> None:
        """Lose the records of a stopped node; the trace of its votes stays."""
        self.network.wipe(name)
        self._watch.note_loss(name)

    def take_violations(self) -> list[str]:
        """Return votes that were not durable when they were sent, or contradict earlier ones."""
        found = self._watch.violations[:]
        self._watch.violations.clear()
        return found

    async def damage(self, name: str) -> None:
        """Refuse: memory has no files."""
        raise NotImplementedError(f"the database of {name} is in memory, and has no files")


@asynccontextmanager
async def open_in_virtual_time(
    plan: Plan, fails: Mapping[str, str], seed: int = 0
) -> AsyncIterator[VirtualConsortium]:
    """Run a plan's nodes for the duration of the block; use it inside `run_virtual`."""
    orders = {name: parse_order(text) for name, text in fails.items()}
    watch = _SentVotes(plan)
    async with open_virtual(plan, seed, orders=orders, on_node=watch.begin) as network:
        yield VirtualConsortium(network, watch)


def play_in_virtual_time(
    text: str, cells: Sequence[Cell], note: Callable[[PlayedCell], None], seed: int = 0
) -> None:
    """Play cells in virtual time; a database in memory cannot be damaged, so those are left out."""
    plan = build_plan(parse_spec(prepare_text(text), Path("crashes")))
    chosen = [cell for cell in cells if cell.occasion is not Occasion.DAMAGED]
    open_network = partial(open_in_virtual_time, plan, seed=seed)
    run_virtual(seed, partial(play_cells, open_network, chosen, note))
