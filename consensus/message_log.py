"""The bounded log of votes between the watermarks, and detection of equivocation.

One `Slot` per height. A slot keeps each validator's newest vote of each kind (highest view),
so it holds at most 3 n votes and two PRE-PREPAREs, one of them of a later view, whatever
arrives (P21). The log holds `window` slots. A second, different vote for the same view and
height is not stored but returned as evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lowu.consensus.errors import require_invariant
from lowu.consensus.inputs import ProposalVerdict
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    Evidence,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
    ViewChange,
)
from lowu.consensus.types import ZERO_HASH, Hash32, Height, NodeIndex, View

PhaseVote = TypeVar("PhaseVote", Prepare, Commit)


@dataclass(slots=True)
class Slot:
    """Everything known about one height above the stable one."""

    height: Height
    proposal: Proposal | None = None
    digest: Hash32 = ZERO_HASH
    accepted_view: View = -1
    """View in which `proposal` was accepted; votes are cast only in that view."""
    verdict: ProposalVerdict = ProposalVerdict.UNKNOWN
    is_reproposal: bool = False
    is_fetching: bool = False
    is_asked: bool = False
    """Whether the edge was asked for the bodies of this proposal."""
    pre_prepare: PrePrepare | None = None
    future_pre_prepare: PrePrepare | None = None
    prepares: dict[NodeIndex, Prepare] = field(default_factory=dict)
    commits: dict[NodeIndex, Commit] = field(default_factory=dict)
    checkpoints: dict[NodeIndex, Checkpoint] = field(default_factory=dict)
    certificate: PreparedCertificate | None = None
    is_ordered: bool = False
    """Final: a quorum of COMMITs here and at every height below."""
    executed_hash: Hash32 | None = None

    def accept(self, proposal: Proposal, digest: Hash32, view: View) -> None:
        """Make `proposal` this height's in `view`; keep the verdict if it is the same one."""
        require_invariant(
            not self.is_ordered or self.digest == digest,
            f"P01: height {self.height} was ordered with another proposal",
        )
        if digest != self.digest or self.proposal is None:
            self.verdict = ProposalVerdict.UNKNOWN
            self.is_fetching = self.is_asked = False
            self.pre_prepare = None
        self.proposal, self.digest, self.accepted_view = proposal, digest, view

    def drop_proposal(self) -> None:
        """Forget an unordered proposal that a new view did not carry over."""
        require_invariant(not self.is_ordered, f"P06: ordered height {self.height} dropped")
        self.proposal, self.digest, self.accepted_view = None, ZERO_HASH, -1
        self.verdict, self.is_reproposal = ProposalVerdict.UNKNOWN, False
        self.is_fetching = self.is_asked = False
        self.pre_prepare = None

    def prepared_voters(self) -> list[NodeIndex]:
        """Return the validators that sent PREPARE for the accepted proposal in its view."""
        return self._voters(self.prepares)

    def commit_groups(self) -> list[list[NodeIndex]]:
        """Return the validators that sent COMMIT for this proposal, one group per view."""
        groups: dict[View, list[NodeIndex]] = {}
        for index, vote in self.commits.items():
            if vote.digest == self.digest:
                groups.setdefault(vote.view, []).append(index)
        return list(groups.values())

    def _voters(self, votes: dict[NodeIndex, PhaseVote]) -> list[NodeIndex]:
        view, digest = self.accepted_view, self.digest
        return sorted(i for i, v in votes.items() if v.view == view and v.digest == digest)


def record_phase_vote(votes: dict[NodeIndex, PhaseVote], vote: PhaseVote) -> Evidence | None:
    """Keep the sender's newest vote; return evidence if `vote` contradicts the one kept."""
    known = votes.get(vote.sender)
    if known is None or vote.view > known.view:
        votes[vote.sender] = vote
    elif vote.view == known.view and vote.digest != known.digest:
        return Evidence(vote.sender, known, vote)
    return None


def record_checkpoint(slot: Slot, vote: Checkpoint) -> Evidence | None:
    """Keep the sender's first CHECKPOINT; return evidence if `vote` contradicts it."""
    known = slot.checkpoints.setdefault(vote.sender, vote)
    if (known.digest, known.block_hash) != (vote.digest, vote.block_hash):
        return Evidence(vote.sender, known, vote)
    return None


class MessageLog:
    """Slots above the stable height, and the newest VIEW-CHANGE of each validator."""

    def __init__(self, stable_height: Height, window: int) -> None:
        self.window = window
        self.stable_height = stable_height
        self.slots: dict[Height, Slot] = {}
        self.view_changes: dict[NodeIndex, ViewChange] = {}

    @property
    def height_max(self) -> Height:
        """The high watermark: no message above it is stored (P09)."""
        return self.stable_height + self.window

    def is_open(self, height: Height) -> bool:
        """Whether a height lies between the watermarks."""
        return self.stable_height < height <= self.height_max

    def slot(self, height: Height) -> Slot:
        """Return the slot of a height between the watermarks, creating it if needed."""
        require_invariant(self.is_open(height), f"P09: height {height} outside the watermarks")
        if height not in self.slots:
            self.slots[height] = Slot(height)
        return self.slots[height]

    def get(self, height: Height) -> Slot | None:
        """Return the slot of a height if there is one."""
        return self.slots.get(height)

    def ascending(self) -> Iterator[Slot]:
        """Yield the existing slots by height."""
        for height in sorted(self.slots):
            yield self.slots[height]

    def advance_stable(self, height: Height) -> None:
        """Raise the low watermark and forget everything at or below it."""
        require_invariant(height >= self.stable_height, "P08: the stable height went back")
        self.stable_height = height
        for old in [item for item in self.slots if item <= height]:
            del self.slots[old]

    def size(self) -> int:
        """Return the number of stored messages."""
        votes = sum(
            len(s.prepares) + len(s.commits) + len(s.checkpoints) + 2 for s in self.slots.values()
        )
        return votes + len(self.view_changes)

    def size_max(self, validators: int) -> int:
        """Return the bound of `size`: window × (3 n + 2) + n."""
        return self.window * (3 * validators + 2) + validators
