"""Ordering in an undisturbed view (PROTOCOL.md section 4).

::

    leader(h, v)   PRE-PREPARE ──▶ all
    every validator  verify bodies, then PREPARE ──▶ all
    quorum of PREPARE = prepared certificate (made durable), then COMMIT ──▶ all
    quorum of COMMIT, here and at every height below = ordered, final

Heights are pipelined up to the high watermark. Proposals are chained by digest, so the votes
of one view are given in order of height: PREPARE for h only on top of the proposal accepted
below it, COMMIT for h only after COMMIT for h − 1 in the same view, or once h − 1 is ordered
(rule R-COM-1). Hence, for whatever is ordered anywhere, a quorum holds prepared certificates of
every height below it that is not final itself. View changes rely on that.
"""

from __future__ import annotations

from lowu.consensus.effects import BuildProposal, CancelBuild, VerifyProposal
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.inputs import ProposalBuilt, ProposalVerdict, ProposalVerified
from lowu.consensus.message_log import Slot, record_phase_vote
from lowu.consensus.messages import (
    Commit,
    Evidence,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
)
from lowu.consensus.records import PreparedRecord, ProposalRecord, VoteKind
from lowu.consensus.state import ReplicaState
from lowu.consensus.suspects import current_leader, is_suspect
from lowu.consensus.types import Hash32, Height


def handle_pre_prepare(state: ReplicaState, message: PrePrepare, digest: Hash32) -> None:
    """Accept, buffer or refuse a leader's fresh proposal (rules R-PP-1 to R-PP-4)."""
    height = message.proposal.height
    if height <= state.stable.height or message.view < state.view:
        return
    if not state.log.is_open(height):
        raise InvalidMessage(f"PRE-PREPARE for height {height} above the high watermark")
    if not _may_lead(state, message):
        raise InvalidMessage(f"PRE-PREPARE for height {height} not from its leader")
    if len(message.tx_hashes) > state.config.tx_hashes_max:
        raise InvalidMessage(f"PRE-PREPARE with {len(message.tx_hashes)} transactions")
    if message.proposal.proposer != message.sender:
        raise InvalidMessage("PRE-PREPARE of a proposal that somebody else built")
    if message.view == state.view and height <= state.reproposed_to:
        raise InvalidMessage("PRE-PREPARE for a height that NEW-VIEW has fixed")
    slot = state.log.slot(height)
    if message.view > state.view:
        _park(state, slot, message)
        return
    _accept_pre_prepare(state, slot, message, digest)


def _may_lead(state: ReplicaState, message: PrePrepare) -> bool:
    """Whether the sender leads its height; for a later view, whether it might lead it.

    A later view's NEW-VIEW will decide which leaders it passes over. Until then another
    validator, too, may turn out to lead in place of a leader that failed us.
    """
    height = message.proposal.height
    if message.view == state.view:
        return message.sender == current_leader(state, height)
    leader = state.validators.leader(height, message.view)
    return message.sender == leader or is_suspect(state, leader)


def _park(state: ReplicaState, slot: Slot, message: PrePrepare) -> None:
    """Keep a PRE-PREPARE of a later view until that view is entered (rule R-PP-2)."""
    known = slot.future_pre_prepare
    if known is None or message.view > known.view:
        slot.future_pre_prepare = message
        return
    is_same = (message.view, message.sender) == (known.view, known.sender)
    if is_same and message.proposal != known.proposal:
        state.report(Evidence(message.sender, known, message))


def _accept_pre_prepare(
    state: ReplicaState, slot: Slot, message: PrePrepare, digest: Hash32
) -> None:
    if slot.is_ordered or not state.is_normal:
        return
    if state.is_current(slot):
        if slot.digest != digest and slot.pre_prepare is not None:
            state.report(Evidence(message.sender, slot.pre_prepare, message))
        return
    slot.accept(message.proposal, digest, message.view)
    slot.is_reproposal = False
    slot.pre_prepare = message


def accept_buffered(state: ReplicaState) -> None:
    """Accept PRE-PREPAREs that arrived before this view was entered."""
    for slot in state.log.ascending():
        message = slot.future_pre_prepare
        if message is None or message.view > state.view:
            continue
        slot.future_pre_prepare = None
        is_fresh = message.view == state.view and slot.height > state.reproposed_to
        if is_fresh and _may_lead(state, message):
            _accept_pre_prepare(state, slot, message, state.digest_of(message.proposal))


