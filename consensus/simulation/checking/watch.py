"""All checkers of one world together, and which nodes count as honest for which of them."""

from __future__ import annotations

from contextlib import suppress

from lowu.consensus.certificates import MessageVerifier, VerifiedMessage, reference_height
from lowu.consensus.effects import Effect, ExecuteProposal
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Evidence, Message
from lowu.consensus.records import Record
from lowu.consensus.simulation.checking.checkers import (
    VIEW_TIMEOUT_MS_MAX,
    AuthorChecker,
    ChainChecker,
    EvidenceChecker,
    StepChecker,
    check_accepted,
)
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.checking.vote_checker import VoteChecker
from lowu.consensus.simulation.clients import Clients
from lowu.consensus.simulation.kernel import Kernel
from lowu.consensus.simulation.node import SimBlock, SimNode
from lowu.consensus.simulation.run_plan import keeps_promise
from lowu.consensus.types import ZERO_HASH, Hash32


class PropertyWatch:
    """Notifies each checker of the events that concern it."""

    def __init__(self, world: Kernel, clients: Clients) -> None:
        self._world = world
        epochs = Epochs(world.validators_of(world.plan.members))
        verifier = MessageVerifier(world.domain, epochs, world.genesis, world.is_signed)
        self._chain = ChainChecker(verifier, clients)
        self._votes = VoteChecker(world.domain)
        self._steps = StepChecker(world.plan.window)
        self._authors = AuthorChecker(world.domain)
        self._evidence = EvidenceChecker()
        self._has_liars = bool(world.plan.byzantine)
        self._progress_ms = 0
        self._sent_last: tuple[int, Message] | None = None
        self._is_promise_kept = keeps_promise(world.plan)
        """Beyond the fault bound votes may contradict each other: then only forks count (F20)."""

    @property
    def _honest(self) -> frozenset[bytes]:
        return frozenset(node.node_id for node in self._world.nodes if node.is_honest)

    def on_send(self, node: SimNode, message: Message, digest: Hash32) -> None:
        """A node that does not lie sends a message."""
        self._sent_last = (node.instance, message)
        if node.replica is not None:
            self._votes.on_any(node.replica.epoch, message, digest)
        if node.is_honest and self._is_promise_kept:
            self._votes.on_send(node, message, digest)
        elif node.was_wiped and not node.is_twin:
            self._votes.on_send_after_wipe(node.instance, message)
        if self._has_liars:
            self._authors.on_send(node.node_id, message)

    def on_persist(self, node: SimNode, records: tuple[Record, ...]) -> None:
        """A node that does not lie makes records durable."""
        if node.replica is None or node.replica.index is None:
            return
        for record in records:
            self._votes.on_persist(node.replica.epoch, record, node.replica.index)
            self._votes.leaders.on_persist(node, record)
            if self._has_liars:
                self._authors.on_persist(node.node_id, node.replica.index, record)

    def on_lie(self, node: SimNode, message: Message) -> None:
        """A liar sends a message, well formed or not."""
        with suppress(InvalidMessage):
            verified = self._world.verifier_of(node).verify_message(message)
            epoch = node.epochs.at(reference_height(message))
            self._votes.on_any(epoch, message, verified.digest or ZERO_HASH)

    def on_accept(self, receiver: SimNode, message: Message) -> None:
        """A receiver has taken a liar's message as valid."""
        if receiver.liar is None:
            self._authors.on_accept(message, receiver.epochs, self._honest)
            check_accepted(message, receiver.epochs, self._world.genesis)

    def on_link(self, sender: SimNode, receiver: SimNode, message: Message) -> None:
        """A receiver has taken a liar's message from a link that relays nothing."""
        if receiver.liar is None:
            self._authors.on_link(sender.node_id, message, receiver.epochs)

    def on_refused(self, node: SimNode, before: tuple[int, ...]) -> None:
        """A replica has refused a liar's message, which must have changed nothing."""
        if node.liar is None and node.replica is not None:
            after = node.replica.fingerprint()
            if after != before:
                raise Violation(
                    f"P12 node {node.instance} was changed by a refused message: {before} {after}"
                )

    def on_honest_refused(self, node: SimNode, verified: VerifiedMessage, reason: str) -> None:
        """A replica has refused a message of a node that does not lie."""
        if node.is_honest and node.replica is not None and self._is_promise_kept:
            self._votes.leaders.on_refused(node, node.replica, verified, reason)

    def on_rest(self) -> None:
        """Everything is committed everywhere, and no client has submitted for a while."""
        for node in self._world.nodes:
            if node.is_correct and node.replica is not None and node.replica.is_busy:
                raise Violation(f"P19 node {node.instance} waits for what will never come")
        self._sent_last = None

    def check_quiet(self) -> None:
        """P20: since `on_rest`, no node has sent a message.

        Not checked if a node is faulty, or has asked for a view that no other needs: it may no
        longer vote in the old one, so it repeats its VIEW-CHANGE, and is answered.
        """
        replicas = [node.replica for node in self._world.nodes]
        is_asking = any(replica is None or replica.phase == "changing" for replica in replicas)
        if self._sent_last is not None and not is_asking and not self._world.plan.faulty:
            instance, message = self._sent_last
            raise Violation(f"P20 node {instance} still sends {type(message).__name__} at rest")

    def on_step(self, node: SimNode, effects: tuple[Effect, ...], *, is_full: bool) -> None:
        """An honest node has handled an input."""
        self._steps.on_step(node, effects, self._world.now_ms)
        if node.is_honest and self._is_promise_kept:
            self._votes.leaders.on_step(node, effects)
        if is_full:
            self._steps.check_bounds(node)

    def on_lie_taken(self, node: SimNode, message: Message) -> None:
        """A replica has handled a liar's message without refusing it."""
        self._evidence.on_vote(node, message)

    def on_execute(self, node: SimNode, effect: ExecuteProposal) -> None:
        """A node executes what it takes as ordered."""
        if node.liar is None and node.replica is not None and self._is_promise_kept:
            self._votes.on_execute(node, node.replica, effect)

    def on_verified(self, node: SimNode, digest: Hash32) -> None:
        """The edge has answered the verification of a proposal."""
        self._steps.on_verified(node, digest)

    def on_commit(self, node: SimNode, block: SimBlock) -> None:
        """A node makes a block durable."""
        if node.liar is None:
            self._chain.on_commit(node.instance, block)
        if node.is_correct:
            self._progress_ms = self._world.now_ms

    def on_restart(self, node: SimNode) -> None:
        """A node starts from its disk."""
        if node.liar is None:
            self._chain.on_restart(node.instance, len(node.chain))
        self._steps.on_restart(node.instance)

    def on_wipe(self, node: SimNode) -> None:
        """A node loses its disk."""
        self._chain.on_wipe(node.instance, len(node.chain))
        self._votes.on_wipe(node.instance)

    def on_report(self, node: SimNode, evidence: Evidence) -> None:
        """A node reports an equivocation."""
        if node.liar is None:
            verifier = self._world.verifier_of(node)
            self._evidence.on_report(node, verifier, evidence, self._honest)

    def check_progress(self, healed_ms: int) -> None:
        """P17: after the healing blocks come soon, however many leaders are faulty."""
        limit_ms = (len(self._world.plan.faulty) + 2) * VIEW_TIMEOUT_MS_MAX
        if self._world.now_ms > max(healed_ms, self._progress_ms) + limit_ms:
            self.raise_unsettled(limit_ms, "no block for")

    def raise_unsettled(self, limit_ms: int, what: str = "not settled") -> None:
        """Raise P17 with every node's height and view."""
        heights = {node.instance: len(node.chain) for node in self._world.nodes}
        views = {
            node.instance: (node.replica.view, node.replica.to_view)
            for node in self._world.nodes
            if node.replica is not None
        }
        raise Violation(f"P17 {what} {limit_ms} ms after healing: heights {heights} views {views}")
