"""Properties of reliability.md section 5 as predicates over a running simulation.

Each checker is told what happens and raises `Violation` with the property's number at the
first event that breaks it. They know nothing of the replica's inside.
"""

from __future__ import annotations

from consensus.certificates import Verifier
from consensus.errors import InvalidMessage
from consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    Message,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
)
from consensus.records import Record, ViewRecord, VoteKind, VoteRecord, record_key
from consensus.types import ZERO_HASH, Hash32, Height, NodeIndex, View


class Violation(Exception):
    """A property was broken; the text begins with its number."""


class ChainChecker:
    """P01 agreement, P02 prefix and no gaps, P04 certificates, P13 nothing committed is lost."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.blocks: dict[Height, tuple[Hash32, Hash32]] = {
            0: (verifier.genesis.digest, verifier.genesis.block_hash)
        }
        self._heights: dict[NodeIndex, Height] = {}

    def on_commit(
        self, node: NodeIndex, certificate: CommitCertificate, proposal: Proposal
    ) -> None:
        """A node made a block durable."""
        height = certificate.height
        if height != self._heights.get(node, 0) + 1:
            raise Violation(f"P02 node {node} committed {height} out of order")
        self._heights[node] = height
        try:
            self._verifier.verify_commit(certificate)
        except InvalidMessage as error:
            raise Violation(f"P04 node {node} height {height}: {error}") from error
        known = self.blocks.setdefault(height, (certificate.digest, certificate.block_hash))
        if known != (certificate.digest, certificate.block_hash):
            raise Violation(f"P01 two blocks at height {height} (node {node})")
        if proposal.previous != self.blocks[height - 1][0]:
            raise Violation(f"P02 height {height} does not extend the block below")

    def on_restart(self, node: NodeIndex, height: Height) -> None:
        """A node came back with a durable head."""
        if height != self._heights.get(node, 0):
            raise Violation(f"P13 node {node} came back at {height}, had {self._heights[node]}")


class VoteChecker:
    """P05 no equivocation, P07 view-change discipline, P14 no vote before it is durable."""

    def __init__(self) -> None:
        self._votes: dict[tuple[NodeIndex, VoteKind, Height, View], tuple[Hash32, Hash32]] = {}
        self._left: dict[NodeIndex, View] = {}

    def on_send(
        self,
        node: NodeIndex,
        message: Message,
        digest: Hash32,
        durable: dict[bytes, Record],
    ) -> None:
        """A node put a message on the wire; `digest` is that of a PRE-PREPARE's proposal."""
        match message:
            case PrePrepare(view=view, proposal=proposal):
                self._check(
                    node,
                    VoteRecord(VoteKind.PRE_PREPARE, proposal.height, view, digest, ZERO_HASH),
                    durable,
                )
            case Prepare(view=view, height=height, digest=voted):
                self._check(
                    node, VoteRecord(VoteKind.PREPARE, height, view, voted, ZERO_HASH), durable
                )
            case Commit(view=view, height=height, digest=voted):
                self._check(
                    node, VoteRecord(VoteKind.COMMIT, height, view, voted, ZERO_HASH), durable
                )
            case Checkpoint(height=height, digest=voted, block_hash=block_hash):
                self._check(
                    node, VoteRecord(VoteKind.CHECKPOINT, height, 0, voted, block_hash), durable
                )
            case ViewChange(view=view):
                self._left[node] = max(view, self._left.get(node, 0))
                record = durable.get(b"view")
                if not isinstance(record, ViewRecord) or record.to_view < view:
                    raise Violation(
                        f"P14 node {node} sent VIEW-CHANGE {view} before it was durable"
                    )

    def _check(self, node: NodeIndex, vote: VoteRecord, durable: dict[bytes, Record]) -> None:
        key = (node, vote.kind, vote.height, vote.view)
        result = (vote.digest, vote.block_hash)
        is_first = key not in self._votes
        if self._votes.setdefault(key, result) != result:
            raise Violation(f"P05 node {node} signed two {vote.kind.name} at {key[2:]}")
        if not is_first:
            return
        if vote.kind is not VoteKind.CHECKPOINT and vote.view < self._left.get(node, 0):
            raise Violation(f"P07 node {node} voted in view {vote.view} after leaving it")
        stored = durable.get(record_key(vote))
        if stored != vote:
            raise Violation(
                f"P14 node {node} sent {vote.kind.name} {key[2:]} before it was durable"
            )
