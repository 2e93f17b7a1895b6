"""The scheduler: executes ordered proposals and commits blocks, one thing at a time.

Results that are executed but not yet committed are kept by proposal digest, each the parent of
the next, so that execution runs ahead of checkpoints. One lock covers execution, commit and
the import of fetched blocks: whoever comes second finds the work done (B35).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import trio

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import compute_digest
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.invariants import check_certificate
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.node.chain.block import Block, Header
from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.config import Engine
from lowu.node.core.events import BlockCommittedEvent, Events
from lowu.node.core.membership import Membership
from lowu.node.errors import BadInput, BlockNotKept, DamagedData, StorageError
from lowu.node.execution.evm import BlockContext
from lowu.node.execution.executor import ExecutedBlock, Parent, execute_block
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger.ledger import Ledger
from lowu.node.metrics import CpuTimes, Part
from lowu.node.settings import BLOCK_GAS_MAX

SPECULATED_MAX = 2
"""Results held for one height, of which at most one will be committed."""

T = TypeVar("T")


class Run(Protocol):
    """Runs CPU or disk work: beside the event loop, or in virtual time."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Return what the work returns."""


async def run_in_thread(work: Callable[[], T], /) -> T:
    """Run CPU or disk work beside the event loop."""
    return await trio.to_thread.run_sync(work)


