"""The reliability properties (P01–P25), checked over a running simulation.

Each checker is notified of events, and raises `Violation` with the property's number at the
first event that breaks it. Checkers do not trust the product: they compute quorums and results
again by themselves.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace

from lowu.consensus import effects as fx
from lowu.consensus.certificates import MessageVerifier, reference_height
from lowu.consensus.codec import compute_digest
from lowu.consensus.effects import Effect
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import ConsensusError, InvalidMessage, InvariantViolation
from lowu.consensus.invariants import check_certificate
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    Evidence,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    ViewChange,
)
from lowu.consensus.records import EvidenceRecord, Record, VoteKind, VoteRecord, record_key
from lowu.consensus.simulation.checking.leadership import check_names
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.node import SimBlock, SimNode, compute_block_hash, compute_tx_root
from lowu.consensus.types import Domain, Hash32, Height, NodeIndex, View

VIEW_TIMEOUT_MS_MAX = 15_000
"""Five times the base time-out (rule R-TIME-1)."""
ANSWERS_MAX = 6
"""Steps in one resend period's length that may send one peer something of its own (P22): it may
touch two periods, in each of which the peer is asked once as its link comes up, and answered
before and after."""


class ChainChecker:
    """P01 agreement, P02 prefix, P03 content, P04 certificates, P10, P11, P13."""

    def __init__(self, verifier: MessageVerifier, known: Container[Hash32] | None = None) -> None:
        self._verifier = verifier
        self._known = known
        genesis = verifier.genesis
        self.blocks: dict[Height, SimBlock] = {}
        self.hashes: dict[Height, tuple[Hash32, Hash32]] = {0: (genesis.digest, genesis.block_hash)}
        self._heights: dict[int, Height] = {}
        self._transactions: dict[Hash32, Height] = {}

    def on_commit(self, node: int, block: SimBlock) -> None:
        """Check a block that a node made durable."""
        certificate, height = block.certificate, block.certificate.height
        if height != self._heights.get(node, 0) + 1:
            raise Violation(f"P02 node {node} committed {height} out of order")
        self._heights[node] = height
        known = self.blocks.get(height)
        if known is None:
            self._check_new(node, block)
            self.blocks[height] = block
            self.hashes[height] = (certificate.digest, certificate.block_hash)
            self._verifier.epochs.on_commit(height, block.validators)
        elif (certificate.digest, certificate.block_hash) != self.hashes[height]:
            raise Violation(f"P01 two blocks at height {height} (node {node})")
        elif block.tx_hashes != known.tx_hashes or block.proposal != known.proposal:
            raise Violation(f"P01 two contents of the block at height {height} (node {node})")
        else:
            self._check_certificate(node, certificate)

    def _check_certificate(self, node: int, certificate: CommitCertificate) -> None:
        validators = self._verifier.epochs.at(certificate.height).validators
        try:
            check_certificate(validators, certificate)
            self._verifier.verify_commit(certificate)
        except ConsensusError as error:
            raise Violation(f"P04 node {node} height {certificate.height}: {error}") from error

    def _check_new(self, node: int, block: SimBlock) -> None:
        certificate, proposal = block.certificate, block.proposal
        height = certificate.height
        self._check_certificate(node, certificate)
        digest, parent_hash = self.hashes[height - 1]
        if proposal.previous != digest:
            raise Violation(f"P02 height {height} does not extend the block below")
        below = self.blocks.get(height - 1)
        if below is not None and proposal.timestamp_ms <= below.proposal.timestamp_ms:
            raise Violation(f"P03 time does not grow at height {height}")
        if compute_tx_root(block.tx_hashes) != proposal.tx_root:
            raise Violation(
                f"P03 height {height} holds other transactions than it was ordered with"
            )
        if certificate.block_hash != compute_block_hash(
            parent_hash, certificate.digest, block.validators
        ):
            raise Violation(f"P11 height {height} has another result than executing it gives")
        for tx_hash in block.tx_hashes:
            if self._known is not None and tx_hash not in self._known:
                raise Violation(f"P03 height {height} holds a transaction that nobody sent")
            if tx_hash in self._transactions:
                raise Violation(f"P10 height {height} repeats a transaction")
            self._transactions[tx_hash] = height

    def on_restart(self, node: int, height: Height) -> None:
        """Check the durable head with which a node restarted."""
        if height != self._heights.get(node, 0):
            raise Violation(f"P13 node {node} came back at {height}, had {self._heights[node]}")

    def on_wipe(self, node: int, height: Height = 0) -> None:
        """Note that a node lost its disk, but for the blocks up to a height."""
        self._heights[node] = height


@dataclass(slots=True)
class StepChecker:
    """P08, P09, P21–P23: what one step may do, and what a replica may hold."""

    window: int
    _progress: dict[int, tuple[Height, View, Height]] = field(default_factory=dict)
    _verifying: dict[tuple[int, Hash32], int] = field(default_factory=dict)
    _answers: dict[tuple[int, Height, int], list[int]] = field(default_factory=dict)

    def on_step(self, node: SimNode, effects: tuple[Effect, ...], now_ms: int) -> None:
        """Check the effects with which a node handled one input."""
        replica = node.replica
        if replica is None:
            return
        progress = (replica.epoch.first_height, replica.view, replica.stable.height)
        before = self._progress.get(node.instance, (0, 0, 0))
        if progress[:2] < before[:2] or progress[2] < before[2]:
            raise Violation(f"P08 node {node.instance} went back from {before} to {progress}")
        self._progress[node.instance] = progress
        if replica.stable.height > len(node.chain):
            raise Violation(f"P13 node {node.instance} is stable at what is not durable")
        for effect in effects:
            self._check_effect(node, effect)
        for to in {effect.to for effect in effects if isinstance(effect, fx.Send)}:
            self._check_answers(node, replica.epoch.first_height, to, now_ms)

    def _check_effect(self, node: SimNode, effect: Effect) -> None:
        match effect:
            case fx.StartTimer(delay_ms=delay_ms) if delay_ms > VIEW_TIMEOUT_MS_MAX:
                raise Violation(f"P17 node {node.instance} waits {delay_ms} ms")
            case fx.VerifyProposal(digest=digest):
                key = (node.instance, digest)
                if self._verifying.get(key) == node.incarnation:
                    raise Violation(f"P22 node {node.instance} verifies one proposal twice at once")
                self._verifying[key] = node.incarnation
            case fx.CommitBlock(certificate) if certificate.height > len(node.chain) + 1:
                raise Violation(f"P02 node {node.instance} commits {certificate.height} too early")

    def _check_answers(self, node: SimNode, epoch: Height, to: int, now_ms: int) -> None:
        """P22: no peer can make a node resend its messages without limit.

        Each epoch begins a period of its own, and its validators have other numbers.
        """
        recent = self._answers.setdefault((node.instance, epoch, to), [])
        recent[:] = [time_ms for time_ms in recent if time_ms > now_ms - 1_000]
        recent.append(now_ms)
        if len(recent) > ANSWERS_MAX:
            raise Violation(f"P22 node {node.instance} answers {to} {len(recent)} times a second")

    def on_verified(self, node: SimNode, digest: Hash32) -> None:
        """Note that the verification of a proposal was answered."""
        self._verifying.pop((node.instance, digest), None)

    def on_restart(self, node: int) -> None:
        """Note that a node restarted: progress and answers count within one run of it only."""
        self._progress.pop(node, None)
        for key in [key for key in self._answers if key[0] == node]:
            del self._answers[key]

    def check_bounds(self, node: SimNode) -> None:
        """P09 and P23: a replica holds nothing outside the watermarks, and no more than allowed."""
        replica = node.replica
        if replica is None:
            return
        low, high = replica.stable.height, replica.stable.height + self.window
        outside = [height for height in replica.held_heights() if not low < height <= high]
        if outside:
            raise Violation(f"P09 node {node.instance} holds heights {outside[:3]}")
        if replica.size() > replica.size_max():
            raise Violation(
                f"P23 node {node.instance} holds {replica.size()} of {replica.size_max()} items"
            )


class AuthorChecker:
    """P12: honest nodes are believed to have said only what they said."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._said: set[tuple[bytes, Message]] = set()

    def on_send(self, node_id: bytes, message: Message) -> None:
        """Note a message that a node sent that does not lie."""
        self._said.add((node_id, _content(message)))

    def on_persist(self, node_id: bytes, index: NodeIndex, record: Record) -> None:
        """Note a vote that such a node made durable: a certificate may show it after a crash."""
        match record:
            case VoteRecord(kind=VoteKind.PREPARE):
                vote: Message = Prepare(record.view, record.height, record.digest, index)
            case VoteRecord(kind=VoteKind.CHECKPOINT):
                vote = Checkpoint(record.height, record.digest, record.block_hash, index)
            case _:
                return
        self._said.add((node_id, vote))

    def on_link(self, node_id: bytes, message: Message, epochs: Epochs) -> None:
        """Check that a message was taken from its sender's link, unless it is a NEW-VIEW."""
        validators = epochs.at(reference_height(message)).validators.validators
        if validators[message.sender].node_id != node_id and not isinstance(message, NewView):
            raise Violation(f"P12 {type(message).__name__} taken from another's link")

    def on_accept(self, message: Message, epochs: Epochs, honest: frozenset[bytes]) -> None:
        """Check a liar's message that a receiver with these epochs took as valid."""
        for claim, height in claims(self._domain, message):
            validators = epochs.at(height).validators.validators
            author = validators[claim.sender].node_id
            if author in honest and (author, _content(claim)) not in self._said:
                raise Violation(
                    f"P12 {type(claim).__name__} of validator {claim.sender} is believed, "
                    "which it never sent"
                )


