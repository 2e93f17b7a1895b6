"""The inputs of a replica. `Replica.step` takes exactly these.

Every answer to an effect carries what it answers (height, view or digest), so that a late
answer is recognised and dropped (rule R-LATE-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from lowu.consensus.certificates import VerifiedMessage
from lowu.consensus.epochs import Epoch
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.consensus.types import Hash32, Height, View
from lowu.consensus.validators import ValidatorSet


class TimerId(Enum):
    """The two timers of a replica."""

    VIEW = "view"
    """No progress in this view (or no NEW-VIEW) for too long."""
    RESEND = "resend"
    """Time to ask again for messages that may have been lost."""


class ProposalVerdict(Enum):
    """What the edge found when it checked a proposal's transactions."""

    UNKNOWN = "unknown"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A verified message of another validator arrived."""

    verified: VerifiedMessage


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A started timer ran out."""

    timer: TimerId
    number: int
    """The number of the StartTimer that this answers."""


@dataclass(frozen=True, slots=True)
class ProposalBuilt:
    """Answer to BuildProposal: a new proposal, whose bodies the edge holds."""

    view: View
    proposal: Proposal
    tx_hashes: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class ProposalVerified:
    """Answer to VerifyProposal. VALID promises that all bodies are durable on this node."""

    height: Height
    digest: Hash32
    verdict: ProposalVerdict


@dataclass(frozen=True, slots=True)
class ProposalExecuted:
    """Answer to ExecuteProposal."""

    height: Height
    digest: Hash32
    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class BlockCommitted:
    """Answer to CommitBlock: block, receipts, state and certificate are durable."""

    height: Height
    block_hash: Hash32
    validators: ValidatorSet | None = None
    """The validators of the heights above, if executing this block changed them."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The edge fetched, checked and durably committed blocks up to this certificate."""

    certificate: CommitCertificate
    timestamp_ms: int
    epoch: Epoch
    """The epoch of the next height."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """No member of some quorum, this node among them, has committed a block above `height`.

    Only a replica that abstains needs to know (rule R-WIPE-1).
    """

    height: Height


@dataclass(frozen=True, slots=True)
class PendingChanged:
    """Whether transactions are waiting to be ordered."""

    has_pending: bool


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """The set of linked, voting nodes changed: no other can lead or count towards a quorum.

    A validator that says that it abstains counts as not linked (rule R-WIPE-1).
    """

    connected: frozenset[bytes]
    """The node ids that are linked now and do not abstain; this node itself need not be listed."""
    is_linking_up: bool = False
    """Whether this node has just started, so that a missing node may not be reached yet."""


Input: TypeAlias = (
    MessageReceived
    | TimerFired
    | ProposalBuilt
    | ProposalVerified
    | ProposalExecuted
    | BlockCommitted
    | Synced
    | CaughtUp
    | PendingChanged
    | LinksChanged
)
