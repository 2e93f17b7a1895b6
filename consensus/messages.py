"""The signed messages of the protocol, and the one proposal that they are about.

A `Proposal` is fixed in size: it binds the transaction root, never the transactions. The
list of transaction hashes travels only in PRE-PREPARE and is checked against the root at the
edge. Every signature covers a domain tag with the message type, the chain id and the group
(rule R-SIG-1), so that no message can be replayed as another kind or on another chain (B01).
A proposal's digest never covers the view or who voted (rule R-DIG-1, B30).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lowu.consensus.types import Hash32, Height, NodeIndex, Signature, View


@dataclass(frozen=True, slots=True)
class Proposal:
    """A block as it is ordered: before execution, without bodies."""

    height: Height
    previous: Hash32
    """Digest of the proposal at height − 1."""
    tx_root: Hash32
    """Merkle root over the transaction hashes, in order."""
    timestamp_ms: int
    """Proposer's clock; grows with height, at most 15 s ahead of a voter's clock."""
    proposer: NodeIndex
    """Index of the validator that built it (unchanged when a later view proposes it again)."""
    is_barrier: bool = False
    """It holds a system transaction: no height above it is voted on before it is stable."""


@dataclass(frozen=True, slots=True)
class PrePrepare:
    """The leader's offer of a fresh proposal at proposal.height in `view`."""

    view: View
    proposal: Proposal
    tx_hashes: tuple[Hash32, ...]
    sender: NodeIndex
    signature: Signature = b""


@dataclass(frozen=True, slots=True)
class Prepare:
    """A validator accepts `digest` as the one proposal for (view, height)."""

    view: View
    height: Height
    digest: Hash32
    sender: NodeIndex
    signature: Signature = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """A validator holds prepared certificates of this view up to and including height."""

    view: View
    height: Height
    digest: Hash32
    sender: NodeIndex
    signature: Signature = b""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A validator executed the ordered proposal `digest` and got the block `block_hash`."""

    height: Height
    digest: Hash32
    block_hash: Hash32
    sender: NodeIndex
    signature: Signature = b""


@dataclass(frozen=True, slots=True)
class PreparedCertificate:
    """A quorum of PREPAREs for one proposal in one view."""

    view: View
    proposal: Proposal
    signatures: tuple[tuple[NodeIndex, Signature], ...]


@dataclass(frozen=True, slots=True)
class CommitCertificate:
    """A quorum of CHECKPOINTs: the block is committed. Genesis has no signatures."""

    height: Height
    digest: Hash32
    block_hash: Hash32
    signatures: tuple[tuple[NodeIndex, Signature], ...]


@dataclass(frozen=True, slots=True)
class ViewChange:
    """A validator leaves its view for `view`, and shows what it may have helped commit."""

    view: View
    stable: CommitCertificate
    prepared: tuple[PreparedCertificate, ...]
    """The highest-view certificate for each height above stable, ascending by height."""
    sender: NodeIndex
    signature: Signature = b""
    passed_over: tuple[tuple[NodeIndex, Height], ...] = ()
    """Leaders that failed the sender, each with the height up to which to pass it over."""


@dataclass(frozen=True, slots=True)
class NewView:
    """The leader of `view` opens it with a quorum of VIEW-CHANGEs.

    The re-proposals are not sent: every replica derives them from the VIEW-CHANGEs, so a
    leader cannot drop, swap or invent one (B04).
    """

    view: View
    view_changes: tuple[ViewChange, ...]
    sender: NodeIndex
    signature: Signature = b""


@dataclass(frozen=True, slots=True)
class Status:
    """A validator's view and stable height; peers answer with what it may have missed."""

    view: View
    stable_height: Height
    sender: NodeIndex
    signature: Signature = b""


Message: TypeAlias = PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView | Status


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two signed messages of one validator that no honest validator would both sign."""

    accused: NodeIndex
    first: Message
    second: Message
