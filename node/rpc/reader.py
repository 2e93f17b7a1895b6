"""The chain as RPC reads it: committed blocks and state, and calls on them.

Reads answer from committed state only. Calls and gas estimates are returned as work for a worker
thread, so that they can neither stop consensus nor pile up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lowu.consensus.messages import CommitCertificate
from lowu.consensus.validators import ValidatorSet
from lowu.contracts.system_config import SystemKey
from lowu.node.chain.block import Header, encode_block
from lowu.node.chain.receipt import Receipt
from lowu.node.chain.roster import Roster
from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.clock import Clock
from lowu.node.core.membership import Membership
from lowu.node.execution.account_db import Account, decode_account, encode_slot
from lowu.node.execution.evm import BlockContext, Outcome
from lowu.node.execution.executor import CALL_GAS_MAX, call, estimate_gas
from lowu.node.execution.flat_state import (
    TABLE_ACCOUNT,
    TABLE_CODE,
    TABLE_STORAGE,
    StateReader,
)
from lowu.node.execution.machine import Watch
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.schema import Head

PLACED_BLOCKS_MAX = 8


@dataclass(frozen=True, slots=True)
class PlacedTransaction:
    """A committed transaction with its receipt and place."""

    header: Header
    index: int
    transaction: Transaction
    receipt: Receipt
    log_index: int
    """Index in the block of the receipt's first log."""
    gas_used_before: int
    """Gas of the block's earlier transactions."""


class ChainReader:
    """Committed blocks and state of one node."""

    def __init__(
        self,
        genesis: GenesisConfig,
        ledger: Ledger,
        membership: Membership,
        block_context: Callable[[int, int], BlockContext],
        clock: Clock,
    ) -> None:
        """Take the parts; `block_context` gives what the EVM may see at a height and a time."""
        self.genesis = genesis
        self._ledger = ledger
        self._membership = membership
        self._block_context = block_context
        self._clock = clock
        self._placed: OrderedDict[int, list[PlacedTransaction]] = OrderedDict()

    # --- blocks -----------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Height of the last committed block."""
        return self._ledger.head.number

    @property
    def head(self) -> Head:
        """The last committed block, with the counts of transactions up to it."""
        return self._ledger.head

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0."""
        return self._ledger.genesis_hash

    @property
    def validators(self) -> ValidatorSet:
        """The validators that decide the next block."""
        return self._membership.next_validators

    @property
    def roster(self) -> Roster:
        """The group's nodes from the next block on."""
        return self._membership.roster

    def find_setting(self, key: str) -> tuple[int, int] | None:
        """Return a setting's value and since which block it holds; None if there is no such key."""
        if key.lower() not in list(SystemKey):
            return None
        return self._membership.find_setting(SystemKey(key.lower()))

    def header(self, number: int) -> Header:
        """Return a committed header."""
        return self._ledger.header(number)

    def block_size(self, number: int) -> int:
        """Return the bytes of a committed block as it is stored."""
        return len(encode_block(self._ledger.block(number)))

    def certificate(self, number: int) -> CommitCertificate:
        """Return a block's certificate."""
        return self._ledger.certificate(number)

    def epoch(self, number: int) -> int:
        """Return the first height of the validators that signed a block."""
        return self._membership.epoch_at(number)

    def find_block(self, block_hash: bytes) -> int | None:
        """Return the height of a block hash."""
        return self._ledger.find_block(block_hash)

    def placed(self, number: int) -> list[PlacedTransaction]:
        """Return all transactions of a block with receipts; the last few blocks are kept."""
        found = self._placed.get(number)
        if found is None:
            found = self._placed[number] = self._read_placed(number)
            while len(self._placed) > PLACED_BLOCKS_MAX:
                self._placed.popitem(last=False)
        return found

    def _read_placed(self, number: int) -> list[PlacedTransaction]:
        header = self._ledger.header(number)
        raws = self._ledger.block(number).transactions
        found = []
        log_index = gas = 0
        for index, (raw, receipt) in enumerate(
            zip(raws, self._ledger.receipts(number), strict=True)
        ):
            transaction = decode_transaction(raw)
            found.append(PlacedTransaction(header, index, transaction, receipt, log_index, gas))
            log_index += len(receipt.logs)
            gas += receipt.gas_used
        return found

    def find_transaction(self, tx_hash: bytes) -> PlacedTransaction | None:
        """Return a committed transaction."""
        place = self._ledger.find_transaction(tx_hash)
        return None if place is None else self.placed(place[0])[place[1]]

    # --- state ------------------------------------------------------------------------------

    # `at` is the block whose state is meant, and None the last one. `StateNotKept` is raised for
    # a block that is too old.

    def _state(self, at: int | None) -> StateReader:
        return self._ledger if at is None else self._ledger.state_at(at)

    def account(self, address: bytes, at: int | None = None) -> Account:
        """Return nonce, balance and code hash of an account."""
        return decode_account(self._state(at).get(TABLE_ACCOUNT, address))

    def code(self, address: bytes, at: int | None = None) -> bytes:
        """Return an account's code."""
        state = self._state(at)
        return state.get(TABLE_CODE, decode_account(state.get(TABLE_ACCOUNT, address))[2])

    def storage_at(self, address: bytes, slot: int, at: int | None = None) -> bytes:
        """Return a storage slot, 32 bytes."""
        return self._state(at).get(TABLE_STORAGE, encode_slot(address, slot)).rjust(32, b"\0")

    def _block_of(self, number: int) -> BlockContext:
        """Return what a contract may see of a committed block."""
        return self._block_context(number, self.header(number).timestamp_ms)

    def _block_of_now(self, *, is_next: bool) -> BlockContext:
        """Return what a contract may see: of the head or of the next block, but the time of now.

        An idle chain makes no blocks, and what expires there must be seen to have expired.
        """
        head = self.header(self.height)
        now_ms = max(self._clock.now_ms(), head.timestamp_ms + 1)
        return self._block_context(head.number + is_next, now_ms)

    def call(
        self, template: Transaction, at: int | None = None, *, is_next: bool = False
    ) -> Callable[[Watch | None], Outcome]:
        """Return the work that runs an unsigned transaction on the committed state of now.

        NUMBER is the head's, as callers in a batch expect it (case N-R12), or the next block's.
        At a block, the call has this block's time and state, whatever is committed since.
        """
        if at is None:
            block, state = self._block_of_now(is_next=is_next), self._ledger.snapshot()
        else:
            block, state = self._block_of(at), self._ledger.state_at(at)
        return lambda watch: call(state, block, template, watch)

    def estimate_gas(
        self, template: Transaction, at: int | None = None
    ) -> Callable[[Watch | None], tuple[int, Outcome]]:
        """Return the work that finds the gas a transaction needs, and how it ran."""
        if at is None:
            block, state = self._block_of_now(is_next=True), self._ledger.snapshot()
        else:
            block, state = self._block_of(at), self._ledger.state_at(at)
        gas_max = min(block.tx_gas_limit or CALL_GAS_MAX, template.gas or CALL_GAS_MAX)
        return lambda watch: estimate_gas(state, block, template, gas_max, watch)
