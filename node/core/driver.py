"""The driver: the only caller of `Replica.step`, and the performer of its effects.

Inputs come through the inbox and are handled one at a time. The vote records of a
step are synced in two places before anything of that step leaves (R-SAFE-3); if they cannot be
written the node stops. Slow effects run as tasks whose answers come back as inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from lowu.consensus import effects as fx
from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import decode_message, encode_message
from lowu.consensus.effects import Effect
from lowu.consensus.errors import InvalidMessage, UnknownEpoch
from lowu.consensus.inputs import (
    BlockCommitted,
    Input,
    LinksChanged,
    MessageReceived,
    ProposalExecuted,
    ProposalVerdict,
    ProposalVerified,
    TimerFired,
    TimerId,
)
from lowu.consensus.messages import Commit, Message, PrePrepare
from lowu.consensus.replica import Replica
from lowu.node.core.inbox import Inbox
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.core.proposals.checks import ProposalChecker
from lowu.node.core.scheduler import Scheduler
from lowu.node.core.sealer import Sealer
from lowu.node.core.sync import Sync
from lowu.node.errors import BadInput, NodeError
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.ledger.ledger import Ledger
from lowu.node.metrics import BlockPhase, BlockPhases, CpuTimes, Part

UNKNOWN_MAX = 512
HANDLED_AT_ONCE = 8
"""Inputs after which other tasks may run."""
LINK_GRACE_S = 3.0
"""How long a starting node may take to link up before a missing link counts as gone."""

LAG_TOLD_S = 0.2
"""How long a node lags before it says so: most lags end sooner than a change of the view takes."""

log = logging.getLogger("CONSENSUS")


class ReplicaHalted(NodeError):
    """This node's execution contradicts a quorum."""


