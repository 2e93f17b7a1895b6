"""From ordered to committed: execute, compare results, make stable (PROTOCOL.md section 5).

Ordered proposals are executed strictly by height, one at a time. A quorum of CHECKPOINTs on
one block hash is the commit certificate; the block is then written with it in one durable
batch, and only the answer to that write raises the stable height (rule R-CP-2).
"""

from __future__ import annotations

from lowu.consensus.effects import CommitBlock, ExecuteProposal, Halt, RequestSync
from lowu.consensus.epochs import Epoch
from lowu.consensus.errors import require_invariant
from lowu.consensus.inputs import BlockCommitted, ProposalExecuted, ProposalVerdict
from lowu.consensus.message_log import MessageLog, Slot, record_checkpoint
from lowu.consensus.messages import Checkpoint, CommitCertificate
from lowu.consensus.state import ReplicaState, effective_window
from lowu.consensus.suspects import note_success
from lowu.consensus.types import Hash32, NodeIndex


def handle_checkpoint(state: ReplicaState, vote: Checkpoint) -> None:
    """Store a CHECKPOINT between the watermarks.

    Execution runs up to a window ahead of commits, so a CHECKPOINT proves only that its sender
    is stable one window below it.
    """
    if vote.height <= state.stable.height:
        return
    stable_at_least = vote.height - state.log.window
    state.note_peer_height(vote.sender, stable_at_least)
    if not state.log.is_open(vote.height):
        if state.is_lagging:
            request_sync(state, stable_at_least)
        return
    state.report(record_checkpoint(state.log.slot(vote.height), vote))


def advance_execution(state: ReplicaState) -> None:
    """Start the next execution, and the next durable commit, when they are due."""
    _start_execution(state)
    _start_commit(state)
    _notice_missed_block(state)


def _start_execution(state: ReplicaState) -> None:
    if state.executing is not None or state.halt_reason is not None:
        return
    height = state.stable.height + 1
    while (slot := state.log.get(height)) is not None and slot.is_ordered:
        if slot.executed_hash is None:
            if slot.verdict is ProposalVerdict.VALID and slot.proposal is not None:
                state.executing = slot.digest
                state.emit(ExecuteProposal(slot.proposal, slot.digest))
            return
        if slot.proposal is not None and slot.proposal.is_barrier:
            return  # proposals above it run on the state it leaves (R-BAR-1)
        height += 1


def handle_proposal_executed(state: ReplicaState, event: ProposalExecuted) -> None:
    """Vote for the result of our own execution."""
    if state.executing != event.digest:
        return
    state.executing = None
    slot = state.log.get(event.height)
    if slot is None or slot.digest != event.digest or not slot.is_ordered:
        return
    slot.executed_hash = event.block_hash
    vote, record = state.safety.sign_checkpoint(event.height, event.digest, event.block_hash)
    state.persist(record)
    state.broadcast(vote)
    slot.checkpoints[vote.sender] = vote


def _quorum_result(
    state: ReplicaState, slot: Slot
) -> tuple[tuple[Hash32, Hash32], list[NodeIndex]]:
    if not state.validators.has_quorum(slot.checkpoints):
        return (b"", b""), []
    groups: dict[tuple[Hash32, Hash32], list[NodeIndex]] = {}
    for index in sorted(slot.checkpoints):
        vote = slot.checkpoints[index]
        groups.setdefault((vote.digest, vote.block_hash), []).append(index)
    for result, voters in groups.items():
        if state.validators.has_quorum(voters):
            return result, voters
    return (b"", b""), []


def _start_commit(state: ReplicaState) -> None:
    slot = state.log.get(state.stable.height + 1)
    if slot is None or slot.executed_hash is None or state.committing is not None:
        return
    (digest, block_hash), voters = _quorum_result(state, slot)
    if not voters:
        return
    if (digest, block_hash) != (slot.digest, slot.executed_hash):
        reason = (
            f"height {slot.height}: own execution gave block {slot.executed_hash.hex()}, "
            f"a quorum has {block_hash.hex()}"
        )
        state.halt_reason = reason
        state.emit(Halt(reason))
        return
    signatures = tuple((index, slot.checkpoints[index].signature) for index in voters)
    state.committing = slot.height
    state.emit(CommitBlock(CommitCertificate(slot.height, digest, block_hash, signatures)))


def _notice_missed_block(state: ReplicaState) -> None:
    """Fetch a block that a quorum committed and this replica cannot order itself."""
    for slot in state.log.slots.values():
        if not slot.is_ordered and _quorum_result(state, slot)[1]:
            request_sync(state, slot.height)


def request_sync(state: ReplicaState, height: int) -> None:
    """Ask the edge for blocks up to `height`, once for each new height."""
    if height > max(state.sync_requested, state.stable.height):
        state.sync_requested = height
        state.emit(RequestSync(height))


def handle_block_committed(state: ReplicaState, event: BlockCommitted) -> None:
    """Raise the stable height after the durable write."""
    slot = state.log.get(event.height)
    if state.committing != event.height or slot is None or slot.proposal is None:
        return
    _, voters = _quorum_result(state, slot)
    signatures = tuple((index, slot.checkpoints[index].signature) for index in voters)
    certificate = CommitCertificate(event.height, slot.digest, event.block_hash, signatures)
    epoch = former = state.epoch
    if event.validators is not None:
        require_invariant(
            slot.proposal.is_barrier,
            f"P09: block {event.height} changed the validators unannounced",
        )
        epoch = Epoch(event.height + 1, event.validators)
    proposal = slot.proposal
    become_stable(state, certificate, proposal.timestamp_ms, epoch)
    if epoch == former:
        note_success(state, proposal.proposer)


def become_stable(
    state: ReplicaState,
    certificate: CommitCertificate,
    timestamp_ms: int,
    epoch: Epoch,
) -> None:
    """Make a durably committed block the low watermark; `epoch` decides the heights above."""
    state.stable = certificate
    state.stable_timestamp_ms = timestamp_ms
    state.log.advance_stable(certificate.height)
    state.safety.forget(certificate.height)
    state.failed_attempts = 0
    state.committing = None
    state.judge_lag()
    if epoch != state.epoch:
        _enter_epoch(state, epoch)


def _enter_epoch(state: ReplicaState, epoch: Epoch) -> None:
    """Begin view 0 with the new validators; earlier indices and votes lose their meaning."""
    index = None if state.abstains else epoch.validators.index_of(state.config.node_id)
    state.epoch, state.index = epoch, index
    record = state.safety.enter_epoch(epoch.first_height, -1 if index is None else index)
    state.votes_above = None  # validators of before say nothing of the heights of this epoch
    if not state.abstains:  # a view record on disk says that no vote is lost
        state.persist(record)
    state.log = MessageLog(state.stable.height, effective_window(state.config, epoch))
    state.new_view, state.reproposed_to = None, 0
    state.executing = None
    for indexed in (
        state.answered,
        state.greeted,
        state.peer_heights,
        state.accused,
        state.passed_over,
        state.failures,
    ):
        indexed.clear()
    state.judge_lag()
