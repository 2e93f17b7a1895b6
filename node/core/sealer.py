"""The sealer: builds a proposal when this node leads and transactions wait.

A block is sealed when it is full, when all below it are committed, or when `min_seal_time` has
passed since it was asked for. After a block of many the next one waits as long for more: a lone
transaction on a quiet network does not wait, and under load a block fills up. No empty blocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from lowu.consensus.codec import compute_digest
from lowu.consensus.effects import BuildProposal
from lowu.consensus.inputs import ProposalBuilt
from lowu.consensus.messages import Proposal
from lowu.consensus.types import Domain
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.transaction import Transaction
from lowu.node.clock import Clock
from lowu.node.config import NodeConfig
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.genesis_config import GenesisConfig
from lowu.node.pool.txpool import TxPool

BUSY_BLOCK_SIZE = 8
"""Transactions in a block after which more are expected: each block costs every replica as much
CPU as some thirty transactions."""


LOOK_S = 0.005
"""How long what waits is not looked through again: each transaction that arrives is told of."""


class Sealer:
    """Answers one BuildProposal at a time; a new one replaces the old."""

    def __init__(
        self,
        genesis: GenesisConfig,
        config: NodeConfig,
        domain: Domain,
        membership: Membership,
        pool: TxPool,
        bodies: BodyStore,
        deliver: Callable[[ProposalBuilt], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._genesis = genesis
        self._wait_s = config.min_seal_time_ms / 1000
        self._domain = domain
        self._membership = membership
        self._pool = pool
        self._bodies = bodies
        self._deliver = deliver
        self._wanted: BuildProposal | None = None
        self._since_s = 0.0
        """When it was asked for."""
        self._busy_until_s = 0.0
        self._is_collecting = False
        self._look_again_s = 0.0
        self._changed = trio.Event()

    def request(self, effect: BuildProposal | None) -> None:
        """Take a new order, or None to forget the old one."""
        self._wanted = effect
        self._look_again_s = 0.0
        self._since_s = trio.current_time()
        self._changed.set()

    def on_block(self, size: int) -> None:
        """A block was committed; after one of many the next has a moment to fill."""
        if size >= BUSY_BLOCK_SIZE:
            self._busy_until_s = trio.current_time() + self._wait_s
        self._look_again_s = 0.0
        self.notice()

    def notice(self) -> None:
        """The pool changed."""
        wanted = self._wanted
        if wanted is not None and (not self._is_collecting or self._is_due(wanted)):
            self._changed.set()

    def _is_due(self, wanted: BuildProposal) -> bool:
        if self._is_full(wanted):
            return True
        return self._bodies.is_next(wanted.height) and not self._is_busy()

    def _is_busy(self) -> bool:
        return trio.current_time() < self._busy_until_s

    def _is_full(self, wanted: BuildProposal) -> bool:
        """Whether what is ready fills a block, besides what is in the blocks below."""
        limit = self._membership.next_settings.tx_count_limit
        now_s = trio.current_time()
        if len(self._pool) < limit or now_s < self._look_again_s:
            return False
        taken = self._bodies.in_flight(wanted.height, wanted.ancestors)
        if taken is not None and self._pool.fills_block(limit, taken):
            return True
        self._look_again_s = now_s + LOOK_S
        return False

    async def run(self) -> None:
        """Seal for ever."""
        while True:
            self._changed = trio.Event()
            if self._wanted is None or not self._select(self._wanted):
                await self._changed.wait()
                continue
            await self._collect(self._wanted)
            wanted = self._wanted
            chosen = self._select(wanted) if wanted is not None else []
            if wanted is not None and chosen:
                self._wanted = None
                await self._deliver(self._build(wanted, chosen))

    async def _collect(self, wanted: BuildProposal) -> None:
        """Give more transactions the time to arrive, as long as that delays nothing."""
        self._is_collecting = True
        with trio.move_on_at(max(self._since_s + self._wait_s, self._busy_until_s)):
            while self._wanted is wanted and not self._is_due(wanted):
                self._changed = trio.Event()
                await self._changed.wait()
        self._is_collecting = False

    def _select(self, wanted: BuildProposal) -> list[Transaction]:
        if not self._pool.has_ready:
            return []
        taken = self._bodies.in_flight(wanted.height, wanted.ancestors)
        if taken is None:
            return []
        return self._pool.select(self._membership.next_settings.tx_count_limit, taken)

    def _build(self, wanted: BuildProposal, chosen: list[Transaction]) -> ProposalBuilt:
        hashes = tuple(item.hash for item in chosen)
        now_ms = self._clock.now_ms()
        proposal = Proposal(
            height=wanted.height,
            previous=wanted.previous,
            tx_root=compute_root(hashes),
            timestamp_ms=max(now_ms, wanted.timestamp_ms_min),
            proposer=wanted.proposer,
            is_barrier=any(item.is_system(self._genesis.governor_address) for item in chosen),
        )
        self._bodies.save(wanted.height, compute_digest(self._domain, proposal), chosen)
        return ProposalBuilt(wanted.view, proposal, hashes)
