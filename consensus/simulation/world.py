"""A consortium in virtual time: replicas, network, clients and faults, all from one plan.

A run has two phases, as in TigerBeetle's VOPR. In the *safety phase* clients submit
transactions while faults strike; checkers watch every message, step and commit. Then faults
end, except that Byzantine validators go on lying and dead ones stay dead. In the *liveness
phase* every correct node must commit every transaction within a bounded virtual time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random

from lowu.consensus import effects as fx
from lowu.consensus import inputs as ev
from lowu.consensus.certificates import VerifiedMessage
from lowu.consensus.codec import compute_digest, decode_message, encode_message
from lowu.consensus.effects import Effect
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import ConsensusError, InvalidMessage
from lowu.consensus.messages import Message, PrePrepare
from lowu.consensus.records import decode_record, encode_record
from lowu.consensus.replica import Replica
from lowu.consensus.simulation.checking.reception import accept_honest
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.checking.watch import PropertyWatch
from lowu.consensus.simulation.clients import Clients
from lowu.consensus.simulation.disks import has_last_copy, waits_for_blocks
from lowu.consensus.simulation.edge import Edge
from lowu.consensus.simulation.faults import Crash
from lowu.consensus.simulation.kernel import Kernel
from lowu.consensus.simulation.liars.behaviours import act, alter
from lowu.consensus.simulation.node import Liar, SimNode
from lowu.consensus.simulation.result import RunResult
from lowu.consensus.simulation.run_plan import RunPlan
from lowu.consensus.simulation.run_trace import describe_parcel
from lowu.consensus.simulation.simulated_links import Parcel, Post
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.types import ZERO_HASH

LIVENESS_MS = 300_000
"""Bound of the liveness phase: many capped time-outs, more than late leaders can cost."""
ACT_MS = (40, 150, 600)
"""Milliseconds until a Byzantine node next acts of its own accord; one is drawn each time."""
VERIFIED_MAX = 4_096
REST_MS = 2_500
"""After the last commit, every request is answered within this time."""
BOUNDS_EVERY = 64
"""Inputs between two checks of how much a replica holds."""


class World(Kernel):
    """One simulated network."""

    def __init__(self, plan: RunPlan, *, is_traced: bool = False) -> None:
        super().__init__(plan, is_traced=is_traced)
        self.inputs = 0
        self.coverage: Counter[tuple[str, str]] = Counter()
        self._random = Random(f"world/{plan.seed}")
        self._verified: dict[tuple[int | bytes, int], tuple[Message, VerifiedMessage]] = {}
        """Messages verified, by identity or bytes and by the receiver's epoch."""
        self._told: set[bytes] = set()
        """Lies already reported to the checkers."""
        self._members = self.validators_of(plan.members)
        self.clients = Clients(self, self._notice)
        self.checkers = PropertyWatch(self, self.clients)
        self.nodes = self._make_nodes()
        self.by_node_id: dict[bytes, list[SimNode]] = {}
        liars = [node.liar for node in self.nodes if node.liar is not None]
        for node in self.nodes:
            self.by_node_id.setdefault(node.node_id, []).append(node)
            if node.liar is not None:
                node.liar.join(liars, [peer for peer in self.nodes if peer is not node])
        self.edge = Edge(self, self.clients, self.checkers)

    def _make_nodes(self) -> list[SimNode]:
        plan = self.plan
        skews, slow, liars = dict(plan.skews), dict(plan.slow), dict(plan.byzantine)
        keys = [*range(len(plan.weights)), *plan.twins]
        nodes = []
        for instance, key in enumerate(keys):
            node_id = key.to_bytes(64, "big")
            node = SimNode(instance, node_id, Epochs(self._members))
            node.clock_skew_ms, node.execution_ms = skews.get(key, 0), slow.get(key, 0)
            node.is_twin, node.is_dead = key in plan.twins, key in plan.dead
            node.diverges_at = dict(plan.diverging).get(key, 0)
            if key in liars:
                random = Random(f"liar/{plan.seed}/{key}")
                sign = self.signer(node_id)
                node.liar = Liar(node, liars[key], self.domain, sign, random)
            nodes.append(node)
        return nodes

    def _notice(self, node: SimNode) -> None:
        self.edge.notice(node)

    # --- nodes ------------------------------------------------------------------------------

    def start(self, node: SimNode) -> None:
        """Start or restart an instance from its durable state."""
        self.checkers.on_restart(node)
        config = ReplicaConfig(self.domain, node.node_id, self.genesis, window=self.plan.window)
        stable = node.chain[-1].certificate if node.chain else self.genesis
        timestamp_ms = node.chain[-1].proposal.timestamp_ms if node.chain else 0
        records = [decode_record(encode_record(node.records[key])) for key in sorted(node.records)]
        node.replica, effects = Replica.recover(
            config,
            self.signer(node.node_id),
            node.epochs.latest,
            records,
            stable,
            timestamp_ms,
            is_memory_lost=node.is_memory_lost,
        )
        if self.plan.snapshot_blocks and node.chain:
            node.states = [len(node.chain)]  # if nothing is committed any more, it is all there is
        self.trace_event(node, "start", f"height={len(node.chain)}")
        self._perform(node, effects)
        self.clients.refill(node)
        self.announce_links()

    def crash(self, node: SimNode) -> None:
        """Stop an instance at once; what is not durable is lost."""
        self.faults["crash"] += 1
        self.trace_event(node, "crash")
        node.crash()
        self.announce_links()

    def _strike(self, crash: Crash) -> None:
        node = self.nodes[crash.instance]
        if node.replica is None or not self.is_faulty_phase:
            return
        self.crash(node)
        if crash.is_wiped and not has_last_copy(self, node):
            self.faults["wipe"] += 1
            self.trace_event(node, "wipe")
            node.wipe(self._members, crash.kept_blocks)
            self.checkers.on_wipe(node)
        if not node.is_dead:
            self.at(crash.down_ms, lambda: self._revive(node))

    def _revive(self, node: SimNode) -> None:
        if node.replica is None:
            self.start(node)

    def step(self, node: SimNode, event: ev.Input, *, is_lie: bool = False) -> None:
        """Feed one input to a node's replica and perform the effects."""
        replica = node.replica
        if replica is None:
            return
        self.inputs += 1
        kind = event.verified.message if isinstance(event, ev.MessageReceived) else event
        self.coverage[type(kind).__name__, replica.phase] += 1
        if isinstance(event, ev.ProposalVerified):
            self.checkers.on_verified(node, event.digest)
        before = replica.fingerprint() if is_lie else ()
        try:
            effects = replica.step(event)
        except InvalidMessage as error:
            self.trace_event(node, "refused", str(error))
            if is_lie:
                self.checkers.on_refused(node, before)
            elif isinstance(event, ev.MessageReceived):
                self.checkers.on_honest_refused(node, event.verified, str(error))
            return
        except ConsensusError:
            if node.liar is None and not node.diverges_at:
                raise
            self.trace_event(node, "ended", "its own lies caught up with it")
            self.crash(node)
            return
        if node.liar is None:
            self.checkers.on_step(node, effects, is_full=self.inputs % BOUNDS_EVERY == 0)
            if is_lie and isinstance(event, ev.MessageReceived):
                self.checkers.on_lie_taken(node, event.verified.message)
        self._perform(node, effects)

    def _perform(self, node: SimNode, effects: tuple[Effect, ...]) -> None:
        incarnation, crash_after = node.incarnation, len(effects)
        rate = self.plan.rates.crash_mid_step
        if rate and effects and self.is_faulty_phase and self._random.random() < rate:
            crash_after = self._random.randrange(len(effects))
        for position, effect in enumerate(effects):
            if node.incarnation != incarnation:
                return
            if position == crash_after and not node.is_dead:
                self.crash(node)
                self.at(self._random.choice((1, 300, 2_000)), lambda: self._revive(node))
                return
            self._perform_one(node, effect)

    def _perform_one(self, node: SimNode, effect: Effect) -> None:
        match effect:
            case fx.Persist():
                node.persist(effect)
                if node.liar is None:
                    self.checkers.on_persist(node, effect.records)
            case fx.Broadcast(message):
                self._send(node, [peer for peer in self.nodes if peer is not node], message)
            case fx.Send(to, message):
                if node.replica is not None:
                    node_id = node.replica.validators.validators[to].node_id
                    self._send(node, self.by_node_id[node_id], message)
            case fx.StartTimer():
                self._start_timer(node, effect)
            case fx.CancelTimer(timer):
                node.timers.pop(timer.value, None)
            case fx.ReportEvidence(evidence):
                self.faults["evidence"] += 1
                self.checkers.on_report(node, evidence)
            case fx.Halt(reason):
                if node.liar is None and not node.diverges_at:
                    raise Violation(f"P11 node {node.instance} halted: {reason}")
                self.faults["halt"] += 1
            case _:
                self._ask_edge(node, effect)

    def _ask_edge(self, node: SimNode, effect: Effect) -> None:
        match effect:
            case fx.BuildProposal():
                self.edge.build(node, effect)
            case fx.CancelBuild():
                node.building = None
            case fx.VerifyProposal():
                self.edge.verify(node, effect)
            case fx.ExecuteProposal():
                self.checkers.on_execute(node, effect)
                self.edge.execute(node, effect)
            case fx.CommitBlock(certificate):
                self.edge.commit(node, certificate)
            case fx.RequestSync():
                self.edge.request_sync(node)

    def _start_timer(self, node: SimNode, effect: fx.StartTimer) -> None:
        timer, number = effect.timer, effect.number
        node.timers[timer.value] = number

        def fire() -> None:
            # A stopped timer sometimes still fires, as a time-out already queued would.
            is_current = node.timers.get(timer.value) == number
            if is_current:
                del node.timers[timer.value]
                self.trace_event(node, "timer", timer.value)
            if is_current or number % 4 == 0:
                self.step(node, ev.TimerFired(timer, number))

        self.later(node, effect.delay_ms, fire)

    # --- messages -----------------------------------------------------------------------------

    def _send(self, node: SimNode, peers: list[SimNode], message: Message) -> None:
        digest = ZERO_HASH
        if isinstance(message, PrePrepare):
            digest = compute_digest(self.domain, message.proposal)
        if node.liar is not None:
            self._post(node, alter(node.liar, peers, message))
            return
        self.checkers.on_send(node, message, digest)
        for peer in peers:
            self.network.post(node, peer, message)

    def _post(self, node: SimNode, posts: list[Post]) -> None:
        """Send a liar's posts, as the bytes that a wire would carry."""
        last, data = None, b""
        for peer, parcel, extra_ms in posts:
            if parcel is not last:
                try:
                    data = parcel if isinstance(parcel, bytes) else encode_message(parcel)
                except (OverflowError, TypeError, ValueError):
                    continue  # a liar cannot encode this either
                last = parcel
                self._tell_of_lie(node, data)
            self.network.post(node, peer, data, extra_ms)

    def _tell_of_lie(self, node: SimNode, data: bytes) -> None:
        if data in self._told:
            return
        if len(self._told) > VERIFIED_MAX:
            self._told.clear()
        with suppress(InvalidMessage):
            self.checkers.on_lie(node, decode_message(data))
            self._told.add(data)

    def _act_for_ever(self, node: SimNode) -> None:
        if node.liar is not None and node.replica is not None:
            self._post(node, act(node.liar))
        self.at(self._random.choice(ACT_MS), lambda: self._act_for_ever(node))

    def deliver(self, sender: SimNode, receiver: SimNode, parcel: Parcel) -> None:
        """Verify a parcel, as the edge of a node does, and hand it to the replica."""
        if receiver.replica is None:
            return
        if self.trace.is_on:
            kind, text = describe_parcel(parcel)
            self.trace_event(receiver, kind, f"from {sender.instance}: {text}")
        try:
            event = self._accept(sender, receiver, parcel)
        except InvalidMessage as error:
            self.faults["refused"] += 1
            self.trace_event(receiver, "refused", str(error))
            return
        if receiver.liar is not None:
            receiver.liar.observe(event.message)
        elif receiver.replica.is_stale(event.message):
            return  # a node drops it before verifying it
        self.step(receiver, ev.MessageReceived(event), is_lie=isinstance(parcel, bytes))

    def _accept(self, sender: SimNode, receiver: SimNode, parcel: Parcel) -> VerifiedMessage:
        """Decode and verify a parcel, as the edge of a node does; results are cached."""
        is_lie = isinstance(parcel, bytes)
        epoch = receiver.epochs.latest.first_height
        key = (parcel if isinstance(parcel, bytes) else id(parcel), epoch)
        known = self._verified.get(key)
        if known is None:
            if len(self._verified) > VERIFIED_MAX:
                self._verified.clear()
            known = self._verify(sender, receiver, parcel)
            if receiver.liar is None:
                self._verified[key] = known
        if is_lie and not self.plan.is_relaying:
            self.verifier_of(receiver).verify_link(sender.node_id, known[0])
            self.checkers.on_link(sender, receiver, known[0])
        return known[1]

    def _verify(
        self, sender: SimNode, receiver: SimNode, parcel: Parcel
    ) -> tuple[Message, VerifiedMessage]:
        verifier = self.verifier_of(receiver)
        if not isinstance(parcel, bytes):
            return parcel, accept_honest(verifier, sender.node_id, parcel)
        message = decode_message(parcel)
        verified = verifier.verify_message(message)
        self.checkers.on_accept(receiver, message)
        return message, verified

    def announce_links(self) -> None:
        """Tell every running instance which peers are linked to it and do not abstain."""
        for node in self.nodes:
            if node.replica is not None:
                up = frozenset(
                    peer.node_id
                    for peer in self.nodes
                    if peer.replica is not None
                    and peer.replica.phase != "abstaining"
                    and self.network.is_linked(node.instance, peer.instance)
                )
                self.answer(node, 1, ev.LinksChanged(up))

    # --- a whole run ------------------------------------------------------------------------------

    def _schedule(self) -> None:
        plan = self.plan
        for at_ms in plan.submissions:
            self.at(at_ms, self.clients.submit)
        for change in plan.changes:
            self.at(change.at_ms, partial(self.clients.submit, change.members))
        for crash in plan.crashes:
            self.at(crash.at_ms, partial(self._strike, crash))
        for rot in plan.rots:
            self.at(rot.at_ms, partial(self.edge.rot, rot))
        for cut in plan.cuts:
            self.at(cut.at_ms, partial(self._cut, cut.links, partial(self.network.cut, cut)))
            self.at(cut.until_ms, partial(self._cut, (), partial(self.network.mend, cut)))
        for node in self.nodes:
            if node.liar is not None:
                self.at(self._random.choice(ACT_MS), partial(self._act_for_ever, node))
        self.at(1_000, self.edge.announce_for_ever)

    def _cut(self, links: tuple[tuple[int, int], ...], change: Callable[[], None]) -> None:
        if self.is_faulty_phase:
            self.faults["cut"] += bool(links)
            self.trace_event(None, "cut" if links else "mend", str(list(links))[:100])
            change()
            self.announce_links()

    def heal(self) -> None:
        """End all faults but liars and the dead: mend links, start nodes, gossip everything."""
        self.is_faulty_phase = False
        self.network.heal()
        self.trace_event(None, "heal")
        for node in self.nodes:
            if node.is_dead and node.replica is not None:
                self.crash(node)
            elif not node.is_dead and node.replica is None:
                self.start(node)
        self.announce_links()
        self.clients.gossip_all()

    def is_settled(self) -> bool:
        """Whether every transaction is committed on every correct node, at one height."""
        correct = [node for node in self.nodes if node.is_correct]
        is_level = len({len(node.chain) for node in correct}) == 1
        return (
            is_level
            and not any(waits_for_blocks(self, n) for n in correct)
            and self.clients.are_served()
        )

    def _is_done(self, healed_ms: int) -> bool:
        self.checkers.check_progress(healed_ms)
        return self.is_settled()

    def run(self) -> RunResult:
        """Run both phases; raise `Violation` if a property is broken."""
        for node in self.nodes:
            self.start(node)
        self._schedule()
        self.run_until(self.plan.heal_ms)
        healed_ms = self.now_ms
        self.heal()
        self.run_until(healed_ms + LIVENESS_MS, lambda: self._is_done(healed_ms))
        if not self.is_settled():
            self.checkers.raise_unsettled(LIVENESS_MS)
        recovery_ms = self.now_ms - healed_ms
        self.run_until(self.now_ms + REST_MS)
        self.checkers.on_rest()
        self.run_until(self.now_ms + REST_MS)
        self.checkers.check_quiet()
        return self._result(recovery_ms)

    def _result(self, recovery_ms: int) -> RunResult:
        correct = [node for node in self.nodes if node.is_correct]
        self.faults.update(self.network.counts)
        return RunResult(
            heights=max((len(node.chain) for node in correct), default=0),
            inputs=self.inputs,
            view_max=max((node.replica.view for node in correct if node.replica), default=0),
            virtual_ms=self.now_ms,
            recovery_ms=recovery_ms,
            faults=self.faults,
            coverage=self.coverage,
            trace_hash=self.trace.hexdigest() if self.trace.is_on else "",
        )
