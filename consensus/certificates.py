"""Certificates, and the complete check of a message before the replica sees it.

Signature checks happen at the edge: `verify_message` turns an untrusted `Message` into a
`VerifiedMessage`, and `Replica.step` takes nothing else (rule R-SIG-2). Verification includes
everything that can be judged from the message alone: nested certificates, distinct signers,
quorum weight, and for NEW-VIEW the sender and the set of VIEW-CHANGEs (rule R-NV-1, B04).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.codec import compute_digest, signing_digest
from consensus.errors import InvalidMessage
from consensus.messages import (
    Checkpoint,
    CommitCertificate,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
    ViewChange,
)
from consensus.types import Domain, Hash32, Height, NodeIndex, Signature, Verify, View
from consensus.validators import ValidatorSet


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message whose signatures and certificates have been checked. Made by this module."""

    message: Message
    digest: Hash32 | None = None
    """Digest of the proposal, for a PRE-PREPARE."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks messages of one chain against one validator set."""

    domain: Domain
    validators: ValidatorSet
    genesis: CommitCertificate
    verify: Verify

    def verify_message(self, message: Message) -> VerifiedMessage:
        """Check a message completely; raise `InvalidMessage` with the reason."""
        self._check_sender(message.sender)
        digest = signing_digest(self.domain, message)
        if not self.verify(message.sender, digest, message.signature):
            raise InvalidMessage(
                f"{type(message).__name__} of validator {message.sender}: bad signature"
            )
        match message:
            case PrePrepare():
                return VerifiedMessage(message, compute_digest(self.domain, message.proposal))
            case ViewChange():
                self._check_view_change(message)
            case NewView():
                self._check_new_view(message)
        return VerifiedMessage(message)

    def _check_sender(self, index: NodeIndex) -> None:
        if not 0 <= index < len(self.validators):
            raise InvalidMessage(f"validator index {index} does not exist")

    def _check_signatures(
        self, signatures: Iterable[tuple[NodeIndex, Signature]], digests: dict[NodeIndex, Hash32]
    ) -> None:
        for index, signature in signatures:
            if not self.verify(index, digests[index], signature):
                raise InvalidMessage(f"certificate signature of validator {index} is bad")

    def _signers(self, signatures: tuple[tuple[NodeIndex, Signature], ...]) -> list[NodeIndex]:
        signers = [index for index, _ in signatures]
        for index in signers:
            self._check_sender(index)
        if signers != sorted(set(signers)):
            raise InvalidMessage("certificate signers are not distinct and ascending")
        if not self.validators.has_quorum(signers):
            raise InvalidMessage("certificate has less than quorum weight")
        return signers

    def verify_prepared(self, certificate: PreparedCertificate) -> None:
        """Check a prepared certificate (rule R-CERT-1)."""
        signers = self._signers(certificate.signatures)
        digest = compute_digest(self.domain, certificate.proposal)
        height = certificate.proposal.height
        votes = {
            index: signing_digest(self.domain, Prepare(certificate.view, height, digest, index))
            for index in signers
        }
        self._check_signatures(certificate.signatures, votes)

    def verify_commit(self, certificate: CommitCertificate) -> None:
        """Check a commit certificate (rule R-CERT-2); only genesis goes without signatures."""
        if certificate.height == 0:
            if certificate != self.genesis:
                raise InvalidMessage("certificate for another genesis block")
            return
        signers = self._signers(certificate.signatures)
        votes = {
            index: signing_digest(
                self.domain,
                Checkpoint(certificate.height, certificate.digest, certificate.block_hash, index),
            )
            for index in signers
        }
        self._check_signatures(certificate.signatures, votes)

    def _check_view_change(self, message: ViewChange) -> None:
        if message.view < 1:
            raise InvalidMessage("VIEW-CHANGE to view 0")
        height_before = message.stable.height
        for certificate in message.prepared:
            if certificate.proposal.height <= height_before:
                raise InvalidMessage("VIEW-CHANGE certificates are not ascending above stable")
            height_before = certificate.proposal.height
            if certificate.view >= message.view:
                raise InvalidMessage("VIEW-CHANGE holds a certificate of a view not yet left")
            if not 0 <= certificate.proposal.proposer < len(self.validators):
                raise InvalidMessage("certificate names a proposer that does not exist")
        self.verify_commit(message.stable)
        for certificate in message.prepared:
            self.verify_prepared(certificate)

    def _check_new_view(self, message: NewView) -> None:
        if message.sender != self.validators.view_leader(message.view):
            raise InvalidMessage(f"NEW-VIEW {message.view} not from the leader of that view")
        senders = [change.sender for change in message.view_changes]
        if senders != sorted(set(senders)):
            raise InvalidMessage("NEW-VIEW view-changes are not from distinct validators")
        for change in message.view_changes:
            if change.view != message.view:
                raise InvalidMessage("NEW-VIEW holds a VIEW-CHANGE for another view")
            self.verify_message(change)
        if not self.validators.has_quorum(senders):
            raise InvalidMessage("NEW-VIEW has less than quorum weight of VIEW-CHANGEs")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a set of VIEW-CHANGEs decides: where the view starts and what it proposes again."""

    stable: CommitCertificate
    proposals: tuple[Proposal, ...]


def select_reproposals(domain: Domain, view_changes: Iterable[ViewChange]) -> Selection:
    """Derive the start of a view from its VIEW-CHANGEs (rule R-NV-2).

    Start at the highest stable height. Upward from there take for each height the proposal
    with the highest-view certificate, as long as it names the one taken below it; stop at the
    first height without one. What is above is dropped: by R-COM-1 it cannot have committed.
    """
    changes = tuple(view_changes)
    stable = max((change.stable for change in changes), key=lambda item: item.height)
    best: dict[Height, tuple[View, Proposal]] = {}
    for change in changes:
        for certificate in change.prepared:
            height = certificate.proposal.height
            if height not in best or certificate.view > best[height][0]:
                best[height] = (certificate.view, certificate.proposal)
    proposals = []
    previous = stable.digest
    height = stable.height + 1
    while height in best and best[height][1].previous == previous:
        proposal = best[height][1]
        proposals.append(proposal)
        previous = compute_digest(domain, proposal)
        height += 1
    return Selection(stable, tuple(proposals))
