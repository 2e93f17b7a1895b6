"""The transaction pool: admitted transactions that are not in a committed block yet.

Bounded in number, with one transaction for each (sender, nonce). A transaction is "ready" if its
sender's nonces follow the committed state without a gap; only ready transactions are sealed, and
only they keep the consensus timer running. The ledger, never the pool, says that a transaction is
committed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from lowu.node.chain.transaction import Transaction, compute_intrinsic_gas, decode_transaction
from lowu.node.errors import InvalidTransaction
from lowu.node.genesis_config import GenesisConfig
from lowu.node.settings import BLOCK_GAS_MAX

NONCE_WINDOW = 5_000
"""Greatest distance of a transaction's nonce from the committed nonce."""

BODY_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of transactions in one block: they fit into frames with room to spare."""
POOL_BYTES_MAX = 256 * 1024 * 1024

ALREADY_KNOWN = -32000
POOL_FULL = -32005


class TxPool:
    """Transactions waiting to be ordered."""

    def __init__(
        self,
        genesis: GenesisConfig,
        limit: int,
        get_nonce: Callable[[bytes], int],
        is_committed: Callable[[bytes], bool],
        get_balance: Callable[[bytes], int] | None = None,
        has_vote: Callable[[bytes], bool] = lambda account: True,
        get_gas_max: Callable[[], int] | None = None,
    ) -> None:
        """Create a pool.

        Args:
            genesis: the chain's limits.
            limit: the most transactions that it holds.
            get_nonce: returns an account's nonce in the committed state.
            is_committed: whether a transaction, by hash, is in the chain.
            get_balance: returns an account's balance there; without it, balances are not looked at.
            has_vote: whether an account votes on proposals in the committed state.
            get_gas_max: returns the gas that a transaction of the next block may use; without
                it, what genesis says.
        """
        self._genesis = genesis
        self._limit = limit
        self._get_nonce = get_nonce
        self._is_committed = is_committed
        self._get_balance = get_balance
        self._has_vote = has_vote
        self._get_gas_max = get_gas_max or (lambda: genesis.tx_gas_limit)
        self._gas_max = self._get_gas_max()
        """As of the last block."""
        self._by_hash: OrderedDict[bytes, tuple[Transaction, float]] = OrderedDict()
        self._by_sender: dict[bytes, dict[int, Transaction]] = {}
        self._ready_senders: set[bytes] = set()
        self._size_bytes = 0
        self.on_added: Callable[[Transaction, bool], None] = lambda transaction, is_local: None

    def __len__(self) -> int:
        return len(self._by_hash)

    @property
    def has_ready(self) -> bool:
        """Whether any transaction can be sealed now."""
        return bool(self._ready_senders)

    def get(self, tx_hash: bytes) -> Transaction | None:
        """Return a pooled transaction."""
        found = self._by_hash.get(tx_hash)
        return found[0] if found is not None else None

    def transactions(self) -> list[Transaction]:
        """Return all transactions in order of arrival."""
        return [item for item, _ in self._by_hash.values()]

    def oldest(self, count: int, before_s: float) -> list[Transaction]:
        """Return the oldest transactions, at most `count`, that arrived before a time."""
        first = islice(self._by_hash.values(), count)
        return [item for item, arrived_s in first if arrived_s < before_s]

    def validate(self, raw: bytes) -> Transaction:
        """Decode a transaction and check all that does not depend on the pool or the state."""
        transaction = decode_transaction(raw)
        if transaction.chain_id != self._genesis.web3_chain_id:
            raise InvalidTransaction(
                f"transaction is for chain id {transaction.chain_id}, this chain is "
                f"{self._genesis.web3_chain_id}"
            )
        gas_max = self._get_gas_max()
        if transaction.gas > gas_max:
            raise InvalidTransaction(f"gas limit {transaction.gas} exceeds the chain's {gas_max}")
        intrinsic_gas = compute_intrinsic_gas(transaction)
        if transaction.gas < intrinsic_gas:
            raise InvalidTransaction(
                f"intrinsic gas too low: have {transaction.gas}, want {intrinsic_gas}",
                code=-32000,
            )
        return transaction

    def add(self, raw: bytes, now_s: float, *, is_local: bool) -> Transaction:
        """Admit a transaction, or raise `InvalidTransaction` with the reason."""
        transaction = self.validate(raw)
        nonce = self._check_place(transaction)
        if transaction.is_vote and not self._has_vote(transaction.sender):
            # It could only fail, but its block would hold up those above it (R-BAR-1).
            sender = "0x" + transaction.sender.hex()
            raise InvalidTransaction(f"{sender} has no vote: it lacks the role GOVERNOR")
        if is_local:
            self._check_funds(transaction)
        self._by_hash[transaction.hash] = (transaction, now_s)
        self._size_bytes += len(raw)
        self._by_sender.setdefault(transaction.sender, {})[transaction.nonce] = transaction
        self._note_sender(transaction.sender, nonce)
        self.on_added(transaction, is_local)
        return transaction

    def _check_place(self, transaction: Transaction) -> int:
        """Return the sender's committed nonce; `InvalidTransaction` if there is no place."""
        if transaction.hash in self._by_hash:
            raise InvalidTransaction("already known", code=ALREADY_KNOWN)
        nonce = self._get_nonce(transaction.sender)
        if transaction.nonce < nonce:
            if self._is_committed(transaction.hash):
                raise InvalidTransaction("already known: it is in the chain", code=ALREADY_KNOWN)
            raise InvalidTransaction(
                f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}", code=-32000
            )
        if transaction.nonce > nonce + NONCE_WINDOW:
            raise InvalidTransaction(
                f"nonce too high: next nonce {nonce}, tx nonce {transaction.nonce}", code=-32000
            )
        if transaction.nonce in self._by_sender.get(transaction.sender, {}):
            raise InvalidTransaction(
                f"another transaction with nonce {transaction.nonce} waits already, and there "
                "are no fees by which to replace it",
                code=-32000,
            )
        is_full = len(self._by_hash) >= self._limit
        if is_full or self._size_bytes + len(transaction.raw) > POOL_BYTES_MAX:
            raise InvalidTransaction(
                f"the pool is full ({len(self._by_hash)} transactions); try again later",
                code=POOL_FULL,
            )
        return nonce

    def _check_funds(self, transaction: Transaction) -> None:
        """Refuse a client's transfer of more than the sender has; there are no fees.

        Only here, where somebody reads the reason: a peer may know of a block that this node does
        not have yet, in which the sender was paid.
        """
        if not transaction.value or self._get_balance is None:
            return
        balance = self._get_balance(transaction.sender)
        if transaction.value > balance:
            raise InvalidTransaction(
                f"insufficient funds for gas * price + value: address "
                f"0x{transaction.sender.hex()} have {balance} want {transaction.value}",
                code=-32000,
            )

    def pending_nonce(self, sender: bytes) -> int:
        """Return the nonce after a sender's last ready transaction."""
        nonce = self._get_nonce(sender)
        waiting = self._by_sender.get(sender, {})
        while nonce in waiting:
            nonce += 1
        return nonce

    def select(self, limit: int, taken: Iterable[Transaction]) -> list[Transaction]:
        """Return ready transactions in order of arrival, following on those in `taken`."""
        return _fit(self._choose(limit, taken))

    def fills_block(self, limit: int, taken: Iterable[Transaction]) -> bool:
        """Whether the ready transactions fill a block, by number, bytes or gas.

        Transactions behind a gap in their sender's nonces are not ready; gossip may cause a gap
        for a moment.
        """
        if len(self._by_hash) < limit:
            return False
        chosen = self._choose(limit, taken)
        return len(chosen) >= limit or len(_fit(chosen)) < len(chosen)

    def _choose(self, limit: int, taken: Iterable[Transaction]) -> list[Transaction]:
        next_nonce: dict[bytes, int] = {}
        for transaction in taken:
            at_least = next_nonce.get(transaction.sender, 0)
            next_nonce[transaction.sender] = max(at_least, transaction.nonce + 1)
        chosen: list[Transaction] = []
        done: set[bytes] = set()
        for transaction, _ in self._by_hash.values():
            if len(chosen) >= limit or len(done) == len(self._by_sender):
                break
            if transaction.sender not in done:
                done.add(transaction.sender)
                chosen += self._run_of(transaction.sender, next_nonce, limit - len(chosen))
        return chosen

    def _run_of(self, sender: bytes, next_nonce: dict[bytes, int], limit: int) -> list[Transaction]:
        nonce = max(next_nonce.get(sender, 0), self._get_nonce(sender))
        waiting = self._by_sender[sender]
        found: list[Transaction] = []
        while nonce in waiting and len(found) < limit:
            found.append(waiting[nonce])
            nonce += 1
        return found

    def on_block(self, transactions: Iterable[Transaction]) -> None:
        """Remove transactions that a committed block includes or makes invalid."""
        gas_max = self._get_gas_max()
        if gas_max < self._gas_max:
            self._drop_above(gas_max)
        self._gas_max = gas_max
        for sender in {transaction.sender for transaction in transactions}:
            waiting = self._by_sender.get(sender)
            if waiting is None:
                continue
            nonce = self._get_nonce(sender)
            for old in [item for item in waiting if item < nonce]:
                self._drop(waiting.pop(old))
            self._note_sender(sender, nonce)

    def _drop_above(self, gas_max: int) -> None:
        """Remove transactions that may use more gas than the group now allows for one."""
        for transaction in [item for item in self.transactions() if item.gas > gas_max]:
            self._drop(transaction)
            del self._by_sender[transaction.sender][transaction.nonce]
            self._note_sender(transaction.sender, self._get_nonce(transaction.sender))

    def expire(self, before_s: float) -> list[Transaction]:
        """Drop transactions that arrived before a time; return them."""
        dropped = []
        while self._by_hash:
            transaction, arrived_s = next(iter(self._by_hash.values()))
            if arrived_s >= before_s:
                break
            self._drop(transaction)
            del self._by_sender[transaction.sender][transaction.nonce]
            self._note_sender(transaction.sender, self._get_nonce(transaction.sender))
            dropped.append(transaction)
        return dropped

    def _drop(self, transaction: Transaction) -> None:
        if self._by_hash.pop(transaction.hash, None) is not None:
            self._size_bytes -= len(transaction.raw)

    def _note_sender(self, sender: bytes, nonce: int) -> None:
        waiting = self._by_sender.get(sender)
        if waiting and nonce in waiting:
            self._ready_senders.add(sender)
        else:
            self._ready_senders.discard(sender)
            if not waiting:
                self._by_sender.pop(sender, None)


def _fit(chosen: list[Transaction]) -> list[Transaction]:
    """Return the first transactions that fit into one block's bytes and gas."""
    size_bytes = gas = 0
    for count, transaction in enumerate(chosen):
        size_bytes += len(transaction.raw)
        gas += transaction.gas
        if size_bytes > BODY_BYTES_MAX or gas > BLOCK_GAS_MAX:
            return chosen[:count]
    return chosen
