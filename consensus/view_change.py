"""Leaving a view whose leader fails, and opening the next (PROTOCOL.md section 6).

::

    time-out, leader's link gone, bad proposal, or f+1 others     VIEW-CHANGE(v') ──▶ all
    leader of v' with a quorum of them                            NEW-VIEW(v') ──▶ all
    every replica derives the re-proposals, then votes PREPARE in v'

A VIEW-CHANGE carries the stable certificate and the highest-view prepared certificate of each
height above it. Once it is signed, no vote is cast in the old view (P07). The timer for the
next step runs only while a quorum asks for this view or a later one, so a lone replica does not
run away from the others. A replica that sees more than f weight ask for views above its own
joins the smallest of those (rules R-VC-3, R-VC-4; B07, B17).
"""

from __future__ import annotations

from lowu.consensus.certificates import Selection, select_reproposals
from lowu.consensus.checkpoint import request_sync
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.inputs import ProposalVerdict
from lowu.consensus.leaders import find_opener, select_passed_over
from lowu.consensus.messages import NewView, ViewChange
from lowu.consensus.normal_case import accept_buffered, request_verification
from lowu.consensus.records import NewViewRecord
from lowu.consensus.state import ReplicaState
from lowu.consensus.suspects import (
    current_leader,
    list_suspects,
    note_failures,
)
from lowu.consensus.types import Height, NodeIndex, View


def start_view_change(state: ReplicaState, to_view: View) -> None:
    """Leave the current view (or a view change that failed) for `to_view`."""
    message, record = state.safety.sign_view_change(
        to_view, state.stable, state.prepared_certificates(), list_suspects(state)
    )
    state.persist(record)
    state.log.view_changes[message.sender] = message
    state.broadcast(message)
    _open_view_if_leader(state)


def handle_view_change(state: ReplicaState, message: ViewChange) -> None:
    """Store a VIEW-CHANGE, join if more than f weight is ahead, open the view if we lead."""
    state.note_peer_height(message.sender, message.stable.height)
    if message.stable.height > state.stable.height:
        request_sync(state, message.stable.height)
    if message.view <= state.view:
        return  # its sender's STATUS shows the old view, too, and is answered
    known = state.log.view_changes.get(message.sender)
    if known is None or message.view >= known.view:
        state.log.view_changes[message.sender] = message
    join_view_change(state)
    _open_view_if_leader(state)


def join_view_change(state: ReplicaState) -> None:
    """Join the smallest higher view once more than f weight asks for higher ones (R-VC-3)."""
    ahead = {
        index: change.view
        for index, change in state.log.view_changes.items()
        if change.view > state.safety.to_view
    }
    if state.validators.has_honest(ahead):
        note_failures(state, _failed_leaders(state))
        start_view_change(state, min(ahead.values()))


def supporters(state: ReplicaState, view: View) -> list[NodeIndex]:
    """Return the validators that ask for `view` or a later one."""
    changes = state.log.view_changes.items()
    return sorted(index for index, change in changes if change.view >= view)


def _open_view_if_leader(state: ReplicaState) -> None:
    """Send NEW-VIEW once a quorum asks for a view that this replica opens (rule R-NV-1)."""
    view = state.safety.to_view
    if not state.safety.is_changing or state.halt_reason is not None or state.index is None:
        return
    changes = {i: item for i, item in state.log.view_changes.items() if item.view == view}
    for top in sorted({item.stable.height for item in changes.values()}, reverse=True):
        if state.validators.leader(top + 1, view) != state.index:
            continue
        senders = sorted(i for i, item in changes.items() if item.stable.height <= top)
        if state.validators.has_quorum(senders):
            message = state.safety.sign_new_view(view, tuple(changes[i] for i in senders))
            enter_view(state, message)
            state.broadcast(message)
            return


def handle_new_view(state: ReplicaState, message: NewView) -> None:
    """Enter the view that a verified NEW-VIEW opens (its content is checked at the edge)."""
    if message.view <= state.view:
        if message.view == state.view and message != state.new_view:
            _learn_what_is_final(state, message)
        return
    if message.view < state.safety.to_view:
        raise InvalidMessage("NEW-VIEW for a view that this replica has already given up")
    enter_view(state, message)


def _learn_what_is_final(state: ReplicaState, message: NewView) -> None:
    """Learn from a second NEW-VIEW of our view what it proves to be final, and nothing else."""
    selection = select_reproposals(state.config.domain, message.view_changes)
    request_sync(state, selection.stable.height)
    settle_below(state, selection)


def enter_view(state: ReplicaState, message: NewView) -> None:
    """Enter a view and adopt its re-proposals (rule R-NV-2)."""
    selection = select_reproposals(state.config.domain, message.view_changes)
    record = state.safety.enter_view(message.view)
    state.new_view = message
    state.passed_over = select_passed_over(state.validators, message.view_changes, message.sender)
    state.persist(record, NewViewRecord(state.safety.epoch, message))
    state.log.view_changes = {
        index: change
        for index, change in state.log.view_changes.items()
        if change.view > message.view
    }
    request_sync(state, selection.stable.height)
    kept_to = selection.stable.height + len(selection.proposals)
    for slot in state.log.ascending():
        if slot.height > kept_to and slot.proposal is not None:
            slot.drop_proposal()
    adopt_selection(state, selection)
    accept_buffered(state)


