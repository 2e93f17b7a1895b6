"""A consortium in virtual time: replicas, network, clients and faults, all from one seed.

A run has two phases, as in TigerBeetle's VOPR. In the *safety phase* clients submit
transactions while faults strike; checkers watch every message and every commit. Then faults
end, everybody is restarted, and the *liveness phase* demands that every transaction is
committed on every node within a bounded virtual time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from consensus import effects as fx
from consensus import inputs as ev
from consensus.certificates import VerifiedMessage, Verifier
from consensus.codec import compute_digest
from consensus.effects import Effect
from consensus.errors import InvalidMessage
from consensus.messages import CommitCertificate, Message, PrePrepare, Proposal
from consensus.replica import Replica
from consensus.simulation.checkers import ChainChecker, Violation, VoteChecker
from consensus.simulation.faults import FaultOptions
from consensus.simulation.node import SimBlock, SimNode, compute_block_hash, compute_tx_root
from consensus.simulation.trace import Trace
from consensus.state import ReplicaConfig
from consensus.types import ZERO_HASH, Domain, Hash32, NodeIndex, Sign, Signature, hash_bytes
from consensus.validators import Validator, ValidatorSet

BLOCK_TXS_MAX = 8
SEAL_WAIT_MS = 10
LIVENESS_MS = 120_000
"""Bound of the liveness phase: many capped time-outs, far above what is ever needed."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one seed did."""

    seed: int
    nodes: int
    heights: int
    inputs: int
    events: int
    view_max: int
    virtual_ms: int
    recovery_ms: int
    """Virtual time from the end of all faults to everything committed everywhere."""
    trace_hash: str


