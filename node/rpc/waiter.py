"""Clients' transactions on their way into a block: admitted, announced, and waited for."""

from __future__ import annotations

from collections.abc import Callable

import trio

from lowu.node.chain.transaction import Transaction
from lowu.node.clock import Clock
from lowu.node.core.events import BlockCommittedEvent
from lowu.node.metrics import CpuTimes, Part
from lowu.node.pool.txpool import TxPool
from lowu.node.rpc.reader import ChainReader, PlacedTransaction
from lowu.node.rpc.rpc_errors import LIMIT_EXCEEDED, RpcError

AWAITED_MAX = 10_000
BUSY_S = 1.0
"""For this long after a block the chain counts as busy."""


class CommitWaiter:
    """Takes transactions of clients, and says when something was admitted or committed."""

    def __init__(self, pool: TxPool, reader: ChainReader, clock: Clock, cpu: CpuTimes) -> None:
        self._pool = pool
        self._reader = reader
        self._clock = clock
        self._cpu = cpu
        self._committed_s = -BUSY_S
        self._listeners: set[Callable[[BlockCommittedEvent], None]] = set()
        self._pending_listeners: set[Callable[[Transaction], None]] = set()
        self._awaited: dict[bytes, trio.Event] = {}
        """By hash of a transaction that clients wait for: set once it is committed."""

    def submit(self, raw: bytes) -> Transaction:
        """Admit a transaction; `InvalidTransaction` says why not."""
        with self._cpu.measure(Part.ADMISSION):
            return self._pool.add(raw, self._clock.elapsed_s(), is_local=True)

    @property
    def pending_count(self) -> int:
        """Number of transactions that wait for a block."""
        return len(self._pool)

    def pending_nonce(self, account: bytes) -> int:
        """Return the next nonce of an account, after its waiting transactions."""
        return self._pool.pending_nonce(account)

    def find_pending(self, tx_hash: bytes) -> Transaction | None:
        """Return a waiting transaction."""
        return self._pool.get(tx_hash)

    def is_busy(self) -> bool:
        """Whether transactions wait or were committed just now: calls then have a share only."""
        is_recent = self._clock.elapsed_s() - self._committed_s < BUSY_S
        return is_recent or self._pool.has_ready

    def listen(self, listener: Callable[[BlockCommittedEvent], None]) -> Callable[[], None]:
        """Call `listener` with each committed block; return the function that stops it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def listen_pending(self, listener: Callable[[Transaction], None]) -> Callable[[], None]:
        """Call `listener` with each admitted transaction; return the function that stops it."""
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
        found = self._reader.find_transaction(tx_hash)
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
        return self._reader.find_transaction(tx_hash)
