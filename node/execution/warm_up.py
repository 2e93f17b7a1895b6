"""Run each engine once: the first call of a process takes ten times as long as the next.

Nodes are forked from a process that has done so. Else a node's first callers would be taken for
callers of long calls.
"""

from __future__ import annotations

from node.chain.transaction import build_unsigned
from node.config import Engine
from node.execution.evm import BlockContext
from node.execution.executor import call
from node.execution.flat_state import EmptyState

_CODE = bytes.fromhex("600a5b60019003806002575f355f5560205f205060205ff3")
"""Loops a few times, reads, writes and hashes."""


class _NoWatch:
    """Lets everything go on."""

    def tick(self) -> None:
        """Go on."""

    def expect_long(self) -> None:
        """Go on."""


def warm_up() -> None:
    """Run a call in each engine, as a client's."""
    for engine in (Engine.COMPILED, Engine.INTERPRETED):
        context = BlockContext(1, 1, 1_000_000, 1, lambda number: None, engine)
        template = build_unsigned(bytes(20), b"", _CODE, gas=500_000)
        for _ in range(3):
            call(EmptyState(), context, template, _NoWatch())