def check_accepted(message: Message, epochs: Epochs, genesis: CommitCertificate) -> None:
    """P04, P12: a message taken as valid holds real quorums, counted here again."""
    try:
        if isinstance(message, NewView):
            _check_new_view(message, epochs)
            for change in message.view_changes:
                check_accepted(change, epochs, genesis)
        elif isinstance(message, ViewChange):
            if message.stable.height == 0 and message.stable != genesis:
                raise Violation("P12 another genesis is believed")
            if message.stable.height > 0:
                check_certificate(epochs.at(message.stable.height).validators, message.stable)
            shown_in = epochs.at(message.stable.height + 1)  # R-CERT-1, not that of its height
            for item in message.prepared:
                certificate = CommitCertificate(item.proposal.height, b"", b"", item.signatures)
                check_certificate(shown_in.validators, certificate)
            check_names(message, shown_in.validators)
    except InvariantViolation as error:
        raise Violation(f"P04 believed of validator {message.sender}: {error}") from error


def _check_new_view(message: NewView, epochs: Epochs) -> None:
    senders = [change.sender for change in message.view_changes]
    height = max((change.stable.height for change in message.view_changes), default=0) + 1
    validators = epochs.at(height).validators
    pairs = tuple((sender, b"") for sender in senders)
    check_certificate(validators, CommitCertificate(height, b"", b"", pairs))
    if validators.leader(height, message.view) != message.sender:
        raise Violation(f"P12 NEW-VIEW {message.view} is believed of validator {message.sender}")


