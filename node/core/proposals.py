"""Bodies of proposals: obtaining them, checking them, keeping them durable.

Before this node votes for a proposal it must hold all of its transactions on disk: what is
ordered may have to be executed after every node has restarted. Missing transactions are asked
of the proposer first, then of the others. A checked proposal's transactions are also kept in
memory until its block is committed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

from consensus.effects import VerifyProposal
from consensus.inputs import ProposalVerdict
from consensus.messages import Proposal
from node.chain.merkle import compute_root
from node.chain.transaction import Transaction, decode_transaction
from node.clock import Clock
from node.config import BLOCK_GAS_MAX, GenesisConfig
from node.core.clock_check import CLOCK_AHEAD_MS_MAX, ClockCheck
from node.core.scheduler import Scheduler
from node.errors import BadInput, InvalidTransaction
from node.execution.account_db import decode_account
from node.execution.flat_state import TABLE_ACCOUNT
from node.gateway.gateway import Gateway
from node.ledger.ledger import Ledger
from node.pool.txpool import BODY_BYTES_MAX, TxPool

ANCESTOR_WAIT_S = 3.0

log = logging.getLogger("TXPOOL")


class Proposals:
    """Keeper of proposal bodies on one node."""

    def __init__(
        self,
        genesis: GenesisConfig,
        ledger: Ledger,
        pool: TxPool,
        gateway: Gateway,
        scheduler: Scheduler,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self.clock_check = ClockCheck(genesis.validators)
        self._genesis = genesis
        self._ledger = ledger
        self._pool = pool
        self._gateway = gateway
        self._scheduler = scheduler
        self._members = [item.node_id for item in genesis.validators.validators]
        self._bodies: dict[bytes, tuple[int, tuple[Transaction, ...]]] = {}
        self._changed = trio.Event()

    # --- keeping ----------------------------------------------------------------------------

    def save(self, height: int, digest: bytes, transactions: Sequence[Transaction]) -> None:
        """Make the bodies of a proposal durable."""
        self._ledger.save_proposal(height, digest, (item.raw for item in transactions))
        self._remember(height, digest, tuple(transactions))

    def _remember(self, height: int, digest: bytes, found: tuple[Transaction, ...]) -> None:
        self._bodies[digest] = (height, found)
        self._changed.set()
        self._changed = trio.Event()

    def get(self, height: int, digest: bytes) -> tuple[Transaction, ...] | None:
        """Return the transactions of a proposal if this node holds them."""
        known = self._bodies.get(digest)
        if known is not None:
            return known[1]
        stored = self._ledger.load_proposal(height, digest)
        if stored is None:
            return None
        found = tuple(decode_transaction(raw) for raw in stored)
        self._remember(height, digest, found)
        return found

    def is_next(self, height: int) -> bool:
        """Whether everything below a height is committed."""
        return height == self._ledger.head.number + 1

    def in_flight(self, height: int, ancestors: Sequence[bytes]) -> list[Transaction] | None:
        """Return the transactions of uncommitted ancestors of `height`; None if unknown."""
        if height - len(ancestors) > self._ledger.head.number + 1:
            return None  # a height below has no proposal here yet
        found: list[Transaction] = []
        for offset, digest in enumerate(ancestors):
            at = height - len(ancestors) + offset
            if at <= self._ledger.head.number:
                continue
            body = self.get(at, digest)
            if body is None:
                return None
            found += body
        return found

    def on_block(self, height: int) -> None:
        """Forget bodies at or below a committed height."""
        for digest, (known, _) in list(self._bodies.items()):
            if known <= height:
                del self._bodies[digest]

    # --- checking ---------------------------------------------------------------------------

    async def verify(self, effect: VerifyProposal) -> ProposalVerdict:
        """Obtain and check a proposal's bodies; VALID means that they are durable here."""
        proposal, digest = effect.proposal, effect.digest
        if self.get(proposal.height, digest) is not None:
            return ProposalVerdict.VALID
        try:
            transactions = await self._obtain(effect)
        except BadInput as error:
            log.warning("proposal incomplete,height=%d,reason=%s", proposal.height, error)
            return ProposalVerdict.UNKNOWN
        try:
            self._check_content(proposal, transactions)
            if not effect.is_vouched:
                self._check_time(proposal)
                if not await self._has_right_nonces(effect, transactions):
                    return ProposalVerdict.UNKNOWN
        except BadInput as error:
            log.warning("proposal refused,height=%d,reason=%s", proposal.height, error)
            return ProposalVerdict.INVALID
        self.save(proposal.height, digest, transactions)
        return ProposalVerdict.VALID

    def _check_content(self, proposal: Proposal, transactions: Sequence[Transaction]) -> None:
        hashes = [item.hash for item in transactions]
        if not 1 <= len(hashes) <= self._genesis.block_tx_count_limit:
            raise BadInput(f"{len(hashes)} transactions")
        if compute_root(hashes) != proposal.tx_root:
            raise BadInput("transactions do not match the root")
        if sum(len(item.raw) for item in transactions) > BODY_BYTES_MAX:
            raise BadInput(f"more than {BODY_BYTES_MAX} bytes of transactions")
        if sum(item.gas for item in transactions) > BLOCK_GAS_MAX:
            raise BadInput(f"more than {BLOCK_GAS_MAX} gas of transactions")
        governor = self._genesis.governor_address
        if proposal.is_barrier != any(item.is_system(governor) for item in transactions):
            raise BadInput("the barrier flag does not fit the transactions")
        for item in transactions:
            if self._pool.get(item.hash) is not item:  # what is in the pool has been checked
                self._pool.validate(item.raw)

    def note_time(self, proposal: Proposal) -> None:
        """Compare our clock with that of a proposer, as its proposal comes in.

        That goes on while this validator votes for nothing, as it has left the view alone.
        """
        now_ms = self._clock.now_ms()
        self.clock_check.note(proposal.proposer, proposal.timestamp_ms, now_ms)

    def _check_time(self, proposal: Proposal) -> None:
        ahead_ms = proposal.timestamp_ms - self._clock.now_ms()
        if ahead_ms > CLOCK_AHEAD_MS_MAX:
            raise BadInput(f"time is {ahead_ms} ms ahead")

    async def _has_right_nonces(
        self, effect: VerifyProposal, transactions: Sequence[Transaction]
    ) -> bool:
        """Check that nonces follow on the chain below; False while that is unknown.

        Right nonces are right whatever the disk does meanwhile. Wrong ones may be those of a
        block that is being committed, and are looked at again between two commits.
        """
        height, ancestors = effect.proposal.height, effect.ancestors
        with trio.move_on_after(ANCESTOR_WAIT_S):
            while True:
                changed = self._changed
                taken = self.in_flight(height, ancestors)
                if taken is not None:
                    with suppress(InvalidTransaction):
                        self._check_nonces(taken, transactions)
                        return True
                    async with self._scheduler.lock:
                        taken = self.in_flight(height, ancestors)
                        if taken is not None:
                            self._check_nonces(taken, transactions)
                            return True
                        continue
                await changed.wait()
        return False

    def _check_nonces(
        self, taken: Sequence[Transaction], transactions: Sequence[Transaction]
    ) -> None:
        expected: dict[bytes, int] = {}
        for item in (*taken, *transactions):
            if item.sender not in expected:
                account = decode_account(self._ledger.get(TABLE_ACCOUNT, item.sender))
                expected[item.sender] = account[0]
            if item.nonce != expected[item.sender]:
                raise InvalidTransaction(
                    f"transaction {item.hash.hex()[:16]} has nonce {item.nonce} instead of "
                    f"{expected[item.sender]}"
                )
            expected[item.sender] += 1

    # --- obtaining --------------------------------------------------------------------------

    async def _obtain(self, effect: VerifyProposal) -> list[Transaction]:
        if effect.tx_hashes is None:
            return await self._fetch(effect, ["proposal", effect.proposal.height, effect.digest])
        if len(effect.tx_hashes) > self._genesis.block_tx_count_limit:
            return []
        found = {item: self._pool.get(item) for item in effect.tx_hashes}
        missing = [tx_hash for tx_hash, known in found.items() if known is None]
        if missing:
            for transaction in await self._fetch(effect, ["txs", missing]):
                found[transaction.hash] = transaction
        return [known for item in effect.tx_hashes if (known := found[item]) is not None]

    async def _fetch(self, effect: VerifyProposal, what: list[object]) -> list[Transaction]:
        """Ask the proposer, then the others; the first complete answer is taken."""
        proposer = self._members[effect.proposal.proposer]
        others = [item for item in self._members if item != proposer]
        for node_id in (proposer, *others):
            if node_id not in self._gateway.connected:
                continue
            try:
                answer = await self._gateway.request(node_id, what)
                found = [decode_transaction(raw) for raw in _byte_strings(answer)]
            except BadInput as error:
                log.info("fetch failed,peer=%s,reason=%s", node_id.hex()[:16], error)
                continue
            if self._is_complete(effect, what, found):
                return found
        raise BadInput("no connected node has all of its transactions")

    @staticmethod
    def _is_complete(
        effect: VerifyProposal, what: list[object], found: Sequence[Transaction]
    ) -> bool:
        hashes = [item.hash for item in found]
        if what[0] == "txs":
            return hashes == what[1]
        return compute_root(hashes) == effect.proposal.tx_root

    # --- answering others -------------------------------------------------------------------

    def answer_proposal(self, height: object, digest: object) -> list[bytes] | None:
        """Return a proposal's transactions for a peer, None if unknown."""
        if type(height) is not int or not 0 <= height < 2**63:
            raise BadInput("proposal request without a height")
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise BadInput("proposal request without a digest")
        known = self._bodies.get(digest)
        if known is not None:
            return [item.raw for item in known[1]]
        stored = self._ledger.load_proposal(height, digest)
        return list(stored) if stored is not None else None

    def answer_transactions(self, hashes: Any) -> list[bytes] | None:
        """Return pooled or proposed transactions for a peer, None unless all are known."""
        is_list = isinstance(hashes, list) and len(hashes) <= self._genesis.block_tx_count_limit
        if not is_list or not all(isinstance(item, bytes) for item in hashes):
            raise BadInput("malformed transaction request")
        held = {item.hash: item for _, body in self._bodies.values() for item in body}
        found = []
        size_bytes = 0
        for tx_hash in hashes:
            known = self._pool.get(tx_hash) or held.get(tx_hash)
            if known is None:
                return None
            size_bytes += len(known.raw)
            if size_bytes > BODY_BYTES_MAX:
                raise BadInput("asks for more transactions than a block holds")
            found.append(known.raw)
        return found


def _byte_strings(value: object) -> list[bytes]:
    if value is None:
        raise BadInput("it does not have them, or no longer")
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        raise BadInput("answer is not a list of byte strings")
    return value