def request_verification(state: ReplicaState, slot: Slot) -> None:
    """Ask the edge for the bodies of a slot's proposal, once.

    An INVALID verdict concerned the list that the leader sent; a quorum overrules it.
    """
    is_vouched = slot.is_reproposal or slot.is_ordered
    if is_vouched and slot.verdict is ProposalVerdict.INVALID:
        slot.verdict = ProposalVerdict.UNKNOWN
    if slot.proposal is None or slot.is_fetching or slot.verdict is ProposalVerdict.VALID:
        return
    slot.is_fetching = slot.is_asked = True
    message = slot.pre_prepare
    state.emit(
        VerifyProposal(
            slot.proposal,
            slot.digest,
            # A list that came with the proposal may be wrong; what a quorum has accepted is
            # fetched by its digest, from any peer that has it.
            message.tx_hashes if message is not None and not is_vouched else None,
            is_vouched,
            state.ancestors(slot.height),
        )
    )


def handle_proposal_verified(state: ReplicaState, event: ProposalVerified) -> None:
    """Record the edge's verdict; an answer about another proposal is late (R-LATE-1)."""
    slot = state.log.get(event.height)
    if slot is None or slot.proposal is None or slot.digest != event.digest:
        return
    slot.is_fetching = False
    if slot.verdict is ProposalVerdict.VALID:
        return
    is_vouched = slot.is_ordered or slot.is_reproposal
    is_overruled = is_vouched and event.verdict is ProposalVerdict.INVALID
    slot.verdict = ProposalVerdict.UNKNOWN if is_overruled else event.verdict


def handle_prepare(state: ReplicaState, vote: Prepare) -> None:
    """Store a PREPARE between the watermarks."""
    slot = _vote_slot(state, vote)
    if slot is not None:
        state.report(record_phase_vote(slot.prepares, vote))


def handle_commit(state: ReplicaState, vote: Commit) -> None:
    """Store a COMMIT between the watermarks."""
    slot = _vote_slot(state, vote)
    if slot is not None:
        state.report(record_phase_vote(slot.commits, vote))


def _vote_slot(state: ReplicaState, vote: Prepare | Commit) -> Slot | None:
    if vote.height <= state.log.stable_height:
        return None
    if not state.log.is_open(vote.height):
        raise InvalidMessage(f"vote for height {vote.height} above the high watermark")
    return state.log.slot(vote.height)


def handle_proposal_built(state: ReplicaState, event: ProposalBuilt) -> None:
    """Propose the block that the sealer built, unless its request is outdated (R-LATE-1)."""
    proposal = event.proposal
    if state.building != (event.view, proposal.height, proposal.previous) or not state.is_normal:
        return
    state.building = None
    slot = state.log.slot(proposal.height)
    digest = state.digest_of(proposal)
    message, record = state.safety.sign_pre_prepare(proposal, event.tx_hashes)
    slot.accept(proposal, digest, event.view)
    slot.is_reproposal = False
    slot.pre_prepare = message
    slot.verdict = ProposalVerdict.VALID
    state.persist(record, ProposalRecord(state.safety.epoch, event.view, proposal))
    state.broadcast(message)


def advance_ordering(state: ReplicaState) -> None:
    """Cast every vote that is due, and order what has a quorum, from the stable height up."""
    height = state.stable.height + 1
    while (slot := state.log.get(height)) is not None and slot.proposal is not None:
        if not slot.is_asked:  # only now: all proposals below are known
            request_verification(state, slot)
        if state.is_normal:
            _vote_prepare(state, slot)
            _build_certificate(state, slot)
            _vote_commit(state, slot)
        _order(state, slot)
        if slot.proposal.is_barrier:
            return  # proposals above it are judged by the state that it leaves (R-BAR-1)
        height += 1


def _extends_predecessor(state: ReplicaState, slot: Slot, proposal: Proposal) -> bool | None:
    """Whether the proposal extends the one below; None while that is unknown."""
    below = state.chain_below(
        slot.height,
        lambda s: (
            s.is_ordered
            or (
                state.is_current(s)
                and state.safety.has_voted(VoteKind.PREPARE, s.height, state.view)
            )
        ),
    )
    if below is None:
        return None
    return proposal.previous == below[0] and proposal.timestamp_ms > below[1]