class World:
    """One simulated network."""

    def __init__(
        self,
        seed: int,
        nodes: int = 4,
        faults: FaultOptions | None = None,
        window: int = 8,
        transactions: int = 60,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.faults = faults if faults is not None else FaultOptions.draw(self.random)
        self.transactions = transactions
        self.domain = Domain("sim", "group0")
        members = tuple(Validator(i.to_bytes(64, "big")) for i in range(nodes))
        self.validators = ValidatorSet(members)
        self.genesis = CommitCertificate(0, ZERO_HASH, hash_bytes(b"genesis"), ())
        self.verifier = Verifier(self.domain, self.validators, self.genesis, self._verify)
        self.window = window
        self.nodes = [SimNode(index) for index in range(nodes)]
        self.trace = Trace()
        self.chain_checker = ChainChecker(self.verifier)
        self.vote_checker = VoteChecker()
        self.now_ms = 0
        self.inputs = 0
        self.is_faulty_phase = True
        self.cut: frozenset[NodeIndex] = frozenset()
        self.submitted: list[Hash32] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._verified: dict[int, tuple[Message, VerifiedMessage]] = {}

    # --- signatures: a keyed hash ---------------------------------------------------------

    def signer(self, index: NodeIndex) -> Sign:
        """Return the signing function of a validator."""
        key = index.to_bytes(2, "big")
        return lambda digest: hash_bytes(key + digest)[:8]

    def _verify(self, index: NodeIndex, digest: Hash32, signature: Signature) -> bool:
        return hash_bytes(index.to_bytes(2, "big") + digest)[:8] == signature

    # --- time -----------------------------------------------------------------------------

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run `action` after a delay; equal times run in order of scheduling."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._sequence, action))

    def run_until(self, end_ms: int, is_done: Callable[[], bool] | None = None) -> None:
        """Run events up to a virtual time, or until `is_done`."""
        while self._queue and self._queue[0][0] <= end_ms:
            if is_done is not None and is_done():
                return
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        if is_done is None or not is_done():
            self.now_ms = max(self.now_ms, end_ms)

    # --- nodes ----------------------------------------------------------------------------

    def start(self, index: NodeIndex) -> None:
        """Start or restart a node from what it has durably."""
        node = self.nodes[index]
        self.chain_checker.on_restart(index, len(node.chain))
        config = ReplicaConfig(
            self.domain, self.validators, index, self.genesis, window=self.window
        )
        stable = node.chain[-1].certificate if node.chain else self.genesis
        timestamp_ms = node.chain[-1].proposal.timestamp_ms if node.chain else 0
        records = [node.records[key] for key in sorted(node.records)]
        node.replica, effects = Replica.recover(
            config, self.signer(index), records, stable, timestamp_ms
        )
        self.trace.add(self.now_ms, index, "start", f"height={len(node.chain)}")
        self._perform(node, effects)
        self._announce_links()

    def crash(self, index: NodeIndex) -> None:
        """Stop a node at once; what is not durable is lost."""
        self.trace.add(self.now_ms, index, "crash", "")
        self.nodes[index].crash()
        self._announce_links()

    def step(self, node: SimNode, event: ev.Input) -> None:
        """Feed one input to a node's replica and perform the effects."""
        if node.replica is None:
            return
        self.inputs += 1
        try:
            effects = node.replica.step(event)
        except InvalidMessage as error:
            self.trace.add(self.now_ms, node.index, "invalid", str(error))
            return
        self._perform(node, effects)

    def _perform(self, node: SimNode, effects: tuple[Effect, ...]) -> None:
        incarnation = node.incarnation
        crash_after = len(effects)
        may_crash = self.is_faulty_phase and bool(effects)
        if may_crash and self.random.random() < self.faults.crash_mid_step_rate:
            crash_after = self.random.randrange(len(effects))
        for position, effect in enumerate(effects):
            if position == crash_after:
                self.crash(node.index)
                return
            if node.incarnation != incarnation:
                return
            self._perform_one(node, effect)

    def _answer(self, node: SimNode, delay_ms: int, event: ev.Input) -> None:
        incarnation = node.incarnation

        def deliver() -> None:
            if node.incarnation == incarnation:
                self.step(node, event)

        self.at(delay_ms, deliver)

    def _perform_one(self, node: SimNode, effect: Effect) -> None:
        match effect:
            case fx.Persist():
                node.persist(effect)
            case fx.Broadcast(message):
                for peer in self.nodes:
                    if peer is not node:
                        self._transmit(node, peer, message)
            case fx.Send(to, message):
                self._transmit(node, self.nodes[to], message)
            case fx.StartTimer():
                self._start_timer(node, effect)
            case fx.CancelTimer(timer):
                node.timers.pop(timer.value, None)
            case fx.BuildProposal():
                self._build(node, effect)
            case fx.VerifyProposal():
                self._verify_proposal(node, effect)
            case fx.ExecuteProposal():
                self._execute(node, effect)
            case fx.CommitBlock(certificate):
                self._commit(node, certificate)
            case fx.RequestSync(height):
                self.at(self._delay_ms(), lambda: self._sync(node, height))
            case fx.ReportEvidence(evidence):
                raise Violation(f"P24 node {node.index} accuses honest {evidence.accused}")
            case fx.Halt(reason):
                raise Violation(f"P11 node {node.index} halted: {reason}")

    def _start_timer(self, node: SimNode, effect: fx.StartTimer) -> None:
        timer, number = effect.timer, effect.number
        node.timers[timer.value] = number
        incarnation = node.incarnation

        def fire() -> None:
            # A stopped timer may still fire late now and then, as a queued time-out would.
            is_current = node.timers.get(timer.value) == number
            if node.incarnation == incarnation and (is_current or number % 4 == 0):
                if is_current:
                    del node.timers[timer.value]
                    self.trace.add(self.now_ms, node.index, "timer", timer.value)
                self.step(node, ev.TimerFired(timer, number))

        self.at(effect.delay_ms, fire)

    # --- network --------------------------------------------------------------------------

    def _delay_ms(self) -> int:
        return self.random.randint(self.faults.delay_ms_min, self.faults.delay_ms_max)

    def is_linked(self, first: NodeIndex, second: NodeIndex) -> bool:
        """Whether no partition separates two nodes."""
        return (first in self.cut) == (second in self.cut)

    def _transmit(self, node: SimNode, peer: SimNode, message: Message) -> None:
        digest = (
            compute_digest(self.domain, message.proposal)
            if isinstance(message, PrePrepare)
            else ZERO_HASH
        )
        self.vote_checker.on_send(node.index, message, digest, node.records)
        copies = 1
        if self.is_faulty_phase:
            if self.random.random() < self.faults.drop_rate:
                return
            if self.random.random() < self.faults.duplicate_rate:
                copies = 2
        for _ in range(copies):
            delay_ms = self._delay_ms()
            if self.is_faulty_phase and self.random.random() < self.faults.long_delay_rate:
                delay_ms += self.random.randint(0, 1000)
            self.at(delay_ms, lambda: self._deliver(node.index, peer, message))

    def _deliver(self, sender: NodeIndex, peer: SimNode, message: Message) -> None:
        if peer.replica is None or not self.is_linked(sender, peer.index):
            return
        self.trace.add(
            self.now_ms, peer.index, type(message).__name__, f"from {sender}: {_brief(message)}"
        )
        known = self._verified.get(id(message))
        if known is None:
            if len(self._verified) > 4096:
                self._verified.clear()
            known = (message, self.verifier.verify_message(message))
            self._verified[id(message)] = known
        self.step(peer, ev.MessageReceived(known[1]))

    def _announce_links(self) -> None:
        for node in self.nodes:
            if node.replica is not None:
                up = frozenset(
                    peer.index
                    for peer in self.nodes
                    if peer.replica is not None and self.is_linked(node.index, peer.index)
                )
                self._answer(node, 1, ev.LinksChanged(up))

    # --- what the edge of a real node does --------------------------------------------------

    def _build(self, node: SimNode, effect: fx.BuildProposal) -> None:
        incarnation = node.incarnation

        def build() -> None:
            if node.incarnation != incarnation or node.replica is None:
                return
            taken = {tx for digest in effect.ancestors for tx in node.bodies.get(digest, ())}
            ready = [tx for tx in node.pool if tx not in taken][:BLOCK_TXS_MAX]
            if not ready:
                if node.building is effect:
                    self.at(SEAL_WAIT_MS * 5, build)
                return
            tx_hashes = tuple(ready)
            timestamp_ms = max(self.now_ms, effect.timestamp_ms_min)
            proposal = Proposal(
                effect.height,
                effect.previous,
                compute_tx_root(tx_hashes),
                timestamp_ms,
                effect.proposer,
            )
            node.bodies[compute_digest(self.domain, proposal)] = tx_hashes
            self.step(node, ev.ProposalBuilt(effect.view, proposal, tx_hashes))

        node.building = effect
        self.at(SEAL_WAIT_MS, build)

    def _verify_proposal(self, node: SimNode, effect: fx.VerifyProposal) -> None:
        incarnation = node.incarnation

        def verify() -> None:
            if node.incarnation != incarnation:
                return
            body = node.bodies.get(effect.digest) or effect.tx_hashes
            if body is None:
                body = self._fetch_body(node, effect.digest)
            verdict = ev.Verdict.UNKNOWN
            if body is not None and compute_tx_root(body) == effect.proposal.tx_root:
                verdict = ev.Verdict.VALID
                node.bodies[effect.digest] = body
            elif body is not None:
                verdict = ev.Verdict.INVALID
            answer = ev.ProposalVerified(effect.proposal.height, effect.digest, verdict)
            self.step(node, answer)

        self.at(self.random.randint(0, 3), verify)

    def _fetch_body(self, node: SimNode, digest: Hash32) -> tuple[Hash32, ...] | None:
        for peer in self.nodes:
            is_reached = peer.replica is not None and self.is_linked(node.index, peer.index)
            if is_reached and digest in peer.bodies:
                return peer.bodies[digest]
        return None

    def _execute(self, node: SimNode, effect: fx.ExecuteProposal) -> None:
        parent = node.executed.get(effect.proposal.previous)
        if len(node.chain) == effect.proposal.height - 1:
            parent = node.head_hash(self.genesis.block_hash)
        if parent is None:
            raise Violation(f"P02 node {node.index} executes {effect.proposal.height} in the air")
        block_hash = compute_block_hash(parent, effect.digest)
        node.executed[effect.digest] = block_hash
        node.bodies[effect.digest]  # the promise of a VALID verdict
        event = ev.ProposalExecuted(effect.proposal.height, effect.digest, block_hash)
        node.proposals[effect.digest] = effect.proposal
        self._answer(node, self.random.randint(0, 5), event)

    def _commit(self, node: SimNode, certificate: CommitCertificate) -> None:
        proposal = node.proposals[certificate.digest]
        block = SimBlock(certificate, proposal, node.bodies[certificate.digest])
        self._append(node, block)
        event = ev.BlockCommitted(certificate.height, certificate.block_hash)
        self._answer(node, 1, event)

    def _append(self, node: SimNode, block: SimBlock) -> None:
        height = block.certificate.height
        self.chain_checker.on_commit(node.index, block.certificate, block.proposal)
        repeated = [tx for tx in block.tx_hashes if tx in node.committed]
        if repeated:
            raise Violation(f"P10 height {height} repeats a transaction")
        node.append(block)
        self.trace.add(
            self.now_ms,
            node.index,
            "commit",
            f"{height} {block.certificate.block_hash.hex()[:8]} txs={len(block.tx_hashes)}",
        )
        self._note_pool(node)

    def _sync(self, node: SimNode, height: int) -> None:
        if node.replica is None:
            return
        peers = [p for p in self.nodes if p.replica and self.is_linked(node.index, p.index)]
        best = max(peers, key=lambda peer: len(peer.chain))
        wanted = best.chain[len(node.chain) : max(height, len(node.chain))]
        for block in wanted:
            self.verifier.verify_commit(block.certificate)
            self._append(node, block)
        if wanted:
            last = wanted[-1]
            self.step(node, ev.Synced(last.certificate, last.proposal.timestamp_ms))

    def _note_pool(self, node: SimNode) -> None:
        self._answer(node, 0, ev.PendingChanged(bool(node.pool)))

    # --- clients ----------------------------------------------------------------------------

    def submit(self) -> None:
        """Submit one fresh transaction to a random running node; gossip does the rest."""
        tx_hash = hash_bytes(b"tx%d" % len(self.submitted))
        self.submitted.append(tx_hash)
        self._gossip(tx_hash)

    def _gossip(self, tx_hash: Hash32) -> None:
        for node in self.nodes:
            if node.replica is None or tx_hash in node.committed:
                continue
            if not self.is_faulty_phase or self.random.random() > self.faults.drop_rate:
                node.pool[tx_hash] = None
                self._note_pool(node)

    # --- a whole run ------------------------------------------------------------------------

    def _perturb(self) -> None:
        if not self.is_faulty_phase:
            return
        faults = self.faults
        up = [node.index for node in self.nodes if node.replica is not None]
        down = [node.index for node in self.nodes if node.replica is None]
        if down and self.random.random() < 0.5:
            self.start(self.random.choice(down))
        elif up and self.random.random() < faults.crash_rate:
            self.crash(self.random.choice(up))
        if self.random.random() < faults.partition_rate:
            size = self.random.randrange(len(self.nodes))
            self.cut = frozenset(self.random.sample(range(len(self.nodes)), size))
            self.trace.add(self.now_ms, -1, "partition", str(sorted(self.cut)))
            self._announce_links()
        self.at(faults.perturb_every_ms, self._perturb)

    def heal(self) -> None:
        """End all faults: links up, everybody running, every transaction known to all."""
        self.is_faulty_phase = False
        self.cut = frozenset()
        self.trace.add(self.now_ms, -1, "heal", "")
        for node in self.nodes:
            if node.replica is None:
                self.start(node.index)
        self._announce_links()
        for tx_hash in self.submitted:
            self._gossip(tx_hash)
        self._announce_heights()

    def _announce_heights(self) -> None:
        """Stand in for the block announcements of a real node's sync service."""
        best = max(len(node.chain) for node in self.nodes)
        for node in self.nodes:
            if len(node.chain) < best:
                self._sync(node, best)
        self.at(1000, self._announce_heights)

    def is_settled(self) -> bool:
        """Whether every transaction is committed on every node, at one height."""
        count = len(self.submitted)
        return all(len(n.committed) == count for n in self.nodes) and (
            len({len(n.chain) for n in self.nodes}) == 1
        )

    def run(self) -> RunResult:
        """Run both phases; raise `Violation` if a property is broken."""
        for node in self.nodes:
            self.start(node.index)
        spread_ms = self.transactions * self.random.choice((5, 40, 150))
        for _ in range(self.transactions):
            self.at(self.random.randint(0, spread_ms), self.submit)
        self.at(self.faults.perturb_every_ms, self._perturb)
        self.run_until(spread_ms + 2_000)
        healed_ms = self.now_ms
        self.heal()
        self.run_until(healed_ms + LIVENESS_MS, self.is_settled)
        if not self.is_settled():
            heights = [len(node.chain) for node in self.nodes]
            views = [n.replica and (n.replica.view, n.replica.to_view) for n in self.nodes]
            raise Violation(
                f"P17 not settled {LIVENESS_MS} ms after healing: heights {heights} views {views}"
            )
        return self._result(healed_ms)

    def _result(self, healed_ms: int) -> RunResult:
        replicas = [node.replica for node in self.nodes if node.replica is not None]
        return RunResult(
            seed=self.seed,
            nodes=len(self.nodes),
            heights=len(self.nodes[0].chain),
            inputs=self.inputs,
            events=self.trace.count,
            view_max=max(replica.view for replica in replicas),
            virtual_ms=self.now_ms,
            recovery_ms=self.now_ms - healed_ms,
            trace_hash=self.trace.hexdigest(),
        )


def _brief(message: Message) -> str:
    view = getattr(message, "view", "-")
    height = getattr(message, "height", getattr(message, "stable_height", "-"))
    if isinstance(message, PrePrepare):
        height = message.proposal.height
    digest = getattr(message, "digest", b"").hex()[:8]
    return f"view={view} height={height} {digest}".rstrip()
