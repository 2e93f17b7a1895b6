"""The base of a simulated consortium: virtual time, a trace, the network, keys, and its plan.

World, edge, clients and checkers are built on it. Each knows only those of the others that its
constructor is given.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from lowu.consensus import inputs as ev
from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.messages import CommitCertificate
from lowu.consensus.simulation.node import SimNode
from lowu.consensus.simulation.run_plan import RunPlan
from lowu.consensus.simulation.run_trace import Trace
from lowu.consensus.simulation.simulated_links import Network, Parcel
from lowu.consensus.types import ZERO_HASH, Domain, Hash32, Sign, Signature, hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet


class Kernel(ABC):
    """Virtual time, a trace and a network; the world decides how an instance takes an input."""

    def __init__(self, plan: RunPlan, *, is_traced: bool) -> None:
        self.plan = plan
        self.now_ms = 0
        self.is_faulty_phase = True
        self.domain = Domain("sim", "group0")
        self.genesis = CommitCertificate(0, ZERO_HASH, hash_bytes(b"genesis"), ())
        self.trace = Trace(is_on=is_traced)
        self.network = Network(plan.seed, plan.rates, plan.lost_kind, self.at, self.deliver)
        self.faults: Counter[str] = Counter()
        self.nodes: list[SimNode] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    @abstractmethod
    def deliver(self, sender: SimNode, receiver: SimNode, parcel: Parcel) -> None:
        """Let a parcel arrive."""

    @abstractmethod
    def step(self, node: SimNode, event: ev.Input, *, is_lie: bool = False) -> None:
        """Feed one input to a node's replica and perform the effects."""

    @abstractmethod
    def announce_links(self) -> None:
        """Tell every running instance which peers are linked to it and do not abstain."""

    # --- time -------------------------------------------------------------------------------

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run `action` after a delay; actions due at one time run in order of scheduling."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._sequence, action))

    def later(self, node: SimNode, delay_ms: int, action: Callable[[], None]) -> None:
        """Run `action` for an instance after a delay, unless it has crashed meanwhile."""
        incarnation = node.incarnation

        def act() -> None:
            if node.incarnation == incarnation:
                action()

        self.at(delay_ms, act)

    def run_until(self, end_ms: int, is_done: Callable[[], bool] | None = None) -> None:
        """Run events up to a virtual time, or until `is_done`."""
        while self._queue and self._queue[0][0] <= end_ms:
            if is_done is not None and is_done():
                return
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
        self.now_ms = max(self.now_ms, end_ms)

    def trace_event(self, node: SimNode | None, kind: str, text: str = "") -> None:
        """Add a line to the trace, if there is one."""
        if self.trace.is_on:
            self.trace.add(self.now_ms, -1 if node is None else node.instance, kind, text)

    def answer(self, node: SimNode, delay_ms: int, event: ev.Input) -> None:
        """Give an instance an input after a delay, unless it has crashed meanwhile."""
        self.later(node, delay_ms, lambda: self.step(node, event))

    # --- validators, and signatures: a keyed hash -----------------------------------------------

    def validators_of(self, members: tuple[int, ...]) -> ValidatorSet:
        """Return a validator set of nodes of the plan."""
        validators = (
            Validator(member.to_bytes(64, "big"), self.plan.weights[member]) for member in members
        )
        return ValidatorSet(tuple(validators), self.plan.leader_period)

    def signer(self, node_id: bytes) -> Sign:
        """Return the signing function of a node id."""
        return lambda digest: hash_bytes(node_id + digest)[:8]

    def is_signed(self, node_id: bytes, digest: Hash32, signature: Signature) -> bool:
        """Whether a node id signed a digest."""
        return hash_bytes(node_id + digest)[:8] == signature

    def verifier_of(self, node: SimNode) -> MessageVerifier:
        """Return a verifier that knows the epochs that one instance knows."""
        window = self.plan.window
        return MessageVerifier(self.domain, node.epochs, self.genesis, self.is_signed, window)
