"""What the RPC dialects may ask of a node, and nothing more.

Reads answer from committed state only. Long work (calls, gas estimates) runs in a few worker
threads, so that it can neither stop consensus nor pile up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import trio

from consensus.messages import CommitCertificate
from node.chain.block import Header
from node.chain.receipt import Receipt
from node.chain.transaction import Transaction, decode_transaction
from node.clock import Clock
from node.config import GenesisConfig, NodeConfig
from node.core.driver import Driver
from node.core.events import BlockCommittedEvent
from node.core.scheduler import Scheduler
from node.core.sync import Sync
from node.execution.account_db import Account, decode_account, encode_slot
from node.execution.evm import BlockContext, Outcome
from node.execution.executor import CALL_GAS_MAX, call, estimate_gas
from node.execution.flat_state import TABLE_ACCOUNT, TABLE_CODE, TABLE_STORAGE
from node.execution.machine import Watch
from node.gateway.gateway import Gateway
from node.ledger.ledger import Ledger
from node.metrics import CpuTimes, Part
from node.pool.txpool import TxPool
from node.rpc.rpc_errors import LIMIT_EXCEEDED, RpcError

PLACED_BLOCKS_MAX = 8
AWAITED_MAX = 10_000
BUSY_S = 1.0
"""The chain is busy for so long after a block."""


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


class Backend:
    """A node as its RPC sees it."""

    def __init__(
        self,
        genesis: GenesisConfig,
        config: NodeConfig,
        node_id: bytes,
        ledger: Ledger,
        pool: TxPool,
        gateway: Gateway,
        scheduler: Scheduler,
        sync: Sync,
        driver: Driver | None,
        clock: Clock,
        cpu: CpuTimes,
    ) -> None:
        self._clock = clock
        self.cpu = cpu
        self.genesis = genesis
        self.config = config
        self.node_id = node_id
        self.ledger = ledger
        self.pool = pool
        self.gateway = gateway
        self.sync = sync
        self.driver = driver
        self._scheduler = scheduler
        self._placed: OrderedDict[int, list[PlacedTransaction]] = OrderedDict()
        self._committed_s = -BUSY_S
        self._listeners: set[Callable[[BlockCommittedEvent], None]] = set()
        self._pending_listeners: set[Callable[[Transaction], None]] = set()
        self._awaited: dict[bytes, trio.Event] = {}
        """Transactions that clients wait for, with what tells that one is committed."""

    # --- blocks -----------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Height of the last committed block."""
        return self.ledger.head.number

    def header(self, number: int) -> Header:
        """Return a committed header."""
        return self.ledger.header(number)

    def certificate(self, number: int) -> CommitCertificate:
        """Return a block's certificate."""
        return self.ledger.certificate(number)

    def epoch(self, number: int) -> int:
        """Return the first height of the validators that signed a block."""
        return self._scheduler.epochs.at(number).first_height

    def find_block(self, block_hash: bytes) -> int | None:
        """Return the height of a block hash."""
        return self.ledger.find_block(block_hash)

    def placed(self, number: int) -> list[PlacedTransaction]:
        """Return all transactions of a block with receipts; the last few blocks are kept."""
        found = self._placed.get(number)
        if found is None:
            found = self._placed[number] = self._read_placed(number)
            while len(self._placed) > PLACED_BLOCKS_MAX:
                self._placed.popitem(last=False)
        return found

    def _read_placed(self, number: int) -> list[PlacedTransaction]:
        header = self.ledger.header(number)
        raws = self.ledger.block(number).transactions
        found = []
        log_index = gas = 0
        for index, (raw, receipt) in enumerate(
            zip(raws, self.ledger.receipts(number), strict=True)
        ):
            transaction = decode_transaction(raw)
            found.append(PlacedTransaction(header, index, transaction, receipt, log_index, gas))
            log_index += len(receipt.logs)
            gas += receipt.gas_used
        return found

    def find_transaction(self, tx_hash: bytes) -> PlacedTransaction | None:
        """Return a committed transaction."""
        place = self.ledger.find_transaction(tx_hash)
        return None if place is None else self.placed(place[0])[place[1]]

    # --- state ------------------------------------------------------------------------------

    def account(self, address: bytes) -> Account:
        """Return nonce, balance and code hash of an account."""
        return decode_account(self.ledger.get(TABLE_ACCOUNT, address))

    def code(self, address: bytes) -> bytes:
        """Return an account's code."""
        return self.ledger.get(TABLE_CODE, self.account(address)[2])

    def storage_at(self, address: bytes, slot: int) -> bytes:
        """Return a storage slot, 32 bytes."""
        return self.ledger.get(TABLE_STORAGE, encode_slot(address, slot)).rjust(32, b"\0")

    def _block_of_now(self, *, is_next: bool) -> BlockContext:
        """Return what a contract may see: of the head or of the next block, but the time of now.

        An idle chain makes no blocks, and what expires there must be seen to have expired.
        """
        head = self.header(self.height)
        now_ms = max(self._clock.now_ms(), head.timestamp_ms + 1)
        return self._scheduler.block_context(head.number + is_next, now_ms)

    def call(
        self, template: Transaction, *, is_next: bool = False
    ) -> Callable[[Watch | None], Outcome]:
        """Return what runs an unsigned transaction on the committed state of now.

        NUMBER is the head's, as callers in a batch expect it (case N-R12), or the next block's.
        """
        block, state = self._block_of_now(is_next=is_next), self.ledger.snapshot()
        return lambda watch: call(state, block, template, watch)

    def estimate_gas(self, template: Transaction) -> Callable[[Watch | None], tuple[int, Outcome]]:
        """Return what finds the gas that a transaction needs, and how it ran."""
        block, state = self._block_of_now(is_next=True), self.ledger.snapshot()
        gas_max = min(self.genesis.tx_gas_limit, template.gas or CALL_GAS_MAX)
        return lambda watch: estimate_gas(state, block, template, gas_max, watch)

    def is_busy(self) -> bool:
        """Whether transactions wait or were committed just now: calls then have a share only."""
        is_recent = self._clock.elapsed_s() - self._committed_s < BUSY_S
        return is_recent or self.pool.has_ready

    def send(self, raw: bytes) -> Transaction:
        """Admit a transaction; `InvalidTransaction` says why not."""
        with self.cpu.measure(Part.ADMISSION):
            return self.pool.add(raw, self._clock.elapsed_s(), is_local=True)

    def sync_status(self) -> dict[str, str] | None:
        """Return how far the node is behind, as eth_syncing tells it; None if it is not."""
        highest = self.sync.known_highest
        if not self.sync.is_syncing or highest <= self.height:
            return None
        heights = {"startingBlock": 0, "currentBlock": self.height, "highestBlock": highest}
        return {name: hex(number) for name, number in heights.items()}

    # --- subscriptions ----------------------------------------------------------------------

    def listen(self, listener: Callable[[BlockCommittedEvent], None]) -> Callable[[], None]:
        """Call `listener` with each committed block; return what ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def listen_pending(self, listener: Callable[[Transaction], None]) -> Callable[[], None]:
        """Call `listener` with each transaction that is admitted; return what ends it."""
        self._pending_listeners.add(listener)
        return lambda: self._pending_listeners.discard(listener)

    def on_added(self, transaction: Transaction) -> None:
        """Pass an admitted transaction on."""
        for listener in list(self._pending_listeners):
            listener(transaction)

    def on_block(self, event: BlockCommittedEvent) -> None:
        """Pass a committed block on."""
        self._committed_s = self._clock.elapsed_s()
        for listener in list(self._listeners):
            listener(event)
        if self._awaited:
            for transaction in event.block.transactions:
                if transaction.hash in self._awaited:
                    self._awaited.pop(transaction.hash).set()

    async def wait_for(self, tx_hash: bytes, timeout_s: float) -> PlacedTransaction | None:
        """Return a transaction once it is committed; None if it is not in time.

        Raises:
            RpcError: too many clients wait already.
        """
        found = self.find_transaction(tx_hash)
        if found is not None:
            return found
        if tx_hash not in self._awaited and len(self._awaited) >= AWAITED_MAX:
            raise RpcError(LIMIT_EXCEEDED, f"{AWAITED_MAX} transactions are waited for already")
        committed = self._awaited.setdefault(tx_hash, trio.Event())
        try:
            with trio.move_on_after(timeout_s):
                await committed.wait()
        finally:
            if not committed.is_set() and not committed.statistics().tasks_waiting:
                self._awaited.pop(tx_hash, None)
        return self.find_transaction(tx_hash)
