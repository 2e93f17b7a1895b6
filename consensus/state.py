"""The state of one replica, and the small helpers that every protocol part uses.

The protocol parts (`normal_case`, `checkpoint`, `view_change`, `catch_up`) are functions over
`ReplicaState`. They append to `state.effects`; `Replica.step` hands these out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lowu.consensus.codec import TX_HASHES_MAX, compute_digest
from lowu.consensus.effects import Broadcast, Effect, Persist, ReportEvidence
from lowu.consensus.epochs import Epoch
from lowu.consensus.inputs import TimerId
from lowu.consensus.message_log import MessageLog, Slot
from lowu.consensus.messages import (
    CommitCertificate,
    Evidence,
    Message,
    NewView,
    PreparedCertificate,
    Proposal,
)
from lowu.consensus.records import EvidenceRecord, Record
from lowu.consensus.safety import Safety
from lowu.consensus.timeouts import TimeoutPolicy
from lowu.consensus.types import Domain, Hash32, Height, NodeIndex, View
from lowu.consensus.validators import ValidatorSet
from lowu.consensus.window import fit_window


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """What does not change while a replica runs."""

    domain: Domain
    node_id: bytes
    genesis: CommitCertificate
    window: int = 50
    """Proposals in flight above the stable height, FISCO BCOS's pipeline_size."""
    timeouts: TimeoutPolicy = field(default_factory=TimeoutPolicy)
    tx_hashes_max: int = TX_HASHES_MAX
    """The most transactions that a proposal may list; longer lists are refused unstored."""


def effective_window(config: ReplicaConfig, epoch: Epoch) -> int:
    """Return an epoch's window: the configured one, or less if its NEW-VIEWs hold no more."""
    return fit_window(config.window, len(epoch.validators))


@dataclass(frozen=True, slots=True)
class Failure:
    """What one replica remembers of a leader that failed it."""

    count: int
    """Failures, less one for each block of its own that became stable since."""
    until: Height
    """The height up to which this replica asks to pass it over."""


