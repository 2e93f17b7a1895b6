"""What this replica has signed. The only place that makes a vote (rule R-SAFE-1).

`Safety` mirrors the durable records. Each `sign_*` method first checks that the vote does not
contradict an earlier one, then returns the signed message together with the record that must
be durable before the message leaves. Signing is deterministic, so the same vote signed again
after a restart has the same bytes (B31).

The rules it holds, across crashes:

- one digest for each (view, height, kind), and one block hash for each height (P05);
- no PREPARE or COMMIT in a view after a VIEW-CHANGE to a higher one was signed (P07);
- views only grow within an epoch (P08).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from lowu.consensus.codec import compute_digest, signing_digest
from lowu.consensus.errors import require_invariant
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from lowu.consensus.records import Record, ViewRecord, VoteKind, VoteRecord
from lowu.consensus.types import ZERO_HASH, Domain, Hash32, Height, NodeIndex, Sign, View

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Safety:
    """Votes given, by (height, kind), and the views entered and asked for."""

    domain: Domain
    index: NodeIndex
    """Position in the epoch's validator set; −1, and unused, while this node is not in it."""
    sign: Sign
    epoch: Height = 1
    view: View = 0
    to_view: View = 0
    votes: dict[tuple[Height, VoteKind], VoteRecord] = field(default_factory=dict)

    @property
    def is_changing(self) -> bool:
        """Whether a VIEW-CHANGE was sent that no NEW-VIEW has answered yet."""
        return self.to_view > self.view

    def restore(self, records: Iterable[Record]) -> None:
        """Take over durable records after a restart."""
        for record in records:
            if record.epoch != self.epoch:
                continue
            if isinstance(record, VoteRecord):
                self.votes[record.height, record.kind] = record
            elif isinstance(record, ViewRecord):
                self.view, self.to_view = record.view, record.to_view

    def has_voted(self, kind: VoteKind, height: Height, view: View) -> bool:
        """Whether a vote of this kind was given at this height in this view."""
        vote = self.votes.get((height, kind))
        return vote is not None and vote.view == view

    def may_vote(self, kind: VoteKind, height: Height, view: View, digest: Hash32) -> bool:
        """Whether a vote would contradict nothing signed before."""
        if kind is not VoteKind.CHECKPOINT and (self.is_changing or view != self.view):
            return False
        vote = self.votes.get((height, kind))
        return vote is None or vote.view < view or (vote.view == view and vote.digest == digest)

    def _bind(self, record: VoteRecord) -> VoteRecord:
        require_invariant(
            self.may_vote(record.kind, record.height, record.view, record.digest),
            f"P05: {record.kind.name} at height {record.height} contradicts an earlier vote",
        )
        self.votes[record.height, record.kind] = record
        return record

    def _signed(self, message: M) -> M:
        return replace(
            message, signature=self.sign(signing_digest(self.domain, self.epoch, message))
        )

    def sign_pre_prepare(
        self, proposal: Proposal, tx_hashes: tuple[Hash32, ...]
    ) -> tuple[PrePrepare, VoteRecord]:
        """Propose in the current view."""
        digest = compute_digest(self.domain, proposal)
        record = VoteRecord(
            self.epoch, VoteKind.PRE_PREPARE, proposal.height, self.view, digest, ZERO_HASH
        )
        message = PrePrepare(self.view, proposal, tx_hashes, self.index)
        self._bind(record)
        return self._signed(message), record

    def sign_prepare(self, height: Height, digest: Hash32) -> tuple[Prepare, VoteRecord]:
        """Accept a proposal in the current view."""
        record = VoteRecord(self.epoch, VoteKind.PREPARE, height, self.view, digest, ZERO_HASH)
        self._bind(record)
        return self._signed(Prepare(self.view, height, digest, self.index)), record

    def sign_commit(self, height: Height, digest: Hash32) -> tuple[Commit, VoteRecord]:
        """Vouch for the prepared chain up to a height in the current view."""
        record = VoteRecord(self.epoch, VoteKind.COMMIT, height, self.view, digest, ZERO_HASH)
        self._bind(record)
        return self._signed(Commit(self.view, height, digest, self.index)), record

    def sign_checkpoint(
        self, height: Height, digest: Hash32, block_hash: Hash32
    ) -> tuple[Checkpoint, VoteRecord]:
        """Vouch for the result of executing an ordered proposal."""
        known = self.votes.get((height, VoteKind.CHECKPOINT))
        require_invariant(
            known is None or (known.digest, known.block_hash) == (digest, block_hash),
            f"P11: executing height {height} again gave another block",
        )
        record = VoteRecord(self.epoch, VoteKind.CHECKPOINT, height, 0, digest, block_hash)
        self._bind(record)
        return self._signed(Checkpoint(height, digest, block_hash, self.index)), record

    def sign_view_change(
        self,
        to_view: View,
        stable: CommitCertificate,
        prepared: tuple[PreparedCertificate, ...],
        passed_over: tuple[tuple[NodeIndex, Height], ...] = (),
    ) -> tuple[ViewChange, ViewRecord]:
        """Leave the current view; no vote is given below `to_view` from now on."""
        require_invariant(to_view > self.to_view, "P08: a view change must go up")
        self.to_view = to_view
        record = ViewRecord(self.epoch, self.view, to_view)
        return self.resign_view_change(stable, prepared, passed_over), record

    def resign_view_change(
        self,
        stable: CommitCertificate,
        prepared: tuple[PreparedCertificate, ...],
        passed_over: tuple[tuple[NodeIndex, Height], ...] = (),
    ) -> ViewChange:
        """Sign the VIEW-CHANGE to `to_view` again, with the certificates held by now."""
        change = ViewChange(self.to_view, stable, prepared, self.index, passed_over=passed_over)
        return self._signed(change)

    def sign_new_view(self, view: View, view_changes: tuple[ViewChange, ...]) -> NewView:
        """Open a view with a quorum of VIEW-CHANGEs."""
        return self._signed(NewView(view, view_changes, self.index))

    def sign_status(self, stable_height: Height) -> Status:
        """State this replica's view and stable height (binds it to nothing)."""
        return self._signed(Status(self.view, stable_height, self.index))

    def resign_vote(self, record: VoteRecord) -> Prepare | Commit | Checkpoint | None:
        """Sign a recorded vote again, byte for byte; None for a PRE-PREPARE (body not held)."""
        height, view, digest = record.height, record.view, record.digest
        match record.kind:
            case VoteKind.PREPARE:
                return self._signed(Prepare(view, height, digest, self.index))
            case VoteKind.COMMIT:
                return self._signed(Commit(view, height, digest, self.index))
            case VoteKind.CHECKPOINT:
                return self._signed(Checkpoint(height, digest, record.block_hash, self.index))
            case VoteKind.PRE_PREPARE:
                return None
            case _:
                assert_never(record.kind)

    def enter_view(self, view: View) -> ViewRecord:
        """Enter a view that a NEW-VIEW has opened."""
        require_invariant(view >= self.to_view and view > self.view, "P08: the view went back")
        self.view = self.to_view = view
        return ViewRecord(self.epoch, view, view)

    def enter_epoch(self, first_height: Height, index: NodeIndex) -> ViewRecord:
        """Begin an epoch in view 0.

        Votes of the former epoch may exist above the barrier, from views that did not know of
        it. They bind nobody: their signatures count only in their own epoch (R-SIG-1).
        """
        require_invariant(first_height > self.epoch, "P08: the epoch went back")
        self.votes.clear()
        self.epoch, self.index = first_height, index
        self.view = self.to_view = 0
        return ViewRecord(first_height, 0, 0)

    def begin(self, index: NodeIndex) -> ViewRecord:
        """Begin to vote in view 0 of the epoch; nothing signed before still matters."""
        require_invariant(not self.votes, "P05: votes are known that were to be lost")
        self.index = index
        return ViewRecord(self.epoch, self.view, self.to_view)

    def forget(self, stable_height: Height) -> None:
        """Forget votes at or below the stable height; they can no longer matter."""
        for key in [item for item in self.votes if item[0] <= stable_height]:
            del self.votes[key]