def _is_final(state: ReplicaState, height: Height) -> bool:
    """Whether what this replica holds at a height can no longer be replaced."""
    slot = state.log.get(height)
    return height <= state.stable.height or (slot is not None and slot.is_ordered)


def _vote_prepare(state: ReplicaState, slot: Slot) -> None:
    proposal = slot.proposal
    if proposal is None or not state.is_current(slot) or slot.verdict is not ProposalVerdict.VALID:
        return
    if state.safety.has_voted(VoteKind.PREPARE, slot.height, state.view):
        return
    extends = _extends_predecessor(state, slot, proposal)
    if extends is False and not slot.is_ordered and _is_final(state, slot.height - 1):
        slot.verdict = ProposalVerdict.INVALID
    if not extends:
        return
    vote, record = state.safety.sign_prepare(slot.height, slot.digest)
    state.persist(record, ProposalRecord(state.safety.epoch, state.view, proposal))
    state.broadcast(vote)
    slot.prepares[vote.sender] = vote


def _build_certificate(state: ReplicaState, slot: Slot) -> None:
    if slot.proposal is None or not state.is_current(slot):
        return
    if slot.certificate is not None and slot.certificate.view == state.view:
        return
    voters = slot.prepared_voters()
    if not state.validators.has_quorum(voters):
        return
    signatures = tuple((index, slot.prepares[index].signature) for index in voters)
    slot.certificate = PreparedCertificate(state.view, slot.proposal, signatures)


def _vote_commit(state: ReplicaState, slot: Slot) -> None:
    certificate = slot.certificate
    if certificate is None or certificate.view != state.view or not state.is_current(slot):
        return
    if state.safety.has_voted(VoteKind.COMMIT, slot.height, state.view):
        return
    below = state.chain_below(
        slot.height,
        lambda s: s.is_ordered or state.safety.has_voted(VoteKind.COMMIT, s.height, state.view),
    )
    if below is None or below[0] != certificate.proposal.previous:
        return
    vote, record = state.safety.sign_commit(slot.height, slot.digest)
    state.persist(record, PreparedRecord(state.safety.epoch, certificate))
    state.broadcast(vote)
    slot.commits[vote.sender] = vote


def _order(state: ReplicaState, slot: Slot) -> None:
    if slot.is_ordered or slot.proposal is None:
        return
    below = state.chain_below(slot.height, lambda s: s.is_ordered)
    if below is None or below[0] != slot.proposal.previous:
        return
    if any(state.validators.has_quorum(voters) for voters in slot.commit_groups()):
        slot.is_ordered = True
        request_verification(state, slot)


def request_build(state: ReplicaState) -> None:
    """Ask for a block if this replica leads the next height; withdraw a stale request."""
    wanted = _next_to_build(state) if state.is_normal and not state.is_lagging else None
    if wanted is None:
        if state.building is not None:
            state.building = None
            state.emit(CancelBuild())
        return
    height, previous, timestamp_ms = wanted
    key = (state.view, height, previous)
    if state.building == key:
        return
    state.building = key
    state.emit(
        BuildProposal(
            state.view,
            height,
            previous,
            timestamp_ms + 1,
            state.safety.index,
            state.ancestors(height),
        )
    )


def next_height(state: ReplicaState) -> Height:
    """Return the lowest height above stable that has no proposal in this view."""
    height = state.stable.height + 1
    while (slot := state.log.get(height)) is not None and (
        state.is_current(slot) or slot.is_ordered
    ):
        height += 1
    return height


def _next_to_build(state: ReplicaState) -> tuple[Height, Hash32, int] | None:
    height = next_height(state)
    if not state.log.is_open(height) or height <= state.reproposed_to:
        return None
    if state.index is None or current_leader(state, height) != state.index:
        return None
    below = state.chain_below(
        height,
        lambda s: s.is_ordered or state.safety.has_voted(VoteKind.PREPARE, s.height, state.view),
    )
    if below is None:
        return None
    if state.safety.has_voted(VoteKind.PRE_PREPARE, height, state.view):
        return None
    return height, *below