def adopt_selection(state: ReplicaState, selection: Selection) -> None:
    """Adopt the re-proposals of the view entered, and order what it makes final."""
    state.reproposed_to = selection.stable.height + len(selection.proposals)
    settle_below(state, selection)
    for proposal in selection.proposals:
        if state.log.is_open(proposal.height):
            slot = state.log.slot(proposal.height)
            slot.accept(proposal, state.digest_of(proposal), state.view)
            slot.is_reproposal = True
            request_verification(state, slot)


def settle_below(state: ReplicaState, selection: Selection) -> None:
    """Treat as ordered what the stable certificate of a view makes final (rule R-NV-3).

    Perhaps only liars hold its block, and keep it to themselves. A replica that holds the
    proposals, from the NEW-VIEW or from before, executes them like any other.
    """
    given = {proposal.height: proposal for proposal in selection.settled}
    digest, height = selection.stable.digest, selection.stable.height
    while height > state.stable.height and state.log.is_open(height):
        slot = state.log.slot(height)
        proposal = given.get(height)
        if proposal is None and slot.digest == digest:
            proposal = slot.proposal
        if proposal is None:
            return
        slot.accept(proposal, digest, -1)  # of no view: it needs no more votes
        slot.is_ordered = True
        request_verification(state, slot)
        digest, height = proposal.previous, height - 1


def handle_view_timeout(state: ReplicaState) -> None:
    """Give up the current view, or the current attempt at a new one.

    A replica that leaves a view that worked skips views whose openers are not linked (R-VC-2):
    otherwise some replicas would wait for a dead opener, and others for the next one. After an
    attempt that failed, it asks for the very next view.
    """
    state.failed_attempts += 1
    note_failures(state, _failed_leaders(state))
    changing = state.safety.is_changing
    start_view_change(state, state.safety.to_view + 1 if changing else _next_linked_view(state))


def _failed_leaders(state: ReplicaState) -> set[NodeIndex]:
    """Return the leaders to blame if the view entered or asked for is given up now (R-LEAD-4)."""
    view = state.safety.to_view
    if state.is_lagging:
        return set()
    if state.safety.is_changing:
        opener = find_opener(state.validators, state.log.view_changes, view)
        return set() if opener is None else {opener}
    height = state.stable.height + 1
    return {current_leader(state, height)} if _needs_leader(state, height) else set()


def replace_failed_leader(state: ReplicaState) -> None:
    """Leave the view at once if its leader cannot lead (rule R-VC-2).

    It cannot if its proposal is provably bad. Nor can it, while work waits, a quorum is
    connected and the lowest height needs it, if its link is gone or it has itself asked for a
    later view. Views whose leaders cannot lead either are skipped, at most n of them (B16).
    """
    if not state.is_normal or state.is_lagging:
        return
    liars = {
        current_leader(state, slot.height)
        for slot in state.log.slots.values()
        if state.is_current(slot)
        and slot.verdict is ProposalVerdict.INVALID
        and not slot.is_reproposal
    }
    if liars:
        note_failures(state, liars)
        start_view_change(state, state.view + 1)
        return
    height = state.stable.height + 1
    is_at_work = state.has_pending or state.has_in_flight()
    if not is_at_work or not _needs_leader(state, height):
        return
    reachable = _reachable(state)
    if not state.validators.has_quorum(reachable):
        return
    if _can_lead(state, reachable, current_leader(state, height), state.view):
        return
    leaders = {
        view: state.validators.leader(height, view)
        for view in range(state.view + 1, state.view + 1 + len(state.validators))
    }
    to_view = next(  # one exists: this replica itself could lead
        view for view, leader in leaders.items() if _can_lead(state, reachable, leader, view)
    )
    skipped = {leader for view, leader in leaders.items() if view < to_view} - reachable
    note_failures(state, {current_leader(state, height)} | skipped)
    start_view_change(state, to_view)


def _next_linked_view(state: ReplicaState) -> View:
    """Return the first view after the one entered whose opener is linked, or is this replica.

    Only a connected quorum can open one; without it the next view is as good as any.
    """
    height, reachable = state.stable.height + 1, _reachable(state)
    if not state.validators.has_quorum(reachable):
        return state.view + 1
    views = range(state.view + 1, state.view + 1 + len(state.validators))
    return next(view for view in views if state.validators.leader(height, view) in reachable)


def _needs_leader(state: ReplicaState, height: Height) -> bool:
    """Whether a height needs its leader to be ordered: it is neither prepared nor fixed."""
    if height <= state.reproposed_to:
        return False
    slot = state.log.get(height)
    if slot is None or not state.is_current(slot):
        return slot is None or not slot.is_ordered
    is_prepared = slot.certificate is not None and slot.certificate.view == state.view
    return not (slot.is_ordered or slot.is_reproposal or is_prepared)


def _reachable(state: ReplicaState) -> frozenset[NodeIndex]:
    if state.connected is None:
        return frozenset(range(len(state.validators)))
    connected = state.connected | {state.config.node_id}
    return frozenset(
        index
        for index, validator in enumerate(state.validators.validators)
        if validator.node_id in connected
    )


def _can_lead(
    state: ReplicaState, reachable: frozenset[NodeIndex], leader: NodeIndex, view: View
) -> bool:
    """Whether a leader is linked and has not itself asked to go beyond `view`."""
    change = state.log.view_changes.get(leader)
    return leader in reachable and (change is None or change.view <= view)
