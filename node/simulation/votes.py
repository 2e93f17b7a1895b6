"""What nodes sign, watched over crashes: no two votes (P05), none ahead of the disk (P14)."""

from __future__ import annotations

from consensus.codec import compute_digest
from consensus.messages import Checkpoint, Commit, Message, Prepare, PrePrepare, ViewChange
from consensus.records import ViewRecord, VoteKind, VoteRecord, record_key
from consensus.simulation.violation import Violation
from consensus.types import ZERO_HASH, Domain
from node.ledger.ledger import Ledger


class VoteWatch:
    """Remembers every vote of a cluster, whatever its nodes forget."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._votes: dict[tuple[int, VoteKind, int, int], tuple[bytes, bytes]] = {}
        self._lost: dict[int, int] = {}
        """The highest height that a node had voted for when its disk was lost."""

    def on_send(self, node: int, ledger: Ledger, message: Message) -> None:
        """A node is about to send a message."""
        if isinstance(message, ViewChange):
            views = [item for item in ledger.load_records() if isinstance(item, ViewRecord)]
            if not views or views[0].to_view < message.view:
                raise Violation(f"P14 node {node} sends VIEW-CHANGE {message.view}: not durable")
            return
        vote = self._vote_of(message)
        if vote is None:
            return
        if vote.height <= self._lost.get(node, 0):
            raise Violation(f"P05 node {node} votes at {vote.height}, where its votes are lost")
        key = (node, vote.kind, vote.height, vote.view)
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
        """A node loses its disk: it must not vote again where it may have voted (R-WIPE-1)."""
        heights = [height for at, _, height, _ in self._votes if at == node]
        self._lost[node] = max(heights, default=0)

    def _vote_of(self, message: Message) -> VoteRecord | None:
        match message:
            case PrePrepare(view=view, proposal=proposal):
                digest = compute_digest(self._domain, proposal)
                kind, height = VoteKind.PRE_PREPARE, proposal.height
                return VoteRecord(1, kind, height, view, digest, ZERO_HASH)
            case Prepare(view=view, height=height, digest=digest):
                return VoteRecord(1, VoteKind.PREPARE, height, view, digest, ZERO_HASH)
            case Commit(view=view, height=height, digest=digest):
                return VoteRecord(1, VoteKind.COMMIT, height, view, digest, ZERO_HASH)
            case Checkpoint(height=height, digest=digest, block_hash=block_hash):
                return VoteRecord(1, VoteKind.CHECKPOINT, height, 0, digest, block_hash)
        return None