class Scheduler:
    """Owner of the blocks between ordered and committed."""

    def __init__(
        self,
        genesis: GenesisConfig,
        ledger: Ledger,
        verifier: MessageVerifier,
        events: Events,
        membership: Membership,
        run: Run = run_in_thread,
        engine: Engine = Engine.COMPILED,
        cpu: CpuTimes | None = None,
    ) -> None:
        self._genesis = genesis
        self._ledger = ledger
        self._verifier = verifier
        self._events = events
        self._membership = membership
        self._run = run
        self._engine = engine
        self._cpu = cpu or CpuTimes()
        self._executed: dict[bytes, tuple[ExecutedBlock, bytes]] = {}
        """By proposal digest, with the digest of the proposal below."""
        self.lock = trio.Lock()

    def block_context(self, number: int, timestamp_ms: int) -> BlockContext:
        """Return what the EVM may see in a block of this chain."""

        def block_hash(wanted: int) -> bytes | None:
            if not 0 <= wanted <= self._ledger.head.number:
                return None
            try:
                return self._ledger.header(wanted).hash
            except BlockNotKept as error:  # nobody else is to blame for it
                raise DamagedData(f"BLOCKHASH needs block {wanted}: {error}") from error

        return BlockContext(
            number,
            timestamp_ms // 1000,
            BLOCK_GAS_MAX,
            self._genesis.web3_chain_id,
            block_hash,
            self._engine,
            tx_gas_limit=self._membership.settings_at(number).tx_gas_limit,
        )

    def _uncommitted(self, previous: bytes) -> list[ExecutedBlock]:
        """Return the executed blocks from the committed head up to a proposal, the lowest first."""
        head = self._ledger.header(self._ledger.head.number)
        found: list[ExecutedBlock] = []
        while previous != head.proposal_digest:
            if previous not in self._executed:
                raise BadInput("the block below has not been executed here")
            executed, previous = self._executed[previous]
            found.append(executed)
        return found[::-1]

    def _parent(self, previous: bytes) -> Parent:
        """Return the block below, stacked on the committed head and on nothing older."""
        parent = self._ledger.parent()
        for executed in self._uncommitted(previous):
            parent = parent.extended(executed)
        return parent

    async def execute(
        self, proposal: Proposal, digest: bytes, transactions: tuple[Transaction, ...]
    ) -> bytes | None:
        """Execute an ordered proposal; return the block hash, or None if it is history."""
        async with self.lock:
            if proposal.height <= self._ledger.head.number:
                return None
            if digest not in self._executed:
                parent = self._parent(proposal.previous)
                executed = await self._execute(parent, proposal, digest, transactions)
                self._executed[digest] = (executed, proposal.previous)
            return self._executed[digest][0].header.hash

    async def speculate(
        self, proposal: Proposal, digest: bytes, transactions: tuple[Transaction, ...]
    ) -> None:
        """Execute a proposal that has been accepted while it is being agreed on.

        Only if nobody waits for this node meanwhile: the block below is committed, and nothing
        else runs. If the proposal is ordered, `execute` finds the result; if another one is, the
        result goes when that is committed. At most `SPECULATED_MAX` at a height: a view each.
        """
        head = self._ledger.header(self._ledger.head.number)
        height = head.number + 1
        # What an accepted proposal stands on is not checked yet: that is for its PREPARE.
        is_next = (proposal.height, proposal.previous) == (height, head.proposal_digest)
        rivals = sum(item.header.number == height for item, _ in self._executed.values())
        if is_next and rivals < SPECULATED_MAX and not self.lock.locked():
            await self.execute(proposal, digest, transactions)

    async def _execute(
        self,
        parent: Parent,
        proposal: Proposal,
        digest: bytes,
        transactions: tuple[Transaction, ...],
    ) -> ExecutedBlock:
        context = self._context_on(proposal)
        validators = self._membership.validators_at(proposal.height)

        def work() -> ExecutedBlock:
            with self._cpu.measure(Part.EXECUTION, len(transactions)):
                return execute_block(parent, proposal, digest, transactions, validators, context)

        return await self._run(work)

    def _context_on(self, proposal: Proposal) -> BlockContext:
        """Like `block_context`, but BLOCKHASH also sees the blocks below not yet committed."""
        context = self.block_context(proposal.height, proposal.timestamp_ms)
        uncommitted = {
            executed.header.number: executed.header.hash
            for executed in self._uncommitted(proposal.previous)
        }

        def block_hash(wanted: int) -> bytes | None:
            return uncommitted.get(wanted) or context.block_hash(wanted)

        return replace(context, block_hash=block_hash)

    async def commit(self, certificate: CommitCertificate) -> None:
        """Make an executed block durable; nothing happens if it is already."""
        async with self.lock:
            if certificate.height <= self._ledger.head.number:
                return
            found = self._executed.get(certificate.digest)
            if found is None:
                raise StorageError(f"block {certificate.height} was not executed here")
            await self._commit(found[0], certificate, is_synced=False)

    async def _commit(
        self, executed: ExecutedBlock, certificate: CommitCertificate, *, is_synced: bool
    ) -> None:
        validators = self._membership.validators_at(certificate.height)
        check_certificate(validators, certificate)  # P04, whoever made or checked it
        await self._run(lambda: self._ledger.commit(executed, certificate))
        height = executed.header.number
        for digest, (item, _) in list(self._executed.items()):
            if item.header.number <= height:
                del self._executed[digest]
        self._events.block_committed(BlockCommittedEvent(executed, certificate, is_synced))

    def forget(self) -> None:
        """Drop what was executed: the chain goes on from another block."""
        self._executed.clear()

    # --- blocks fetched from peers ----------------------------------------------------------

    async def import_block(self, block: Block) -> bool:
        """Check, re-execute, compare and commit a fetched block; False if already here.

        Raises:
            BadInput: the block breaks a rule; its sender is to blame.
        """
        transactions = await self._run(lambda: self._check_block(block))
        async with self.lock:
            header = block.header
            if header.number <= self._ledger.head.number:
                return False
            parent = self._ledger.parent()
            if header.parent_hash != parent.header.hash:
                raise BadInput(f"block {header.number} does not stand on our head")
            proposal = self._proposal_of(block, parent, transactions)
            digest = header.proposal_digest
            executed = await self._execute(parent, proposal, digest, transactions)
            if executed.header != header:
                raise StorageError(
                    f"block {header.number} has a valid certificate, but executing it here "
                    "gives another result: this node's state or software is damaged"
                )
            await self._commit(executed, block.certificate, is_synced=True)
            return True

    def _check_block(self, block: Block) -> tuple[Transaction, ...]:
        verify_sealed(self._verifier, block.header, block.certificate)
        return tuple(decode_transaction(raw) for raw in block.transactions)

    def _proposal_of(
        self, block: Block, parent: Parent, transactions: tuple[Transaction, ...]
    ) -> Proposal:
        header = block.header
        proposal = Proposal(
            header.number,
            parent.header.proposal_digest,
            header.tx_root,
            header.timestamp_ms,
            header.sealer,
            any(item.is_system(self._genesis.governor_address) for item in transactions),
        )
        if compute_digest(self._verifier.domain, proposal) != header.proposal_digest:
            raise BadInput(f"block {header.number}: the proposal digest does not fit the header")
        return proposal


def verify_sealed(
    verifier: MessageVerifier, header: Header, certificate: CommitCertificate
) -> None:
    """Check that a certificate is a header's own, and of a quorum; `BadInput` if it is not."""
    expected = (header.number, header.proposal_digest, header.hash)
    if (certificate.height, certificate.digest, certificate.block_hash) != expected:
        raise BadInput(f"certificate does not belong to block {header.number}")
    try:
        verifier.verify_commit(certificate)
    except InvalidMessage as error:
        raise BadInput(f"block {header.number}: {error}") from error
