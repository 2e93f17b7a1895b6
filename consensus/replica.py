"""`Replica`: PBFT for one validator as a deterministic state machine.

The same inputs give the same effects, byte for byte. The core has no clock, no randomness and
no I/O: time enters as `TimerFired`, messages enter verified, everything slow is an effect
whose answer is a later input. Effects are to be performed in order (see `effects`).

::

    replica = Replica(config, sign)                    a new chain
    replica, effects = Replica.recover(...)            after a restart
    effects = replica.step(MessageReceived(verified))  raises InvalidMessage, changing nothing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from lowu.consensus.catch_up import (
    handle_caught_up,
    handle_links_changed,
    handle_resend,
    handle_status,
    handle_synced,
    needs_resend,
    restore_votes,
)
from lowu.consensus.certificates import VerifiedMessage, reference_height, select_reproposals
from lowu.consensus.checkpoint import (
    advance_execution,
    handle_block_committed,
    handle_checkpoint,
    handle_proposal_executed,
)
from lowu.consensus.effects import CancelTimer, Effect, StartTimer
from lowu.consensus.epochs import Epoch
from lowu.consensus.errors import InvalidMessage, require_invariant
from lowu.consensus.inputs import (
    BlockCommitted,
    CaughtUp,
    Input,
    LinksChanged,
    MessageReceived,
    PendingChanged,
    ProposalBuilt,
    ProposalExecuted,
    ProposalVerdict,
    ProposalVerified,
    Synced,
    TimerFired,
    TimerId,
)
from lowu.consensus.leaders import select_passed_over
from lowu.consensus.message_log import MessageLog
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from lowu.consensus.normal_case import (
    advance_ordering,
    handle_commit,
    handle_pre_prepare,
    handle_prepare,
    handle_proposal_built,
    handle_proposal_verified,
    next_height,
    request_build,
)
from lowu.consensus.records import (
    EvidenceRecord,
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    Record,
    VoteKind,
)
from lowu.consensus.safety import Safety
from lowu.consensus.state import ReplicaConfig, ReplicaState, effective_window
from lowu.consensus.suspects import current_leader
from lowu.consensus.types import Height, NodeIndex, Sign, View
from lowu.consensus.validators import ValidatorSet
from lowu.consensus.view_change import (
    adopt_selection,
    handle_new_view,
    handle_view_change,
    handle_view_timeout,
    replace_failed_leader,
    supporters,
)

_FOR_OBSERVERS = (Synced, CaughtUp, LinksChanged, PendingChanged, TimerFired)


class Replica:
    """One validator's consensus state machine."""

    def __init__(
        self,
        config: ReplicaConfig,
        sign: Sign,
        epoch: Epoch,
        stable: CommitCertificate | None = None,
        stable_timestamp_ms: int = 0,
    ) -> None:
        head = stable if stable is not None else config.genesis
        index = epoch.validators.index_of(config.node_id)
        own = -1 if index is None else index
        self._state = ReplicaState(
            config=config,
            epoch=epoch,
            index=index,
            safety=Safety(config.domain, own, sign, epoch.first_height),
            log=MessageLog(head.height, effective_window(config, epoch)),
            stable=head,
            stable_timestamp_ms=stable_timestamp_ms,
        )

    @classmethod
    def recover(
        cls,
        config: ReplicaConfig,
        sign: Sign,
        epoch: Epoch,
        records: Iterable[Record],
        stable: CommitCertificate,
        stable_timestamp_ms: int,
        *,
        is_memory_lost: bool = False,
    ) -> tuple[Replica, tuple[Effect, ...]]:
        """Rebuild a replica from its durable records and head; ask its peers what it missed.

        `epoch` is the epoch of the height above the head. A node that lost its disk abstains
        until the chain is past every height that it may have voted on (rule R-WIPE-1).

        Raises:
            ValueError: the window is too small for the heights that it has voted on.
        """
        replica = cls(config, sign, epoch, stable, stable_timestamp_ms)
        state = replica._state
        if is_memory_lost:
            state.abstains, state.index = True, None
            return replica, ()
        known = list(records)
        state.safety.restore(known)
        state.safety.forget(stable.height)
        highest = max((height for height, _ in state.safety.votes), default=0)
        if highest > state.log.height_max:
            raise ValueError(
                f"this replica has voted up to height {highest} above its head {stable.height}: "
                f"a window of {state.log.window} would forget it; start with at least "
                f"{highest - stable.height}"
            )
        for record in known:
            replica._restore_record(record)
        if state.index is None:
            return replica, ()
        replica._restore_view()
        restore_votes(state)
        state.broadcast(state.safety.sign_status(stable.height))
        return replica, replica._finish_step()

    def _restore_record(self, record: Record) -> None:
        state = self._state
        if record.epoch != state.epoch.first_height:
            return
        match record:
            case ProposalRecord() if state.log.is_open(record.proposal.height):
                slot = state.log.slot(record.proposal.height)
                slot.accept(record.proposal, state.digest_of(record.proposal), record.view)
                slot.verdict = ProposalVerdict.VALID
            case PreparedRecord() if state.log.is_open(record.certificate.proposal.height):
                slot = state.log.slot(record.certificate.proposal.height)
                slot.certificate = record.certificate
            case NewViewRecord(new_view=new_view) if new_view.view == state.view:
                state.new_view = new_view
            case EvidenceRecord(evidence=evidence):
                state.accused.add((evidence.accused, type(evidence.first)))

    def _restore_view(self) -> None:
        """Restore the re-proposals of the view entered; drop what it did not carry over."""
        state = self._state
        if state.new_view is None:
            return
        for slot in state.log.ascending():
            if slot.proposal is not None and slot.accepted_view != state.view:
                slot.drop_proposal()
        changes, opener = state.new_view.view_changes, state.new_view.sender
        state.passed_over = select_passed_over(state.validators, changes, opener)
        adopt_selection(state, select_reproposals(state.config.domain, changes))

    # --- one step -----------------------------------------------------------------------

    def step(self, event: Input) -> tuple[Effect, ...]:
        """Handle one input; return the effects to perform, in order.

        Raises:
            InvalidMessage: the input broke a rule; neither state nor effects changed.
            InvariantViolation: a safety property does not hold; stop the node.
        """
        state = self._state
        if state.halt_reason is not None and not isinstance(event, Synced):
            return ()
        if state.index is None and not isinstance(event, _FOR_OBSERVERS):
            return ()
        stable_before = state.stable.height
        try:
            self._handle(event)
        except InvalidMessage:
            state.effects.clear()
            raise
        effects = self._finish_step()
        require_invariant(state.stable.height >= stable_before, "P08: the head went back")
        return effects

    def _handle(self, event: Input) -> None:
        state = self._state
        match event:
            case MessageReceived():
                self._handle_message(event.verified)
            case TimerFired():
                self._handle_timer(event)
            case ProposalBuilt():
                handle_proposal_built(state, event)
            case ProposalVerified():
                handle_proposal_verified(state, event)
            case ProposalExecuted():
                handle_proposal_executed(state, event)
            case BlockCommitted():
                handle_block_committed(state, event)
            case Synced():
                handle_synced(state, event)
            case CaughtUp():
                handle_caught_up(state, event)
            case PendingChanged(has_pending):
                state.has_pending = has_pending
            case LinksChanged():
                handle_links_changed(state, event)
            case _:
                assert_never(event)

    def _handle_message(self, verified: VerifiedMessage) -> None:
        state = self._state
        message = verified.message
        if verified.epoch != state.epoch.first_height:
            raise InvalidMessage("a message of another epoch")
        if message.sender == state.index:
            raise InvalidMessage("a message that claims to come from this validator")
        match message:
            case PrePrepare():
                digest = verified.digest or state.digest_of(message.proposal)
                handle_pre_prepare(state, message, digest)
            case Prepare():
                handle_prepare(state, message)
            case Commit():
                handle_commit(state, message)
            case Checkpoint():
                handle_checkpoint(state, message)
            case ViewChange():
                handle_view_change(state, message)
            case NewView():
                handle_new_view(state, message)
            case Status():
                handle_status(state, message)
            case _:
                assert_never(message)

    def _handle_timer(self, event: TimerFired) -> None:
        """Handle a time-out, unless its timer was stopped or restarted since (R-LATE-1)."""
        state = self._state
        if state.timers.get(event.timer) != event.number:
            return
        del state.timers[event.timer]
        if state.index is None:
            return  # the timer was started before this node was removed
        if event.timer is TimerId.RESEND:
            handle_resend(state)
        else:
            state.view_timer = None
            handle_view_timeout(state)

    def _finish_step(self) -> tuple[Effect, ...]:
        """Do what is now due, set the timers, and return the effects."""
        state = self._state
        advance_ordering(state)
        advance_execution(state)
        replace_failed_leader(state)
        request_build(state)
        self._set_timers()
        effects, state.effects = tuple(state.effects), []
        return effects

    # --- timers -------------------------------------------------------------------------

    def _wanted_view_timer(self) -> tuple[str, View, Height] | None:
        state = self._state
        if state.index is None or state.halt_reason is not None or state.is_lagging:
            return None
        if state.safety.is_changing:
            view = state.safety.to_view
            is_backed = state.validators.has_quorum(supporters(state, view))
            return ("changing", view, 0) if is_backed else None
        if state.has_pending or state.has_in_flight():
            return ("normal", state.view, state.stable.height)
        return None

    def _set_timers(self) -> None:
        state = self._state
        timeouts = state.config.timeouts
        wanted = self._wanted_view_timer()
        if wanted != state.view_timer:
            state.view_timer = wanted
            if wanted is not None:
                delay_ms = timeouts.view_timeout_ms(state.failed_attempts)
                self._start_timer(TimerId.VIEW, delay_ms)
            elif state.timers.pop(TimerId.VIEW, None) is not None:
                state.emit(CancelTimer(TimerId.VIEW))
        is_armed = TimerId.RESEND in state.timers
        if not is_armed and (state.answered or state.greeted or needs_resend(state)):
            state.resend_height = state.stable.height
            self._start_timer(TimerId.RESEND, timeouts.resend_ms)

    def _start_timer(self, timer: TimerId, delay_ms: int) -> None:
        state = self._state
        state.timers_started += 1
        state.timers[timer] = state.timers_started
        state.emit(StartTimer(timer, delay_ms, state.timers_started))

    # --- what callers may read ----------------------------------------------------------

    @property
    def index(self) -> NodeIndex | None:
        """This node's index among the validators; None while it is not one, or abstains."""
        return self._state.index

    @property
    def validators(self) -> ValidatorSet:
        """The validators of the heights in flight; indices in effects are positions here."""
        return self._state.validators

    @property
    def view(self) -> View:
        """The view entered."""
        return self._state.view

    @property
    def to_view(self) -> View:
        """The view asked for; equal to `view` in normal operation."""
        return self._state.safety.to_view

    @property
    def is_normal(self) -> bool:
        """Whether this replica is voting in its view."""
        return self._state.is_normal

    @property
    def stable(self) -> CommitCertificate:
        """The certificate of the last committed block."""
        return self._state.stable

    @property
    def halt_reason(self) -> str | None:
        """Why this replica stopped voting for good, if it did."""
        return self._state.halt_reason

    @property
    def failed_attempts(self) -> int:
        """View time-outs since the last committed block (FISCO BCOS's changeCycle)."""
        return self._state.failed_attempts

    @property
    def next_leader(self) -> NodeIndex:
        """The leader of the lowest height that has no proposal yet."""
        return current_leader(self._state, next_height(self._state))

    @property
    def checkpoint_height(self) -> Height:
        """The highest block that this replica has signed a CHECKPOINT of, or has committed.

        Whatever was acknowledged to anybody has CHECKPOINTs of a quorum (R-CERT-2).
        """
        votes = self._state.safety.votes
        signed = (height for height, kind in votes if kind is VoteKind.CHECKPOINT)
        return max([self._state.stable.height, *signed])

    @property
    def passed_over(self) -> Mapping[NodeIndex, Height]:
        """The leaders passed over in the view entered, and up to which height (R-LEAD-3)."""
        return self._state.passed_over

    @property
    def epoch(self) -> Epoch:
        """The epoch that this replica is in."""
        return self._state.epoch

    @property
    def phase(self) -> str:
        """What this replica is doing: normal, changing, lagging, observing, abstaining, halted."""
        state = self._state
        if state.halt_reason is not None:
            return "halted"
        if state.abstains:
            return "abstaining"
        if state.index is None:
            return "observing"
        if state.is_lagging:
            return "lagging"
        return "changing" if state.safety.is_changing else "normal"

    def is_stale(self, message: Message) -> bool:
        """Whether a message would change nothing here, whatever its signatures are (R-SIG-3).

        A message that shows a higher block may be of the next epoch, whose views restart at 0.
        """
        state = self._state
        if state.index is None or reference_height(message) < state.epoch.first_height:
            return True
        match message:
            case PrePrepare(proposal=proposal):
                return proposal.height <= state.stable.height
            case Prepare(height=height) | Commit(height=height) | Checkpoint(height=height):
                return height <= state.stable.height
            case ViewChange(view=view, stable=stable):
                return view <= state.view and stable.height <= state.stable.height
            case NewView(view=view):
                is_ahead = reference_height(message) > state.stable.height + 1
                return (view < state.view and not is_ahead) or message == state.new_view
            case _:
                return False

    @property
    def is_busy(self) -> bool:
        """Whether an execution or a durable commit has not been answered yet."""
        return self._state.executing is not None or self._state.committing is not None

    def fingerprint(self) -> tuple[int, ...]:
        """Return numbers that show whether a message changed this replica (P12)."""
        state = self._state
        views = (state.safety.view, state.safety.to_view)
        return (state.size(), len(state.log.slots), state.stable.height, *views)

    def has_evidence(self, accused: NodeIndex, kind: type) -> bool:
        """Whether two contradicting messages of a kind are stored against a validator."""
        return (accused, kind) in self._state.accused

    def is_settled(self, height: Height) -> bool:
        """Whether a certificate at or above a height makes it final, without votes (R-NV-3)."""
        slot = self._state.log.get(height)
        return slot is not None and slot.is_ordered and slot.accepted_view < 0

    def held_heights(self) -> list[Height]:
        """Return the heights for which this replica holds anything (P09)."""
        return list(self._state.log.slots)

    def size(self) -> int:
        """Return the number of messages and votes held."""
        return self._state.size()

    def size_max(self) -> int:
        """Return the bound of `size`, whatever arrives (P21, P23)."""
        return self._state.size_max()
