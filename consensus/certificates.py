"""Certificates, and the complete check of a message before the replica sees it.

Signature checks happen at the edge: `verify_message` turns an untrusted `Message` into a
`VerifiedMessage`, and `Replica.step` takes nothing else (rule R-SIG-2). Verification includes
everything that can be judged from the message alone: nested certificates, distinct signers,
quorum weight, and for NEW-VIEW the sender and the set of VIEW-CHANGEs (rule R-NV-1, B04).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import assert_never

from lowu.consensus.codec import CERTIFICATES_MAX, compute_digest, signing_digest
from lowu.consensus.epochs import Epoch, Epochs
from lowu.consensus.errors import InvalidMessage, UnknownEpoch
from lowu.consensus.leaders import ROUNDS_MAX, rounds_to_heights
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
from lowu.consensus.signatures import KnownSignatures
from lowu.consensus.types import Domain, Hash32, Height, NodeIndex, Signature, Verify, View
from lowu.consensus.validators import ValidatorSet
from lowu.consensus.window import fit_window


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message whose signatures and certificates have been checked. Made by this module."""

    message: Message
    epoch: Height
    """First height of the epoch against whose validators it was checked."""
    digest: Hash32 | None = None
    """Digest of the proposal, for a PRE-PREPARE."""


def reference_height(message: Message) -> Height:
    """Return the height whose validators must have signed `message`."""
    match message:
        case PrePrepare(proposal=proposal):
            return proposal.height
        case Prepare(height=height) | Commit(height=height) | Checkpoint(height=height):
            return height
        case ViewChange(stable=stable):
            return stable.height + 1
        case NewView(view_changes=changes):
            return max((item.stable.height for item in changes), default=0) + 1
        case Status(stable_height=stable_height):
            return stable_height + 1
        case _:
            assert_never(message)


@dataclass(frozen=True, slots=True)
class MessageVerifier:
    """Checks messages of one chain against the validators of their heights."""

    domain: Domain
    epochs: Epochs
    genesis: CommitCertificate
    verify: Verify
    window: int = CERTIFICATES_MAX
    """How many heights above its stable one a VIEW-CHANGE may certify (rule R-VC-5)."""
    _known: KnownSignatures = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", KnownSignatures(self.verify))

    def verify_message(self, message: Message) -> VerifiedMessage:
        """Check a message completely; raise `InvalidMessage` with the reason.

        Raises:
            UnknownEpoch: it does not verify, but this node or the sender may have missed a
                change of validators.
            InvalidMessage: it does not verify.
        """
        height = reference_height(message)
        epoch = self.epochs.at(height)
        try:
            self._check_message(message, epoch)
        except InvalidMessage as error:
            if height > self.epochs.settled_height:
                raise UnknownEpoch(f"height {height} is above ours: {error}") from error
            if any(self._is_of(before, message) for before in self.epochs.before(epoch)):
                raise UnknownEpoch("from before the validators changed") from error
            raise
        digest = None
        if isinstance(message, PrePrepare):
            digest = compute_digest(self.domain, message.proposal)
        return VerifiedMessage(message, epoch.first_height, digest)

    def _is_of(self, epoch: Epoch, message: Message) -> bool:
        """Whether a message verifies in an earlier epoch, whose end its sender had not seen."""
        try:
            self._check_message(message, epoch)
        except InvalidMessage:
            return False
        return True

    def verify_link(self, node_id: bytes, message: Message) -> None:
        """Check that a message came over the link of its sender (rule R-SIG-2).

        A NEW-VIEW proves itself and may be passed on.
        """
        height = reference_height(message)
        epoch = self.epochs.at(height)
        validators = epoch.validators
        if validators.index_of(node_id) != message.sender and not isinstance(message, NewView):
            text = "message of another validator than the link's"
            is_older = any(
                before.validators.index_of(node_id) == message.sender
                for before in self.epochs.before(epoch)
            )
            if is_older or height > self.epochs.settled_height:
                raise UnknownEpoch(text)  # its sender may lag behind us, or be ahead
            raise InvalidMessage(text)

    def _check_message(self, message: Message, epoch: Epoch) -> None:
        _check_sender(message.sender, epoch.validators)
        if not self._is_signed(epoch, message, message.signature):
            raise InvalidMessage(
                f"{type(message).__name__} of validator {message.sender}: bad signature"
            )
        if isinstance(message, ViewChange):
            self._check_view_change(message, epoch)
        elif isinstance(message, NewView):
            self._check_new_view(message, epoch)

    def _is_signed(self, epoch: Epoch, message: Message, signature: Signature) -> bool:
        node_id = epoch.validators.validators[message.sender].node_id
        digest = signing_digest(self.domain, epoch.first_height, message)
        return self._known.is_signed(node_id, digest, signature)

    def _check_signatures(
        self,
        epoch: Epoch,
        signatures: tuple[tuple[NodeIndex, Signature], ...],
        vote_of: Callable[[NodeIndex], Message],
    ) -> None:
        """Check that a quorum of distinct validators signed their votes."""
        signers = [index for index, _ in signatures]
        for index in signers:
            _check_sender(index, epoch.validators)
        if signers != sorted(set(signers)):
            raise InvalidMessage("certificate signers are not distinct and ascending")
        if not epoch.validators.has_quorum(signers):
            raise InvalidMessage("certificate has less than quorum weight")
        for index, signature in signatures:
            if not self._is_signed(epoch, vote_of(index), signature):
                raise InvalidMessage(f"certificate signature of validator {index} is bad")

    def verify_prepared(self, certificate: PreparedCertificate, epoch: Epoch) -> None:
        """Check a prepared certificate against its VIEW-CHANGE's epoch (rule R-CERT-1).

        A later epoch may decide its height. What was prepared there before the change was
        never ordered, but its certificate is still valid.
        """
        proposal = certificate.proposal
        digest = compute_digest(self.domain, proposal)
        self._check_signatures(
            epoch,
            certificate.signatures,
            lambda index: Prepare(certificate.view, proposal.height, digest, index),
        )

    def verify_commit(self, certificate: CommitCertificate) -> None:
        """Check a commit certificate (rule R-CERT-2); only genesis has no signatures."""
        height, digest, block_hash = certificate.height, certificate.digest, certificate.block_hash
        if height == 0:
            if certificate != self.genesis:
                raise InvalidMessage("certificate for another genesis block")
            return
        self._check_signatures(
            self.epochs.at(height),
            certificate.signatures,
            lambda index: Checkpoint(height, digest, block_hash, index),
        )

    def _check_view_change(self, message: ViewChange, epoch: Epoch) -> None:
        if message.view < 1:
            raise InvalidMessage("VIEW-CHANGE to view 0")
        height_before = message.stable.height
        height_max = height_before + fit_window(self.window, len(epoch.validators))
        if message.prepared and message.prepared[-1].proposal.height > height_max:
            raise InvalidMessage("VIEW-CHANGE certificate above its sender's high watermark")
        for certificate in message.prepared:
            if certificate.proposal.height <= height_before:
                raise InvalidMessage("VIEW-CHANGE certificates are not ascending above stable")
            height_before = certificate.proposal.height
            if certificate.view >= message.view:
                raise InvalidMessage("VIEW-CHANGE holds a certificate of a view not yet left")
            if not 0 <= certificate.proposal.proposer < len(epoch.validators):
                raise InvalidMessage("certificate names a proposer that does not exist")
        _check_passed_over(message, epoch.validators)
        self.verify_commit(message.stable)
        for certificate in message.prepared:
            self.verify_prepared(certificate, epoch)

    def _check_new_view(self, message: NewView, epoch: Epoch) -> None:
        height = reference_height(message)
        if message.sender != epoch.validators.leader(height, message.view):
            raise InvalidMessage(
                f"NEW-VIEW {message.view} not from the leader of height {height} in that view"
            )
        senders = [change.sender for change in message.view_changes]
        if senders != sorted(set(senders)):
            raise InvalidMessage("NEW-VIEW view-changes are not from distinct validators")
        for change in message.view_changes:
            if change.view != message.view:
                raise InvalidMessage("NEW-VIEW holds a VIEW-CHANGE for another view")
            # No VIEW-CHANGE reaches above the NEW-VIEW's own height. If the sender did not know
            # of the next epoch, that height may be the first of it, judged by this epoch.
            if reference_height(change) < epoch.first_height:
                raise InvalidMessage("NEW-VIEW holds a VIEW-CHANGE of another epoch")
            self._check_message(change, epoch)
        if not epoch.validators.has_quorum(senders):
            raise InvalidMessage("NEW-VIEW has less than quorum weight of VIEW-CHANGEs")


