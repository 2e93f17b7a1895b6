"""A running consortium whose nodes can be made to fail: what the matrix and the kills work on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import trio

from lowu.node.client import RpcClient
from lowu.node.topology.control import Control
from lowu.node.topology.network import prepare
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.ports import reserve_ports
from lowu.node.topology.tree import node_folder

SNAPSHOT_BLOCKS = 64
NETWORK_SETTINGS = {
    "allow_lies": "true",
    "leader_period": "10",
    "pipeline_size": "2",
    "consensus_timeout_ms": "500",
    "snapshot_blocks": str(SNAPSHOT_BLOCKS),
}
"""A leader keeps its turn for some blocks, so that one can say what a node does while it leads; a
short pipeline, so that a node that has lost its votes abstains for a few blocks only; states often
enough for a node that has lost its database, and too rarely for one that has missed some blocks."""
TRACE = "last_vote"
"""The file of the trace, in a node's folder (`node/ledger/vote_trace.py`)."""
STUTTER_S = 0.08, 0.02
"""For how long a slowed process stands, and goes, in turn."""
CALL_S = 5.0
"""How long a client waits for an answer."""


class Consortium(Protocol):
    """What the matrix needs of a network; one of processes, or one in virtual time."""

    plan: Plan

    def client(self, node: PlannedNode) -> RpcClient:
        """Return a client of a node."""
        ...

    async def start(self, name: str, fail: str = "") -> None:
        """Start a node; it fails at a step if there is an order."""
        ...

    async def stop(self, name: str) -> None:
        """Stop a node in an orderly way."""
        ...

    async def is_up(self, name: str) -> bool:
        """Whether a node runs."""
        ...

    async def find_last_words(self, name: str) -> str:
        """Return what a node that has failed has said last."""
        ...

    def take_violations(self) -> list[str]:
        """Return what nodes have sent since the last call that they must not, if that is seen."""
        ...

    def paused(self, name: str) -> AbstractAsyncContextManager[None]:
        """Have a node do nothing while in the context."""
        ...

    def slowed(self, name: str) -> AbstractAsyncContextManager[None]:
        """Have a node be behind the others while in the context, and answer."""
        ...

    async def lose_trace(self, name: str) -> None:
        """Remove the trace of a stopped node's last vote."""
        ...

    async def wipe(self, name: str) -> None:
        """Remove the database of a stopped node."""
        ...

    async def damage(self, name: str) -> None:
        """Have the database of a stopped node be none that can be opened."""
        ...


class ProcessConsortium:
    """A network of processes, in a folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self._folder = folder
        self._control = Control(folder)

    def client(self, node: PlannedNode) -> RpcClient:
        """Return a client of a node."""
        return RpcClient(node.url, timeout_s=CALL_S)

    async def start(self, name: str, fail: str = "") -> None:
        """Start a node; return once it answers, or has ended."""

        def start() -> None:
            self._control.order("start", [name], fail)
            self._control.wait_until_settled([name])

        await trio.to_thread.run_sync(start)

    async def stop(self, name: str) -> None:
        """Stop a node by SIGTERM."""
        await self._order("stop", name)

    async def kill(self, name: str) -> None:
        """Stop a node by SIGKILL."""
        await self._order("kill", name)

    async def is_up(self, name: str) -> bool:
        """Whether a node's process runs."""
        return (await self._order("status", name))["pid"] is not None

    async def find_last_words(self, name: str) -> str:
        """Return the last lines that a node's process has printed."""
        text = (self._path(name) / "nohup.out").read_text(encoding="utf-8", errors="replace")
        return " ".join(text.splitlines()[-2:])

    def take_violations(self) -> list[str]:
        """Return nothing: what processes send is not seen, but by one another."""
        return []

    @asynccontextmanager
    async def paused(self, name: str) -> AsyncIterator[None]:
        """Stop a node's process by SIGSTOP; let it go on afterwards, if it still runs."""
        pid = (await self._order("status", name))["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def slowed(self, name: str) -> AsyncIterator[None]:
        """Stop a node's process most of the time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stutter, name)
            yield
            nursery.cancel_scope.cancel()

    async def _stutter(self, name: str) -> None:
        while True:
            async with self.paused(name):
                await trio.sleep(STUTTER_S[0])
            await trio.sleep(STUTTER_S[1])

    async def lose_trace(self, name: str) -> None:
        """Remove the file of a stopped node's trace."""
        (self._path(name) / TRACE).unlink()

    async def wipe(self, name: str) -> None:
        """Remove the folder of a stopped node's database; the trace of its votes stays."""
        await trio.to_thread.run_sync(shutil.rmtree, self._path(name) / "data")

    async def damage(self, name: str) -> None:
        """Overwrite the file that names the engine's tables; drop what earlier damage left."""
        for kept in self._path(name).glob("data.damaged-*"):
            await trio.to_thread.run_sync(shutil.rmtree, kept)
        (self._path(name) / "data" / "CURRENT").write_bytes(b"damaged")

    def _path(self, name: str) -> Path:
        (node,) = (item for item in self.plan.nodes if item.name == name)
        return node_folder(self._folder, node)

    async def _order(self, do: str, name: str) -> dict[str, Any]:
        (state,) = await trio.to_thread.run_sync(self._control.order, do, [name])
        return state


@asynccontextmanager
async def open_processes(
    text: str, folder: Path, fails: Mapping[str, str]
) -> AsyncIterator[ProcessConsortium]:
    """Start a network in a new folder for the duration of the block.

    `fails` are orders for nodes' first starts, by name.
    """
    control = Control(folder)

    def start() -> Plan:
        """Start the nodes that have no orders, on ports that no other network takes."""
        with reserve_ports(_say_nothing):
            plan = prepare(folder, text, Path("crashes"), _say_nothing)
            control.start_supervisor()
            control.order("start", [item.name for item in plan.nodes if item.name not in fails])
            return plan

    try:
        plan = await trio.to_thread.run_sync(start)
        consortium = ProcessConsortium(plan, folder)
        for name, order in fails.items():
            await consortium.start(name, order)
        await trio.to_thread.run_sync(control.wait_until_settled)
        yield consortium
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(control.down)


def _say_nothing(text: str) -> None:
    pass


async def read_consensus(consortium: Consortium, node: PlannedNode) -> dict[str, Any]:
    """Return what a node says of its consensus; `ClientError` if it does not answer."""
    async with consortium.client(node) as client:
        found: dict[str, Any] = json.loads(await client.call("getConsensusStatus"))
        return found