def _content(message: Message) -> Message:
    """Return what a signature covers; of a PRE-PREPARE that is the root, not the list."""
    if isinstance(message, PrePrepare):
        message = replace(message, tx_hashes=())
    return replace(message, signature=b"")


def claims(domain: Domain, message: Message) -> Iterator[tuple[Message, Height]]:
    """Yield every signed message that `message` claims to hold, itself first.

    With each, a height whose validators have signed it. Of a PREPARE in a VIEW-CHANGE it is not its
    own: those who had prepared a height before the group changed below it are shown (R-CERT-1).
    """
    yield message, reference_height(message)
    if isinstance(message, NewView):
        for change in message.view_changes:
            yield from claims(domain, change)
    elif isinstance(message, ViewChange):
        stable = message.stable
        for index, _ in stable.signatures:
            checkpoint = Checkpoint(stable.height, stable.digest, stable.block_hash, index)
            yield checkpoint, stable.height
        for item in message.prepared:
            digest = compute_digest(domain, item.proposal)
            for index, _ in item.signatures:
                prepare = Prepare(item.view, item.proposal.height, digest, index)
                yield prepare, reference_height(message)


class EvidenceChecker:
    """P24: equivocation is noticed; evidence proves it, is stored, and accuses no honest node."""

    def __init__(self) -> None:
        self._votes: dict[tuple[object, type, Height, NodeIndex], tuple[View, Hash32]] = {}

    def on_vote(self, node: SimNode, message: Message) -> None:
        """Check a liar's PREPARE or COMMIT that a node took: it must notice a second, other one."""
        replica = node.replica
        if replica is None or not isinstance(message, Prepare | Commit):
            return
        if replica.phase in ("halted", "observing", "abstaining"):
            return
        height, sender, kind = message.height, message.sender, type(message)
        if height not in replica.held_heights():
            return
        life = (node.instance, node.incarnation, replica.epoch.first_height)
        key = (life, kind, height, sender)
        known = self._votes.get(key)
        if known is None or message.view > known[0]:
            self._votes[key] = (message.view, message.digest)
            return
        is_double = message.view == known[0] and message.digest != known[1]
        if is_double and not replica.has_evidence(sender, kind):
            raise Violation(
                f"P24 node {node.instance} does not notice two {kind.__name__}s of {sender} "
                f"at height {height}"
            )

    def on_report(
        self, node: SimNode, verifier: MessageVerifier, evidence: Evidence, honest: frozenset[bytes]
    ) -> None:
        """Check the evidence with which a node reports that a validator equivocated."""
        if node.replica is None:
            return
        epoch = node.replica.epoch
        if epoch.validators.validators[evidence.accused].node_id in honest:
            raise Violation(f"P24 node {node.instance} accuses honest {evidence.accused}")
        if evidence.first == evidence.second:
            raise Violation(f"P24 node {node.instance} accuses without two messages")
        for message in (evidence.first, evidence.second):
            try:
                verifier.verify_message(message)
            except InvalidMessage as error:
                raise Violation(f"P24 node {node.instance}: evidence fails: {error}") from error
        record = EvidenceRecord(epoch.first_height, evidence)
        if node.records.get(record_key(record)) != record:
            raise Violation(f"P24 node {node.instance} does not store its evidence")
