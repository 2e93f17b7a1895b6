"""The bodies of proposals: kept in memory until their block is committed, and on disk.

Before this node votes for a proposal it must hold all of its transactions on disk: what is
ordered may have to be executed after every node has restarted.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.ledger.ledger import Ledger


class BodyStore:
    """Transactions of the proposals above the head, by the proposal's digest."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._bodies: dict[bytes, tuple[int, tuple[Transaction, ...]]] = {}
        self.changed = trio.Event()
        """Set when another body is there, and then replaced."""

    def save(self, height: int, digest: bytes, transactions: Sequence[Transaction]) -> None:
        """Make the body of a proposal durable."""
        self._ledger.save_proposal(height, digest, (item.raw for item in transactions))
        self._remember(height, digest, tuple(transactions))

    def _remember(self, height: int, digest: bytes, found: tuple[Transaction, ...]) -> None:
        self._bodies[digest] = (height, found)
        self.changed.set()
        self.changed = trio.Event()

    def get(self, height: int, digest: bytes) -> tuple[Transaction, ...] | None:
        """Return the transactions of a proposal if this node holds them."""
        known = self._bodies.get(digest)
        if known is not None:
            return known[1]
        stored = self._ledger.load_proposal(height, digest)
        if stored is None:
            return None
        found = tuple(decode_transaction(raw) for raw in stored)
        self._remember(height, digest, found)
        return found

    def read_raw(self, height: int, digest: bytes) -> list[bytes] | None:
        """Return a proposal's transactions as bytes, without keeping what is on disk only."""
        known = self._bodies.get(digest)
        if known is not None:
            return [item.raw for item in known[1]]
        stored = self._ledger.load_proposal(height, digest)
        return list(stored) if stored is not None else None

    def held(self) -> dict[bytes, Transaction]:
        """Return all transactions in memory by their hash."""
        return {item.hash: item for _, body in self._bodies.values() for item in body}

    def is_next(self, height: int) -> bool:
        """Whether everything below a height is committed."""
        return height == self._ledger.head.number + 1

    def in_flight(self, height: int, ancestors: Sequence[bytes]) -> list[Transaction] | None:
        """Return the transactions of uncommitted ancestors of `height`; None if unknown."""
        if height - len(ancestors) > self._ledger.head.number + 1:
            return None  # a height below has no proposal here yet
        found: list[Transaction] = []
        for offset, digest in enumerate(ancestors):
            at = height - len(ancestors) + offset
            if at <= self._ledger.head.number:
                continue
            body = self.get(at, digest)
            if body is None:
                return None
            found += body
        return found

    def on_block(self, height: int) -> None:
        """Forget bodies at or below a committed height."""
        for digest, (known, _) in list(self._bodies.items()):
            if known <= height:
                del self._bodies[digest]
