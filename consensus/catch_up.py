"""Catching up, and helping other validators to catch up (PROTOCOL.md section 7).

STATUS is the pull: a stalled replica broadcasts its view and stable height. Each validator
answers with what the asker may lack: the proof of a newer view, its own VIEW-CHANGE, its own
votes above the asker's stable height, or its own STATUS if it has more blocks. It answers each
asker at most once per resend period, and once more if the asker's link came up then (B14, P22).
"""

from __future__ import annotations

from collections.abc import Collection

from lowu.consensus.checkpoint import become_stable, request_sync
from lowu.consensus.effects import Send
from lowu.consensus.errors import require_invariant
from lowu.consensus.inputs import CaughtUp, LinksChanged, Synced
from lowu.consensus.messages import Checkpoint, Commit, Message, Prepare, Status
from lowu.consensus.normal_case import request_verification
from lowu.consensus.state import ReplicaState
from lowu.consensus.suspects import list_suspects
from lowu.consensus.validators import ValidatorSet


def handle_links_changed(state: ReplicaState, event: LinksChanged) -> None:
    """Record which nodes are linked; send STATUS to validators just linked (rule R-CU-4).

    Each side missed what the other sent while the link was down, above all its view.
    """
    found = event.connected - state.linked
    state.linked = event.connected
    state.connected = None if event.is_linking_up else event.connected
    members = {index for index in map(state.validators.index_of, found) if index is not None}
    asked = members - state.greeted - {state.index}
    if state.index is None or not asked:
        return
    state.greeted |= asked
    state.answered -= asked  # an earlier answer may be lost with the old link
    status = state.safety.sign_status(state.stable.height)
    for index in sorted(asked):
        state.emit(Send(index, status))


def handle_status(state: ReplicaState, message: Status) -> None:
    """Answer a STATUS, and fetch blocks if its sender has more."""
    state.note_peer_height(message.sender, message.stable_height)
    if message.stable_height > state.stable.height:
        request_sync(state, message.stable_height)
    if message.sender in state.answered:
        return
    state.answered.add(message.sender)
    if message.view < state.view and state.new_view is not None:
        state.emit(Send(message.sender, state.new_view))
    for answer in _what_asker_may_lack(state, message):
        state.emit(Send(message.sender, answer))


def _what_asker_may_lack(state: ReplicaState, message: Status) -> list[Message]:
    answers: list[Message] = []
    index = state.safety.index
    own_change = state.log.view_changes.get(index)
    if state.safety.is_changing and own_change is not None:
        answers.append(own_change)
    if message.stable_height < state.stable.height:
        answers.append(state.safety.sign_status(state.stable.height))
    for slot in state.log.ascending():
        if slot.height <= message.stable_height:
            continue
        own = slot.pre_prepare
        if own is not None and own.sender == index and own.view == state.view:
            answers.append(own)
        for votes in (slot.prepares, slot.commits):
            vote = votes.get(index)
            if vote is not None and vote.view == state.view and state.is_normal:
                answers.append(vote)
        if index in slot.checkpoints:
            answers.append(slot.checkpoints[index])
    return answers


def handle_resend(state: ReplicaState) -> None:
    """Ask again for what is missing; repeat an unanswered VIEW-CHANGE.

    A replica whose stable height rose in this period is not stuck: it sends no STATUS, unless
    it is changing views (rule R-CU-1).
    """
    state.answered.clear()
    state.greeted.clear()
    has_risen = state.stable.height > state.resend_height
    is_behind, wanted = _is_behind(state), state.sync_requested
    state.sync_requested = 0
    if is_behind:
        request_sync(state, wanted)
    if not needs_resend(state) or (has_risen and not state.safety.is_changing):
        return
    for slot in state.log.ascending():
        if state.is_current(slot) or slot.is_ordered:
            request_verification(state, slot)
    if state.safety.is_changing:
        change = state.safety.resign_view_change(
            state.stable, state.prepared_certificates(), list_suspects(state)
        )
        state.log.view_changes[change.sender] = change
        state.broadcast(change)
    state.broadcast(state.safety.sign_status(state.stable.height))


def needs_resend(state: ReplicaState) -> bool:
    """Whether this replica waits for something that may have been lost."""
    is_waiting = state.safety.is_changing or state.has_in_flight() or state.has_pending
    return state.index is not None and (is_waiting or _is_behind(state))


def _is_behind(state: ReplicaState) -> bool:
    """Whether more than f weight claims more blocks: one claim alone may be false."""
    ahead = [i for i, height in state.peer_heights.items() if height > state.stable.height]
    return state.validators.has_honest(ahead) and state.sync_requested > state.stable.height


def handle_synced(state: ReplicaState, event: Synced) -> None:
    """Adopt blocks that the edge fetched, verified, executed and committed."""
    certificate = event.certificate
    if certificate.height <= state.stable.height:
        return
    for slot in state.log.ascending():
        if slot.height == certificate.height and slot.is_ordered:
            require_invariant(
                slot.digest == certificate.digest,
                f"P01: synced block {certificate.height} contradicts what was ordered here",
            )
    state.executing = None
    become_stable(state, certificate, event.timestamp_ms, event.epoch)
    _end_abstention(state)


def is_witnessed(validators: ValidatorSet, level: Collection[bytes], own: bytes) -> bool:
    """Whether enough validators were not ahead of one that may have lost its votes (rule R-WIPE-1).

    `level` are the ids of those who have told no more blocks than it has, `own` is its own. With it
    they have to be a quorum, and without it of more than f weight: it knows nothing of its own
    votes, so it witnesses nothing, even where it is a quorum by itself.
    """
    found = (validators.index_of(node_id) for node_id in level if node_id != own)
    others = {index for index in found if index is not None}
    index = validators.index_of(own)
    everybody = others if index is None else others | {index}
    return validators.has_honest(others) and validators.has_quorum(everybody)


def handle_caught_up(state: ReplicaState, event: CaughtUp) -> None:
    """Bound the height that this node's lost votes may reach (rule R-WIPE-1).

    Its lost head had CHECKPOINTs of a quorum, so some honest validator of the quorum asked is at
    most one window below that head; and this node voted at most one window above it. That holds
    within an epoch: if the lost head is of a later one, the quorum asked has signed the barrier
    between, so this node comes to that first, and asks the validators above it.
    """
    is_of_epoch = event.height >= state.epoch.first_height - 1
    if state.abstains and state.votes_above is None and is_of_epoch:
        state.votes_above = event.height + 2 * state.config.window


def _end_abstention(state: ReplicaState) -> None:
    if state.votes_above is None or state.stable.height < state.votes_above:
        return
    state.abstains, state.votes_above = False, None
    state.index = state.validators.index_of(state.config.node_id)
    if state.index is not None:
        state.persist(state.safety.begin(state.index))
        state.broadcast(state.safety.sign_status(state.stable.height))


def restore_votes(state: ReplicaState) -> None:
    """Put this replica's recorded votes back into the log after a restart."""
    index = state.safety.index
    for (height, _), record in sorted(state.safety.votes.items()):
        slot = state.log.slot(height)
        match state.safety.resign_vote(record):
            case Prepare() as prepare:
                slot.prepares[index] = prepare
            case Commit() as commit:
                slot.commits[index] = commit
            case Checkpoint() as checkpoint:
                slot.checkpoints[index] = checkpoint
            case _:
                pass  # a PRE-PREPARE: its transaction list is no longer held
