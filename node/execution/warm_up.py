"""Run each engine once: the first call of a process takes ten times as long as the next.

Nodes are forked from a process that has done so. Otherwise the calls of a node's first clients
would be treated as long calls.
"""

from __future__ import annotations

from lowu.node.chain.transaction import build_unsigned
from lowu.node.config import Engine
from lowu.node.execution.evm import BlockContext
from lowu.node.execution.executor import call
from lowu.node.execution.flat_state import EmptyState

_CODE = bytes.fromhex("600a5b60019003806002575f355f5560205f205060205ff3")
"""Code that loops a few times, then reads, writes and hashes."""


class _NoWatch:
    """Lets every call continue."""

    def tick(self) -> None:
        """Continue."""

    def expect_long(self) -> None:
        """Continue."""


def warm_up() -> None:
    """Run a client's call in each engine."""
    for engine in (Engine.COMPILED, Engine.INTERPRETED):
        context = BlockContext(1, 1, 1_000_000, 1, lambda number: None, engine)
        template = build_unsigned(bytes(20), b"", _CODE, gas=500_000)
        for _ in range(3):
            call(EmptyState(), context, template, _NoWatch())
