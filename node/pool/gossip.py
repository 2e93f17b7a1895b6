"""Gossip of transactions: batches to all linked nodes, in the lowest priority class.

The node sends a client's transaction to all linked nodes at once, or in the next batch if one has
just been sent. It does not forward transactions received by gossip (the links are a full mesh). A
newly linked node gets our whole pool, so that partitions do not strand a transaction.
"""

from __future__ import annotations

from bisect import bisect
from contextlib import suppress
from itertools import count

import trio

from lowu.node.chain.transaction import Transaction
from lowu.node.clock import Clock
from lowu.node.errors import BadInput, InvalidTransaction
from lowu.node.gateway.framing import MIB, FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.metrics import CpuTimes, Part
from lowu.node.pool.txpool import TxPool

BATCH_S = 0.02
"""Time between two batches: a batch costs every node about as much as three transactions."""
BATCH_TXS_MAX = 1_000
BATCH_BYTES_MAX = 1 * MIB
ADMITTED_AT_ONCE = 20
"""Transactions admitted in a row before other tasks may run."""
REPEAT_S = 0.5
REPEATED_TXS_MAX = 64
OFFERED_MAX = 50_000


class Gossip:
    """Sends and receives transactions."""

    def __init__(self, gateway: Gateway, pool: TxPool, clock: Clock, cpu: CpuTimes) -> None:
        self._clock = clock
        self._cpu = cpu
        self._gateway = gateway
        self._pool = pool
        self._offered: list[Transaction] = []
        self._changed = trio.Event()
        self._linked: frozenset[bytes] = frozenset()

    def offer(self, transaction: Transaction) -> None:
        """Queue a local transaction for all linked nodes."""
        if len(self._offered) < OFFERED_MAX:
            self._offered.append(transaction)
            self._changed.set()

    def on_links(self, connected: frozenset[bytes]) -> None:
        """Send our pool to newly linked nodes."""
        fresh = connected - self._linked
        self._linked = connected
        self._send(fresh, self._pool.transactions())

    async def run(self) -> None:
        """Send batches for ever, and resend transactions that wait too long."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._repeat_for_ever)
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                offered, self._offered = self._offered, []
                self._send(self._gateway.connected, offered)
                await trio.sleep(BATCH_S)

    async def _repeat_for_ever(self) -> None:
        """Resend the oldest waiting transactions: they may be lost if a link was replaced.

        In round t, the k-th node of the network sends to the (k + t)-th only, so that in each
        round every node hears from one other node, and at most once.
        """
        for turn in count():
            await trio.sleep(REPEAT_S)
            waiting = self._pool.oldest(REPEATED_TXS_MAX, self._clock.elapsed_s() - REPEAT_S)
            others = sorted(self._gateway.connected)
            if others and waiting:
                own = bisect(others, self._gateway.node_id)
                self._send(frozenset([others[(own + turn) % len(others)]]), waiting)

    def _send(self, node_ids: frozenset[bytes], transactions: list[Transaction]) -> None:
        for batch in _batches([item.raw for item in transactions]):
            self._gateway.broadcast(node_ids, FrameKind.TRANSACTIONS, batch)

    async def handle(self, node_id: bytes, value: object) -> None:
        """Admit a batch from a peer, ignoring known and invalid transactions."""
        if not isinstance(value, list) or len(value) > BATCH_TXS_MAX:
            raise BadInput("transaction batch is not a short list")
        for start in range(0, len(value), ADMITTED_AT_ONCE):
            some = value[start : start + ADMITTED_AT_ONCE]
            with self._cpu.measure(Part.ADMISSION, len(some)):
                self._admit(some)
            await trio.lowlevel.checkpoint()

    def _admit(self, raws: list[object]) -> None:
        now_s = self._clock.elapsed_s()
        for raw in raws:
            if not isinstance(raw, bytes):
                raise BadInput("transaction is not bytes")
            with suppress(InvalidTransaction):
                self._pool.add(raw, now_s, is_local=False)


def _batches(raws: list[bytes]) -> list[list[bytes]]:
    batches: list[list[bytes]] = []
    size = BATCH_BYTES_MAX
    for raw in raws:
        if size + len(raw) > BATCH_BYTES_MAX or len(batches[-1]) >= BATCH_TXS_MAX:
            batches.append([])
            size = 0
        batches[-1].append(raw)
        size += len(raw)
    return batches