class Driver:
    """Runs one replica against the rest of the node."""

    def __init__(
        self,
        *,
        node_id: bytes,
        replica: Replica,
        first_effects: Sequence[Effect],
        verifier: MessageVerifier,
        inbox: Inbox,
        gateway: Gateway,
        ledger: Ledger,
        scheduler: Scheduler,
        bodies: BodyStore,
        checker: ProposalChecker,
        sealer: Sealer,
        sync: Sync,
        membership: Membership,
        cpu: CpuTimes,
        phases: BlockPhases,
    ) -> None:
        self._node_id = node_id
        self.replica = replica
        self._first_effects = first_effects
        self._verifier = verifier
        self._inbox = inbox
        self._gateway = gateway
        self._ledger = ledger
        self._scheduler = scheduler
        self._bodies = bodies
        self._checker = checker
        self._sealer = sealer
        self._sync = sync
        self._membership = membership
        self._cpu = cpu
        self.phases = phases
        self._timers: dict[TimerId, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._is_linked_up = False
        self._lag = trio.Event()
        """Set when the replica begins to lag, or has caught up."""
        self._unknown: dict[bytes, tuple[int, int]] = {}
        """By member: our height, and how much was not taken from it at that height."""
        self.on_send: Callable[[Message], None] = lambda message: None
        """Told of every message before it leaves (simulation watches votes here)."""
        self.invalid_messages = 0

    # --- inputs -----------------------------------------------------------------------------

    def note_links(self, connected: frozenset[bytes]) -> None:
        """Tell which nodes are linked and vote; only the latest note counts.

        While this node is still linking up after its start, a leader that has not been reached
        yet is not a leader that is gone.
        """
        others = set(self._members) - {self._node_id}
        self._is_linked_up = self._is_linked_up or others <= connected
        voting = connected - self._sync.abstaining
        self._inbox.note(LinksChanged(voting, is_linking_up=not self._is_linked_up))

    @property
    def _members(self) -> list[bytes]:
        return [item.node_id for item in self.replica.validators.validators]

    async def _end_link_grace(self) -> None:
        await trio.sleep(LINK_GRACE_S)
        self._is_linked_up = True
        self.note_links(self._gateway.connected)

    async def handle_frame(self, node_id: bytes, payload: object) -> None:
        """Take a consensus message from the gateway: decode, verify, queue."""
        if not isinstance(payload, bytes):
            raise BadInput("consensus frame without bytes")
        try:
            with self._cpu.measure(Part.CONSENSUS):
                message = decode_message(payload, self._verifier.window)
                self._verifier.verify_link(node_id, message)
                if self.replica.is_stale(message):
                    return
                verified = self._verifier.verify_message(message)
        except UnknownEpoch as error:
            self._tolerate(node_id, error)
            return
        except InvalidMessage as error:
            self.invalid_messages += 1
            log.warning("invalid message,peer=%s,reason=%s", node_id.hex()[:16], error)
            raise BadInput(str(error)) from error
        if isinstance(message, PrePrepare) and message.proposal.proposer == message.sender:
            self._checker.note_time(message.proposal)
        await self._inbox.deliver(MessageReceived(verified))

    def _tolerate(self, node_id: bytes, error: UnknownEpoch) -> None:
        """Drop what may be of other validators than we know, as long as it is not much of it."""
        height, count = self._unknown.get(node_id, (-1, 0))
        head = self._ledger.head.number
        count = count + 1 if height == head else 1
        self._unknown[node_id] = (head, count)
        if count == 1:
            log.info("message not taken yet,peer=%s,reason=%s", node_id.hex()[:16], error)
        if count > UNKNOWN_MAX:
            self.invalid_messages += 1
            raise BadInput(f"{count} messages that nobody can judge at height {head}: {error}")

    # --- the loop ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Perform the effects of recovery, then handle inputs for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._perform(self._first_effects)
            nursery.start_soon(self._end_link_grace)
            nursery.start_soon(self._watch_lag)
            nursery.start_soon(self._inbox.deliver_notes)
            while True:
                self._handle(await self._inbox.receive())
                with suppress(trio.WouldBlock):  # a change of tasks costs as much as a step
                    for _ in range(HANDLED_AT_ONCE - 1):
                        self._handle(self._inbox.receive_nowait())

    def _handle(self, event: Input) -> None:
        view_before = self.replica.view, self.replica.to_view
        was_lagging = self._lags
        try:
            with self._cpu.measure(Part.CONSENSUS):
                effects = self.replica.step(event)
            self._perform(effects)
        except InvalidMessage as error:
            self.invalid_messages += 1
            log.info("message refused,reason=%s", error)
        else:
            self._log_view(view_before)
        if self._lags is not was_lagging:
            self._lag.set()

    @property
    def _lags(self) -> bool:
        return self.replica.phase == "lagging"

    async def _watch_lag(self) -> None:
        """Tell the others when this node has lagged for a while, and when it has caught up.

        A node that lags neither proposes nor votes (R-LAG-1): when its turn to lead comes, the
        others need not wait for it.
        """
        while True:
            while not self._lags:
                await self._lag_changed()
            with trio.move_on_after(LAG_TOLD_S):
                while self._lags:
                    await self._lag_changed()
            if not self._lags:
                continue
            self._sync.tell_lag(is_lagging=True)
            while self._lags:
                await self._lag_changed()
            self._sync.tell_lag(is_lagging=False)

    async def _lag_changed(self) -> None:
        self._lag = trio.Event()
        await self._lag.wait()

    def _log_view(self, before: tuple[int, int]) -> None:
        view, to_view = self.replica.view, self.replica.to_view
        if (view, to_view) != before:
            kind = "NewView" if view == to_view else "ViewChange"
            log.info("[PBFT]%s,view=%d,toView=%d", kind, view, to_view)

    def _perform(self, effects: Sequence[Effect]) -> None:
        records = [
            item for effect in effects if isinstance(effect, fx.Persist) for item in effect.records
        ]
        if records:
            self._ledger.save_records(records)
        for effect in effects:
            self._perform_one(effect)

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case fx.Persist():
                pass  # already durable: written ahead of every effect of this step
            case fx.Broadcast(message):
                self._note_vote(message)
                self._transmit(self._members, message)
            case fx.Send(to, message):
                self._transmit([self._members[to]], message)
            case fx.StartTimer():
                self._start_timer(effect)
            case fx.CancelTimer(timer):
                self._cancel_timer(timer)
            case fx.BuildProposal():
                self._sealer.request(effect)
            case fx.CancelBuild():
                self._sealer.request(None)
            case fx.VerifyProposal():
                self.phases.note(effect.proposal.height, BlockPhase.PROPOSED)
                self._start(self._verify(effect))
            case fx.ExecuteProposal():
                self.phases.note(effect.proposal.height, BlockPhase.ORDERED)
                self._start(self._execute(effect))
            case fx.CommitBlock():
                self.phases.note(effect.certificate.height, BlockPhase.CERTIFIED)
                self._start(self._commit(effect))
            case fx.RequestSync(height):
                self._sync.request(height)
            case fx.ReportEvidence(evidence):
                accused = self._members[evidence.accused]
                kind = type(evidence.first).__name__
                log.error("equivocation,peer=%s,kind=%s", accused.hex()[:16], kind)
            case fx.Halt(reason):
                raise ReplicaHalted(reason)

    def _note_vote(self, message: Message) -> None:
        match message:
            case PrePrepare():
                self.phases.note(message.proposal.height, BlockPhase.PROPOSED)
            case Commit():
                self.phases.note(message.height, BlockPhase.PREPARED)

    def _start(self, task: Awaitable[None]) -> None:
        async def run() -> None:
            await task

        if self._nursery is not None:
            self._nursery.start_soon(run)

    def _transmit(self, node_ids: Sequence[bytes], message: Message) -> None:
        self.on_send(message)
        self._gateway.broadcast(node_ids, FrameKind.CONSENSUS, encode_message(message))

    # --- timers -----------------------------------------------------------------------------

    def _start_timer(self, effect: fx.StartTimer) -> None:
        timer = effect.timer
        self._cancel_timer(timer)
        scope = trio.CancelScope()
        self._timers[timer] = scope

        async def wait() -> None:
            with scope:
                await trio.sleep(effect.delay_ms / 1000)
                if self._timers.get(timer) is scope:
                    del self._timers[timer]
                    if timer is TimerId.VIEW:
                        log.warning("[PBFT]timeout,view=%d", self.replica.view)
                    await self._inbox.deliver(TimerFired(timer, effect.number))

        self._start(wait())

    def _cancel_timer(self, timer: TimerId) -> None:
        scope = self._timers.pop(timer, None)
        if scope is not None:
            scope.cancel()

    # --- slow effects -----------------------------------------------------------------------

    async def _verify(self, effect: fx.VerifyProposal) -> None:
        verdict = await self._checker.verify(effect)
        await self._inbox.deliver(ProposalVerified(effect.proposal.height, effect.digest, verdict))
        transactions = self._bodies.get(effect.proposal.height, effect.digest)
        if verdict is ProposalVerdict.VALID and transactions is not None:
            await self._scheduler.speculate(effect.proposal, effect.digest, transactions)

    async def _execute(self, effect: fx.ExecuteProposal) -> None:
        proposal, digest = effect.proposal, effect.digest
        transactions = self._bodies.get(proposal.height, digest)
        if transactions is None:
            verdict = await self._checker.verify(
                fx.VerifyProposal(proposal, digest, None, True, ())
            )
            transactions = self._bodies.get(proposal.height, digest)
            if proposal.height <= self._ledger.head.number:
                return  # sync was faster: the block is committed, and its bodies settled
            if verdict is not ProposalVerdict.VALID or transactions is None:
                raise NodeError(f"bodies of the ordered block {proposal.height} are gone")
        block_hash = await self._scheduler.execute(proposal, digest, transactions)
        if block_hash is not None:
            self.phases.note(proposal.height, BlockPhase.EXECUTED)
            await self._inbox.deliver(ProposalExecuted(proposal.height, digest, block_hash))

    async def _commit(self, effect: fx.CommitBlock) -> None:
        certificate = effect.certificate
        await self._scheduler.commit(certificate)
        self.phases.note(certificate.height, BlockPhase.DURABLE)
        height, changed = certificate.height, self._membership.change_at(certificate.height)
        await self._inbox.deliver(BlockCommitted(height, certificate.block_hash, changed))
