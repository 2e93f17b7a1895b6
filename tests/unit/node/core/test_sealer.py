"""When a block is sealed: full, or on what is committed, or after a while; never empty."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from lowu.consensus.effects import BuildProposal
from lowu.node.config import NodeConfig
from lowu.node.core.sealer import BUSY_BLOCK_SIZE, Sealer
from lowu.node.pool.txpool import TxPool
from tests.unit import node_kit as kit
from tests.unit.node_kit import signed

FULL = kit.GENESIS.block_tx_count_limit
WAIT_S = 0.05
FOLDER = Path()


class Bodies:
    """Proposals below the one that is asked for: how many transactions, and whether committed."""

    def __init__(self):
        self.taken, self.is_committed = [], True

    def is_next(self, height):
        return self.is_committed

    def in_flight(self, height, ancestors):
        return self.taken

    def save(self, height, digest, chosen):
        pass


@pytest.fixture
def bodies():
    return Bodies()


@pytest.fixture
async def desk(bodies, nursery):
    """A sealer that runs, its pool, and when it sealed how much."""
    pool = TxPool(kit.GENESIS, 1_000, lambda sender: 0, lambda tx_hash: False)
    sealed = []
    desk = SimpleNamespace(sealed=sealed, began_s=0.0)

    async def deliver(event):
        sealed.append((round(trio.current_time() - desk.began_s, 3), len(event.tx_hashes)))

    config = NodeConfig("node0", FOLDER, "127.0.0.1", 0, 0, 0, ())
    clock = SimpleNamespace(now_ms=lambda: 5, elapsed_s=trio.current_time)
    group = SimpleNamespace(next_settings=kit.GENESIS.settings)
    sealer = Sealer(kit.GENESIS, config, kit.DOMAIN, group, pool, bodies, deliver, clock)
    nursery.start_soon(sealer.run)

    def add(count, first=None):
        first = len(pool) if first is None else first
        for nonce in range(first, first + count):
            pool.add(signed(nonce=nonce).raw, 0.0, is_local=True)
        sealer.notice()

    def order():
        desk.began_s = trio.current_time()
        sealer.request(BuildProposal(0, 1, bytes(32), 1, 0, ()))

    desk.sealer, desk.add, desk.order = sealer, add, order
    return desk


async def test_a_lone_transaction_does_not_wait(desk, autojump_clock):
    desk.order()
    await trio.sleep(1)
    assert desk.sealed == []
    desk.add(1)
    await trio.sleep(1)
    assert desk.sealed == [(1.0, 1)]


async def test_a_block_on_one_in_flight_waits_for_more(desk, bodies, autojump_clock):
    bodies.is_committed = False
    desk.add(3)
    desk.order()
    await trio.sleep(1)
    assert desk.sealed == [(WAIT_S, 3)]


async def test_it_stops_waiting_once_what_is_below_is_committed(desk, bodies, autojump_clock):
    bodies.is_committed = False
    desk.add(3)
    desk.order()
    await trio.sleep(0.01)
    bodies.is_committed = True
    desk.sealer.on_block(1)
    await trio.sleep(1)
    assert desk.sealed == [(0.01, 3)]


async def test_after_a_block_of_many_the_next_one_fills(desk, autojump_clock):
    desk.add(1)
    desk.sealer.on_block(BUSY_BLOCK_SIZE)
    desk.order()
    await trio.sleep(0.02)
    desk.add(2)
    await trio.sleep(1)
    assert desk.sealed == [(WAIT_S, 3)]


async def test_a_full_block_waits_for_nothing(desk, bodies, autojump_clock):
    """What is in the blocks below does not count."""
    bodies.is_committed = False
    desk.order()
    bodies.taken = [signed(nonce=number) for number in range(3)]
    desk.add(FULL)
    await trio.sleep(0.01)
    assert desk.sealed == []
    desk.add(3)
    await trio.sleep(1)
    assert desk.sealed == [(0.01, FULL)]


async def test_what_is_behind_a_gap_does_not_fill_a_block(desk, bodies, autojump_clock):
    """Batches of gossip overtake each other; for a moment nonces are missing."""
    bodies.is_committed = False
    desk.order()
    desk.add(2)
    desk.add(FULL, first=3)
    await trio.sleep(0.01)
    assert desk.sealed == []
    desk.add(1, first=2)
    await trio.sleep(1)
    assert desk.sealed == [(0.01, FULL)]


async def test_a_block_can_be_full_by_gas(desk, bodies, autojump_clock, monkeypatch):
    bodies.is_committed = False
    monkeypatch.setattr("lowu.node.pool.txpool.BLOCK_GAS_MAX", 10 * 10**6)
    desk.order()
    desk.add(FULL)
    await trio.sleep(1)
    assert desk.sealed == [(0.0, 10)]