@dataclass(slots=True)
class ReplicaState:
    """Everything a replica remembers. Bounded by the window and the number of validators."""

    config: ReplicaConfig
    epoch: Epoch
    index: NodeIndex | None
    """This node's position in the epoch's validator set; None if not in it, or abstaining."""
    safety: Safety
    log: MessageLog
    stable: CommitCertificate
    stable_timestamp_ms: int
    new_view: NewView | None = None
    """Proof of the view entered; None in view 0."""
    passed_over: dict[NodeIndex, Height] = field(default_factory=dict)
    """The leaders passed over in the view entered, and up to which height (rule R-LEAD-3)."""
    failures: dict[NodeIndex, Failure] = field(default_factory=dict)
    """Leaders that failed this replica in this epoch (rule R-LEAD-4)."""
    reproposed_to: Height = 0
    """This view's NEW-VIEW fixes the heights up to this one; new proposals go above it."""
    executing: Hash32 | None = None
    committing: Height | None = None
    building: tuple[View, Height, Hash32] | None = None
    has_pending: bool = False
    linked: frozenset[bytes] = frozenset()
    """Node ids that are linked and do not abstain."""
    connected: frozenset[bytes] | None = None
    """The same, once a node missing from it counts as gone; None until then."""
    failed_attempts: int = 0
    view_timer: tuple[str, View, Height] | None = None
    timers: dict[TimerId, int] = field(default_factory=dict)
    """Running timers, each with the number of the StartTimer that started it."""
    timers_started: int = 0
    resend_height: Height = 0
    """The stable height when the resend timer was started."""
    answered: set[NodeIndex] = field(default_factory=set)
    greeted: set[NodeIndex] = field(default_factory=set)
    """Validators sent a STATUS in this resend period because their links came up."""
    peer_heights: dict[NodeIndex, Height] = field(default_factory=dict)
    is_lagging: bool = False
    """Whether this replica lags by rule R-LAG-1; `judge_lag` keeps it up to date."""
    sync_requested: Height = 0
    abstains: bool = False
    """Whether this node has lost its record of votes, so must not vote yet (R-WIPE-1)."""
    votes_above: Height | None = None
    """While it abstains: the highest height that it may have voted for; None while unknown."""
    accused: set[tuple[NodeIndex, type]] = field(default_factory=set)
    """Validator and kind of message of each evidence stored in this epoch."""
    halt_reason: str | None = None
    effects: list[Effect] = field(default_factory=list)

    @property
    def validators(self) -> ValidatorSet:
        """The validators of all heights in flight."""
        return self.epoch.validators

    @property
    def view(self) -> View:
        """The view entered."""
        return self.safety.view

    @property
    def is_normal(self) -> bool:
        """Whether this replica votes: a validator, in a view, and not halted."""
        return self.index is not None and not self.safety.is_changing and self.halt_reason is None

    def digest_of(self, proposal: Proposal) -> Hash32:
        """Return a proposal's digest on this chain."""
        return compute_digest(self.config.domain, proposal)

    def emit(self, effect: Effect) -> None:
        """Add an effect to this step."""
        self.effects.append(effect)

    def persist(self, *records: Record) -> None:
        """Add a Persist effect."""
        self.emit(Persist(records))

    def broadcast(self, message: Message) -> None:
        """Add a Broadcast effect."""
        self.emit(Broadcast(message))

    def report(self, evidence: Evidence | None) -> None:
        """Store and report evidence, if any, once per validator and kind (P24, P22)."""
        if evidence is None:
            return
        key = (evidence.accused, type(evidence.first))
        if key not in self.accused:
            self.accused.add(key)
            self.persist(EvidenceRecord(self.epoch.first_height, evidence))
            self.emit(ReportEvidence(evidence))

    def chain_below(
        self, height: Height, is_ready: Callable[[Slot], bool]
    ) -> tuple[Hash32, int] | None:
        """Return the digest and timestamp at height − 1 if it is stable or its slot is ready.

        A barrier is ready only once it is stable (rule R-BAR-1).
        """
        if height - 1 == self.stable.height:
            return self.stable.digest, self.stable_timestamp_ms
        below = self.log.get(height - 1)
        if below is None or below.proposal is None or below.proposal.is_barrier:
            return None
        if not is_ready(below):
            return None
        return below.digest, below.proposal.timestamp_ms

    def is_current(self, slot: Slot) -> bool:
        """Whether the slot's proposal was accepted in the view entered."""
        return slot.proposal is not None and slot.accepted_view == self.view

    def ancestors(self, height: Height) -> tuple[Hash32, ...]:
        """Return the digests in flight below `height`, oldest first."""
        slots = (self.log.get(item) for item in range(self.stable.height + 1, height))
        return tuple(s.digest for s in slots if s is not None and s.proposal is not None)

    def prepared_certificates(self) -> tuple[PreparedCertificate, ...]:
        """Return the certificates a VIEW-CHANGE must carry, ascending by height."""
        return tuple(s.certificate for s in self.log.ascending() if s.certificate is not None)

    def has_in_flight(self) -> bool:
        """Whether any height above the stable one has a proposal."""
        return any(slot.proposal is not None for slot in self.log.slots.values())

    def note_peer_height(self, index: NodeIndex, height: Height) -> None:
        """Remember the highest stable height that a validator has claimed."""
        if height > self.peer_heights.get(index, 0):
            self.peer_heights[index] = height
            self.judge_lag()

    def size(self) -> int:
        """Return how many messages, own votes and notes about others this replica holds."""
        notes = len(self.answered) + len(self.greeted) + len(self.peer_heights) + len(self.accused)
        notes += len(self.passed_over) + len(self.failures)
        return self.log.size() + len(self.safety.votes) + len(self.timers) + notes

    def size_max(self) -> int:
        """Return the bound of `size` for the window and the number of validators (P21)."""
        n, kinds = len(self.validators), 4
        notes = 5 * n + kinds * n
        return self.log.size_max(n) + kinds * self.log.window + len(TimerId) + notes

    def judge_lag(self) -> None:
        """Update whether more than f weight claims to be two or more blocks ahead (R-LAG-1)."""
        ahead = [i for i, h in self.peer_heights.items() if h > self.stable.height + 1]
        self.is_lagging = self.validators.has_honest(ahead)