def _check_sender(index: NodeIndex, validators: ValidatorSet) -> None:
    if not 0 <= index < len(validators):
        raise InvalidMessage(f"validator index {index} does not exist")


def _check_passed_over(message: ViewChange, validators: ValidatorSet) -> None:
    """Check that each leader is named once, and for at most `ROUNDS_MAX` rounds of turns."""
    low = message.stable.height
    high = low + rounds_to_heights(validators, ROUNDS_MAX)
    indices = [index for index, _ in message.passed_over]
    if indices != sorted(set(indices)) or not set(indices) <= set(range(len(validators))):
        raise InvalidMessage("VIEW-CHANGE does not name distinct leaders in ascending order")
    if not all(low < until <= high for _, until in message.passed_over):
        raise InvalidMessage("VIEW-CHANGE asks to pass a leader over for too long")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a set of VIEW-CHANGEs decides: where the view starts and what it proposes again."""

    stable: CommitCertificate
    proposals: tuple[Proposal, ...]
    """The re-proposals, ascending from the height above stable."""
    settled: tuple[Proposal, ...]
    """Proposals that the stable certificate makes final, descending from its height, as far down
    as the VIEW-CHANGEs hold them."""


def select_reproposals(domain: Domain, view_changes: Iterable[ViewChange]) -> Selection:
    """Derive the start of a view from its VIEW-CHANGEs (rule R-NV-2).

    Start at the highest stable height. For each height above it, take the proposal with the
    highest-view certificate, as long as it names the one taken below it. Stop at the first
    height without one, and drop what is above: by R-COM-1 it cannot have committed.
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
    settled = _settled_chain(domain, stable, changes)
    while height in best and best[height][1].previous == previous:
        proposal = best[height][1]
        proposals.append(proposal)
        previous = compute_digest(domain, proposal)
        height += 1
    return Selection(stable, tuple(proposals), settled)


def _settled_chain(
    domain: Domain, stable: CommitCertificate, changes: tuple[ViewChange, ...]
) -> tuple[Proposal, ...]:
    """Follow the chain down from a commit certificate through certified proposals."""
    known = {
        compute_digest(domain, certificate.proposal): certificate.proposal
        for change in changes
        for certificate in change.prepared
        if certificate.proposal.height <= stable.height
    }
    chain = []
    digest = stable.digest
    while digest in known:
        chain.append(known[digest])
        digest = chain[-1].previous
    return tuple(chain)
