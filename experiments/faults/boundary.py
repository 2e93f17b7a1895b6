"""Routes the links across the boundary through relays that can be cut and healed.

Each node's ``nodes.json`` names one of these relays for every node of another side, so that all
bytes in both directions pass through it; TLS bytes are forwarded unchanged. A cut is silence: as
with a cut cable, nothing is refused or closed, and bytes sent meanwhile arrive once it heals.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from lowu.node.topology.control import Control
from lowu.node.topology.plan import HOST, Plan
from lowu.node.topology.tree import node_folder

RECEIVE_BYTES = 64 * 1024


class Boundary:
    """The boundary between the sides: open or cut, with a count of the bytes passed."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self.bytes_passed = 0

    def cut(self) -> None:
        """Let nothing pass."""
        self._open = trio.Event()

    def heal(self) -> None:
        """Let everything pass again, held bytes first."""
        self._open.set()

    async def relay(self, port: int, stream: trio.SocketStream) -> None:
        """Relay one connection to a port, in both directions, until either end closes it."""
        async with stream:
            await self._open.wait()
            try:
                onward = await trio.open_tcp_stream(HOST, port)
            except OSError:
                return  # that node is down; the caller tries again
            async with onward, trio.open_nursery() as nursery:
                for source, sink in ((stream, onward), (onward, stream)):
                    nursery.start_soon(self._pass_on, source, sink, nursery.cancel_scope)

    async def _pass_on(
        self, source: trio.SocketStream, sink: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(RECEIVE_BYTES):
                await self._open.wait()
                await sink.send_all(data)
                self.bytes_passed += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        connection.cancel()


@asynccontextmanager
async def relayed_boundary(plan: Plan, directory: Path) -> AsyncIterator[Boundary]:
    """Route a running network's links between sides through relays while in the context.

    All nodes are restarted at its start and end, because they read their peers when they start.
    """
    boundary = Boundary()
    async with trio.open_nursery() as nursery:
        relays = {}
        for node in plan.nodes:
            serve = partial(boundary.relay, node.ports.p2p)
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
            relays[node] = listener.socket.getsockname()[1]
        files = {node: node_folder(directory, node) / "nodes.json" for node in plan.nodes}
        before = {path: path.read_text(encoding="utf-8") for path in files.values()}
        for node, path in files.items():
            ports = [
                other.ports.p2p if other.side is node.side else relays[other]
                for other in plan.nodes
            ]
            path.write_text(
                json.dumps({"nodes": [f"{HOST}:{port}" for port in ports]}), encoding="utf-8"
            )
        try:
            await _restart(directory)
            yield boundary
        finally:
            for path, text in before.items():
                path.write_text(text, encoding="utf-8")
            boundary.heal()
            with trio.CancelScope(shield=True):
                await _restart(directory)
        nursery.cancel_scope.cancel()


async def _restart(directory: Path) -> None:
    control = Control(directory)
    await trio.to_thread.run_sync(control.order, "restart")
    await trio.to_thread.run_sync(control.wait_until_settled)
