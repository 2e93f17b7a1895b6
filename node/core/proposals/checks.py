"""What a proposal must be before this node votes for it: complete, right, and durable here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import trio

from lowu.consensus.effects import VerifyProposal
from lowu.consensus.inputs import ProposalVerdict
from lowu.consensus.messages import Proposal
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.transaction import Transaction
from lowu.node.clock import Clock
from lowu.node.core.clock_check import CLOCK_AHEAD_MS_MAX, ClockCheck
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.core.proposals.fetch import BodyExchange
from lowu.node.errors import BadInput, InvalidTransaction
from lowu.node.execution.account_db import decode_account
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger.ledger import Ledger
from lowu.node.pool.txpool import BODY_BYTES_MAX, TxPool
from lowu.node.settings import BLOCK_GAS_MAX

ANCESTOR_WAIT_S = 3.0

log = logging.getLogger("TXPOOL")


class ProposalChecker:
    """Checks proposals against the chain, the pool and the clock of one node."""

    def __init__(
        self,
        genesis: GenesisConfig,
        ledger: Ledger,
        membership: Membership,
        pool: TxPool,
        bodies: BodyStore,
        exchange: BodyExchange,
        commits: trio.Lock,
        clock: Clock,
    ) -> None:
        """Take the parts; `commits` is held while a block is being committed."""
        self._genesis = genesis
        self._ledger = ledger
        self._membership = membership
        self._pool = pool
        self._bodies = bodies
        self._exchange = exchange
        self._commits = commits
        self._clock = clock
        self.clock_check = ClockCheck(lambda: membership.next_validators)

    async def verify(self, effect: VerifyProposal) -> ProposalVerdict:
        """Obtain and check a proposal's body; VALID means that it is durable here."""
        proposal, digest = effect.proposal, effect.digest
        if self._bodies.get(proposal.height, digest) is not None:
            return ProposalVerdict.VALID
        limit = self._membership.settings_at(proposal.height).tx_count_limit
        if effect.tx_hashes is not None and len(effect.tx_hashes) > limit:
            log.warning(
                "proposal refused,height=%d,reason=%d transactions, of %d",
                proposal.height, len(effect.tx_hashes), limit,
            )  # fmt: skip
            return ProposalVerdict.INVALID
        try:
            transactions = await self._exchange.obtain(effect)
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
        self._bodies.save(proposal.height, digest, transactions)
        return ProposalVerdict.VALID

    def _check_content(self, proposal: Proposal, transactions: Sequence[Transaction]) -> None:
        hashes = [item.hash for item in transactions]
        settings = self._membership.settings_at(proposal.height)
        if not 1 <= len(hashes) <= settings.tx_count_limit:
            raise BadInput(f"{len(hashes)} transactions")
        if max(item.gas for item in transactions) > settings.tx_gas_limit:
            raise BadInput(f"more than {settings.tx_gas_limit} gas for one transaction")
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

        A validator that has left the view alone, and votes for nothing, does so all the same.
        """
        self.clock_check.note(proposal.proposer, proposal.timestamp_ms, self._clock.now_ms())

    def _check_time(self, proposal: Proposal) -> None:
        ahead_ms = proposal.timestamp_ms - self._clock.now_ms()
        if ahead_ms > CLOCK_AHEAD_MS_MAX:
            raise BadInput(f"time is {ahead_ms} ms ahead")

    async def _has_right_nonces(
        self, effect: VerifyProposal, transactions: Sequence[Transaction]
    ) -> bool:
        """Check that nonces follow on the chain below; False while that is unknown.

        Right nonces stay right whatever is committed meanwhile. Wrong ones may be those of a
        block that is being committed, and are looked at again between two commits.
        """
        height, ancestors = effect.proposal.height, effect.ancestors
        with trio.move_on_after(ANCESTOR_WAIT_S):
            while True:
                changed = self._bodies.changed
                taken = self._bodies.in_flight(height, ancestors)
                if taken is not None:
                    with suppress(InvalidTransaction):
                        self._check_nonces(taken, transactions)
                        return True
                    async with self._commits:
                        taken = self._bodies.in_flight(height, ancestors)
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
