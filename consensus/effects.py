"""The effects that a step returns, in the order in which the driver performs them.

Contract with the driver: effects are performed in order; a `Persist` must be durable before
any later `Broadcast` or `Send` of the same step leaves (rule R-SAFE-1); a `Persist` may be
performed earlier, never later. A crash after any number of effects is a legal history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import CommitCertificate, Evidence, Message, Proposal
from lowu.consensus.records import Record
from lowu.consensus.types import Hash32, Height, NodeIndex, View


@dataclass(frozen=True, slots=True)
class Persist:
    """Write records durably; a record replaces the one with the same key."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to every other validator."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to one validator."""

    to: NodeIndex
    message: Message


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Start a timer, or restart it if it runs."""

    timer: TimerId
    delay_ms: int
    number: int
    """The driver returns it in TimerFired; it tells a late time-out from a current one."""


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Stop a timer; nothing happens if it does not run."""

    timer: TimerId


@dataclass(frozen=True, slots=True)
class BuildProposal:
    """This node leads `height` in `view`: build a block as soon as transactions wait.

    Replaces any earlier request. `ancestors` are the digests in flight between the head and
    this height, oldest first: their transactions must not be used again.
    """

    view: View
    height: Height
    previous: Hash32
    timestamp_ms_min: int
    proposer: NodeIndex
    ancestors: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class CancelBuild:
    """Forget an outstanding BuildProposal."""


@dataclass(frozen=True, slots=True)
class VerifyProposal:
    """Obtain and check the bodies of a proposal; answer with ProposalVerified.

    `tx_hashes` is None when only the digest is known (a re-proposal). `is_vouched` says that a
    quorum has already accepted the content: then only its availability is in question.
    """

    proposal: Proposal
    digest: Hash32
    tx_hashes: tuple[Hash32, ...] | None
    is_vouched: bool
    ancestors: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class ExecuteProposal:
    """Execute an ordered proposal on top of the one before; answer with ProposalExecuted."""

    proposal: Proposal
    digest: Hash32


@dataclass(frozen=True, slots=True)
class CommitBlock:
    """Write the executed block with its certificate in one durable batch."""

    certificate: CommitCertificate


@dataclass(frozen=True, slots=True)
class RequestSync:
    """Others have committed up to `height`: fetch blocks with certificates."""

    height: Height


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """A validator signed two messages that contradict each other."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Halt:
    """This replica's own execution contradicts a quorum: report why, and stop voting."""

    reason: str


Effect: TypeAlias = (
    Persist
    | Broadcast
    | Send
    | StartTimer
    | CancelTimer
    | BuildProposal
    | CancelBuild
    | VerifyProposal
    | ExecuteProposal
    | CommitBlock
    | RequestSync
    | ReportEvidence
    | Halt
)
