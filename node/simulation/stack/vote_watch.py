"""Checks on votes across crashes: no two that conflict (P05), none before it is durable (P14)."""

from __future__ import annotations

from collections.abc import Iterable

from lowu.consensus.codec import compute_digest
from lowu.consensus.messages import Message, PrePrepare, ViewChange
from lowu.consensus.records import Record, ViewRecord, VoteKind, VoteRecord, record_key
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.checking.vote_checker import vote_of
from lowu.consensus.types import ZERO_HASH, Domain
from lowu.node.ledger.ledger import Ledger


class VoteWatch:
    """Remembers every vote of a cluster, even those that its nodes lose."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._votes: dict[tuple[int, VoteKind, int, int, int], tuple[bytes, bytes]] = {}
        """By node, kind, height, epoch and view: votes of earlier epochs bind nobody."""
        self._lost: dict[int, int] = {}
        """Highest height that a node had voted at when its disk was lost."""
        self._asked: dict[int, tuple[int, int]] = {}
        """Highest view that a node has sent a VIEW-CHANGE for, after its epoch."""

    def on_send(self, node: int, ledger: Ledger, message: Message, epoch: int = 1) -> None:
        """Check a message that a node is about to send in an epoch, named by its first height."""
        if isinstance(message, ViewChange):
            views = [item for item in ledger.load_records() if isinstance(item, ViewRecord)]
            asked = epoch, message.view
            if not views or (views[0].epoch, views[0].to_view) < asked:
                raise Violation(f"P14 node {node} sends VIEW-CHANGE {message.view}: not durable")
            self._asked[node] = max(asked, self._asked.get(node, (0, 0)))
            return
        digest = ZERO_HASH
        if isinstance(message, PrePrepare):
            digest = compute_digest(self._domain, message.proposal)
        vote = vote_of(epoch, message, digest)
        if vote is None:
            return
        if vote.height <= self._lost.get(node, 0):
            raise Violation(f"P05 node {node} votes at {vote.height}, where its votes are lost")
        key = (node, vote.kind, vote.height, epoch, vote.view)
        if self._votes.setdefault(key, (vote.digest, vote.block_hash)) != (
            vote.digest,
            vote.block_hash,
        ):
            raise Violation(f"P05 node {node} signs two {vote.kind.name} at {key[2:]}")
        stored = {record_key(item): item for item in ledger.load_records()}
        is_settled = vote.height <= ledger.head.number
        if not is_settled and stored.get(record_key(vote)) != vote:
            raise Violation(f"P14 node {node} sends {vote.kind.name} {key[2:]}: not durable")

    def on_wipe(self, node: int) -> None:
        """Note that a node has lost its votes: it must not vote at those heights (R-WIPE-1)."""
        heights = [height for at, _, height, _, _ in self._votes if at == node]
        self._lost[node] = max(heights, default=0)

    def has_lost(self, node: int, head: int, records: Iterable[Record]) -> bool:
        """Whether a node's disk lacks the record of any vote or view change that it has sent."""
        known = list(records)
        votes = {(item.kind, item.height): item for item in known if isinstance(item, VoteRecord)}
        views = [item for item in known if isinstance(item, ViewRecord)]
        asked = max(((item.epoch, item.to_view) for item in views), default=(0, -1))
        for at, kind, height, epoch, view in self._votes:
            if at == node and height > head:
                vote = votes.get((kind, height))
                if vote is None or (vote.epoch, vote.view) < (epoch, view):
                    return True
        return asked < self._asked.get(node, (0, 0))
