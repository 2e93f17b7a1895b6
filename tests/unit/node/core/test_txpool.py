"""The transaction pool: admission, order, readiness, bounds."""

import pytest

from lowu.node.errors import InvalidTransaction
from lowu.node.pool.txpool import NONCE_WINDOW, TxPool
from tests.unit import node_kit as kit
from tests.unit.node_kit import ACCOUNT, OTHER, signed


class State:
    """Committed nonces and hashes."""

    def __init__(self):
        self.nonces = {}
        self.committed = set()


@pytest.fixture
def state():
    return State()


@pytest.fixture
def pool(state):
    return TxPool(
        kit.GENESIS, 10, lambda sender: state.nonces.get(sender, 0), state.committed.__contains__
    )


def add(pool, *transactions):
    for item in transactions:
        pool.add(item.raw, 0.0, is_local=True)


def test_order_of_arrival_and_no_gaps(pool):
    late, first, other = signed(nonce=1), signed(nonce=0), signed(OTHER, nonce=0)
    add(pool, late)
    assert not pool.has_ready and pool.select(9, []) == []
    add(pool, other, first)
    assert pool.has_ready
    assert pool.select(9, []) == [first, late, other]
    assert pool.select(2, []) == [first, late]
    assert pool.select(9, [first]) == [late, other]
    assert pool.pending_nonce(first.sender) == 2


def test_a_block_empties_the_pool(pool, state):
    one, two = signed(nonce=0), signed(nonce=1)
    add(pool, one, two)
    state.nonces[one.sender] = 1
    pool.on_block([one])
    assert len(pool) == 1 and pool.has_ready and pool.get(one.hash) is None
    state.nonces[one.sender] = 5
    pool.on_block([one])
    assert len(pool) == 0 and not pool.has_ready


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"chainId": 1}, "chain id 1"),
        ({"gas": 10**9}, "exceeds the chain's"),
        ({"gas": 100}, "intrinsic gas too low"),
        ({"nonce": NONCE_WINDOW + 1}, "nonce too high"),
    ],
)
def test_refusals(pool, fields, text):
    with pytest.raises(InvalidTransaction, match=text):
        add(pool, signed(**fields))


def test_known_old_and_rival_transactions(pool, state):
    one = signed(nonce=0)
    add(pool, one)
    with pytest.raises(InvalidTransaction, match="already known"):
        add(pool, one)
    with pytest.raises(InvalidTransaction, match="no fees"):
        add(pool, signed(nonce=0, value=1))
    state.nonces[one.sender] = 1
    pool.on_block([one])
    with pytest.raises(InvalidTransaction, match="nonce too low"):
        add(pool, one)
    state.committed.add(one.hash)
    with pytest.raises(InvalidTransaction, match="in the chain"):
        add(pool, one)


def test_a_lower_limit_of_gas_drops_what_is_above_it(state):
    limit = 10**8
    pool = TxPool(
        kit.GENESIS, 10, lambda sender: 0, lambda tx_hash: False, get_gas_max=lambda: limit
    )
    modest, greedy, behind = signed(gas=10**5), signed(nonce=1, gas=10**7), signed(nonce=2)
    other = signed(OTHER, gas=10**7)
    add(pool, modest, greedy, behind, other)
    limit = 10**6
    pool.on_block([])
    assert pool.transactions() == [modest, behind] and pool.select(9, []) == [modest]
    with pytest.raises(InvalidTransaction, match="gas limit 10000000 exceeds the chain's 1000000"):
        add(pool, greedy)
    limit = 10**7
    pool.on_block([])
    add(pool, greedy)
    assert pool.select(9, []) == [modest, greedy, behind]


def test_a_transfer_without_money_is_refused_where_somebody_reads_why(state):
    """N-R14: it was accepted, and mined with status 0."""
    balances = {kit.ACCOUNT.address.lower(): 5}
    pool = TxPool(
        kit.GENESIS, 10, lambda sender: 0, state.committed.__contains__,
        lambda sender: balances.get("0x" + sender.hex(), 0),
    )  # fmt: skip
    with pytest.raises(InvalidTransaction, match=r"insufficient funds for gas \* price \+ value"):
        add(pool, signed(nonce=0, value=6))
    with pytest.raises(InvalidTransaction, match="have 0 want 1"):
        add(pool, signed(OTHER, nonce=0, value=1))
    add(pool, signed(nonce=0, value=5), signed(OTHER, nonce=0, value=0))
    pool.add(signed(nonce=1, value=6).raw, 0.0, is_local=False)  # a peer may know of a payment
    assert len(pool) == 3


def test_the_pool_is_bounded(pool):
    add(pool, *(signed(nonce=n) for n in range(10)))
    with pytest.raises(InvalidTransaction, match="the pool is full"):
        add(pool, signed(OTHER))


def test_expiry(pool):
    pool.add(signed(nonce=0).raw, 1.0, is_local=True)
    pool.add(signed(OTHER, nonce=0).raw, 5.0, is_local=True)
    (dropped,) = pool.expire(3.0)
    assert dropped.sender.hex() == ACCOUNT.address[2:].lower()
    assert len(pool) == 1 and pool.has_ready
    pool.expire(9.0)
    assert len(pool) == 0 and not pool.has_ready


def test_pool_and_blocks_are_bounded_in_bytes(pool, monkeypatch):
    monkeypatch.setattr("lowu.node.pool.txpool.BODY_BYTES_MAX", 2_500)
    monkeypatch.setattr("lowu.node.pool.txpool.POOL_BYTES_MAX", 4_000)
    large = [signed(nonce=n, data=b"x" * 1_000, gas=10**6) for n in range(4)]
    add(pool, *large[:3])
    assert pool.select(9, []) == large[:2]
    with pytest.raises(InvalidTransaction, match="the pool is full"):
        add(pool, large[3])
