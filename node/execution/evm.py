"""py-evm bound to the flat state, without fees.

Cancun rules, but for these differences of a permissioned chain: there are no fees; GASPRICE,
COINBASE, BASEFEE and PREVRANDAO are zero; there are no blob transactions. EVM time is in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

from eth._utils.address import generate_contract_address
from eth.exceptions import (
    ContractCreationCollision,
    InsufficientFunds,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
    StackDepthLimit,
    VMError,
)
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.message import Message

from lowu.node.chain.receipt import Log, ReceiptStatus
from lowu.node.chain.transaction import (
    Transaction,
    compute_init_code_gas,
    compute_intrinsic_gas,
)
from lowu.node.config import Engine
from lowu.node.errors import EngineMismatch, NodeError
from lowu.node.execution.account_db import FlatAccountDB
from lowu.node.execution.compiler.engine import CompiledComputation, WatchedCompiledComputation
from lowu.node.execution.compiler.frames import build_message, run_frame
from lowu.node.execution.flat_state import StateKey, StateReader
from lowu.node.execution.machine import InterpretedComputation, Watch, WatchedComputation

REFUND_QUOTIENT_MAX = 5
"""EIP-3529: at most a fifth of the gas used is refunded."""
ZERO_ADDRESS = bytes(20)
FAULTS_OF_THE_MACHINE = (NodeError, OSError, MemoryError)
"""Errors that do not follow from the transaction: another node, or another try, may not have
them."""
BLOCK_HASHES_MAX = 256

log = logging.getLogger("EXECUTOR")

_STATUS_BY_ERROR: tuple[tuple[type[VMError], ReceiptStatus], ...] = (
    (Revert, ReceiptStatus.REVERT),
    (OutOfGas, ReceiptStatus.OUT_OF_GAS),
    (InvalidInstruction, ReceiptStatus.BAD_INSTRUCTION),
    (InvalidJumpDestination, ReceiptStatus.BAD_JUMP_DESTINATION),
    (InsufficientStack, ReceiptStatus.STACK_UNDERFLOW),
    (StackDepthLimit, ReceiptStatus.OUT_OF_STACK),
    (InsufficientFunds, ReceiptStatus.NOT_ENOUGH_CASH),
    (ContractCreationCollision, ReceiptStatus.CONTRACT_ADDRESS_ALREADY_USED),
)


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What the EVM can see of its block, and the engine that runs it."""

    number: int
    time_s: int
    gas_limit: int
    """Of the block: the value of GASLIMIT."""
    chain_id: int
    block_hash: Callable[[int], bytes | None]
    """Hash of an earlier block by number, for BLOCKHASH."""
    engine: Engine = Engine.COMPILED
    tx_gas_limit: int | None = None
    """Of a transaction; None if it may use the whole block's gas."""
    # Always zero on a Lowu chain; the official state tests have other values.
    coinbase: bytes = ZERO_ADDRESS
    prev_randao: bytes = bytes(32)
    base_fee: int = 0
    excess_blob_gas: int = 0
    gas_price: int = 0


class Outcome(NamedTuple):
    """Result of a message: a transaction, a call, or a deployment."""

    status: ReceiptStatus
    gas_used: int
    output: bytes
    logs: tuple[Log, ...]
    contract_address: bytes


class _FlatCancunState(CancunState):  # type: ignore[misc]
    """Cancun over the flat account database."""

    account_db_class = FlatAccountDB
    computation_class = InterpretedComputation

    block_hash: Callable[[int], bytes | None]

    def set_system_contracts(self) -> None:
        """Deploy nothing: there is no beacon chain below this ledger."""

    def get_ancestor_hash(self, block_number: int) -> bytes:
        """Return the hash of one of the last blocks, b"" for any other number."""
        if not 0 < self.block_number - block_number <= BLOCK_HASHES_MAX:
            return b""
        return self.block_hash(block_number) or b""

    # Transient storage is journaled with everything else, so a checkpoint is one number.

    def snapshot(self) -> Any:
        return b"", self._account_db.record()

    def revert(self, snapshot: Any) -> None:
        self._account_db.discard(snapshot[1])

    def commit(self, snapshot: Any) -> None:
        pass

    def get_transient_storage(self, address: bytes, slot: int) -> bytes:
        found: bytes = self._account_db.get_transient(address, slot)
        return found

    def set_transient_storage(self, address: bytes, slot: int, value: bytes) -> None:
        self._account_db.set_transient(address, slot, value)


class _Context(CancunTransactionContext):  # type: ignore[misc]
    """Context shared by the frames of a transaction; does not validate the origin's address."""

    def __init__(self, origin: bytes, gas_price: int, watch: Watch | None) -> None:
        self.watch = watch
        self._gas_price, self._origin, self._log_counter = gas_price, origin, count()
        self._blob_versioned_hashes: list[bytes] = []
        self._authorization_list: list[Any] = []


class _CompiledCancunState(_FlatCancunState):
    """The same, with contracts compiled to Python."""

    computation_class = CompiledComputation


class _WatchedState(_FlatCancunState):
    """The interpreter's state for clients' calls."""

    computation_class = WatchedComputation


class _WatchedCompiledState(_FlatCancunState):
    """The compiled engine's state for clients' calls."""

    computation_class = WatchedCompiledComputation


_STATES = {
    # by engine, and whether execution is watched
    (Engine.COMPILED, False): _CompiledCancunState,
    (Engine.COMPILED, True): _WatchedCompiledState,
    (Engine.INTERPRETED, False): _FlatCancunState,
    (Engine.INTERPRETED, True): _WatchedState,
}


class Evm:
    """The EVM over one block: executes transactions in order and collects their writes.

    Every transaction has a result (ADR 16). If an engine raises anything but an EVM error, the
    transaction is undone and runs again in py-evm's interpreter; if that fails too, the
    transaction has failed and its gas is used up.
    """

    def __init__(self, state: StateReader, block: BlockContext, watch: Watch | None = None) -> None:
        self._block = block
        self._watch = watch
        self._other: Evm | None = None
        if block.engine is Engine.BOTH:
            self._other = Evm(state, replace(block, engine=Engine.INTERPRETED), watch)
        self.flaws: list[str] = []
        """Errors of the engines, which no outcome shows."""
        engine = Engine.INTERPRETED if block.engine is Engine.INTERPRETED else Engine.COMPILED
        self._state: Any = self._build_state(engine, state)
        self._accounts: FlatAccountDB = self._state._account_db

    def _build_state(self, engine: Engine, state: StateReader | None) -> Any:
        block = self._block
        context = ExecutionContext(
            coinbase=block.coinbase,
            timestamp=block.time_s,
            block_number=block.number,
            difficulty=0,
            mix_hash=block.prev_randao,
            gas_limit=block.gas_limit,
            prev_hashes=(),
            chain_id=block.chain_id,
            base_fee_per_gas=block.base_fee,
            excess_blob_gas=block.excess_blob_gas,
        )
        state_class: Any = _STATES[engine, self._watch is not None]
        built = state_class(state, context, bytes(32))
        built.block_hash = block.block_hash
        return built

    @property
    def accounts(self) -> FlatAccountDB:
        """The accounts at this point of the block."""
        return self._accounts

    def get_nonce(self, address: bytes) -> int:
        """Return an account's nonce at this point of the block."""
        return self._accounts.get_nonce(address)

    def writes(self) -> dict[StateKey, bytes]:
        """Return all writes so far."""
        writes = self._accounts.writes()
        if self._other is not None:
            _compare("the writes", writes, self._other.writes())
        return writes

    def execute(self, transaction: Transaction) -> Outcome:
        """Run a transaction. A failed one still uses its nonce and its gas.

        Raises:
            EngineMismatch: two engines run the transaction, and their results differ.
        """

        def describe() -> str:
            return f"transaction 0x{transaction.hash.hex()}"

        outcome = self._contain(
            describe, transaction.sender, transaction.gas, lambda: self._execute(transaction)
        )
        if self._other is not None:
            _compare(describe(), outcome, self._other.execute(transaction))
        return outcome

    def _execute(self, transaction: Transaction) -> Outcome:
        intrinsic_gas = compute_intrinsic_gas(transaction)
        gas_max = self._block.tx_gas_limit or self._block.gas_limit
        if transaction.gas > gas_max or transaction.gas < intrinsic_gas:
            self._accounts.increment_nonce(transaction.sender)
            self._accounts.lock_changes()
            return Outcome(ReceiptStatus.OUT_OF_GAS_LIMIT, transaction.gas, b"", (), b"")
        self._warm_up(transaction)
        return self._run(
            sender=transaction.sender,
            to=transaction.to,
            value=transaction.value,
            data=transaction.data,
            gas=transaction.gas,
            # py-evm itself charges for the size of creation code, in the message.
            intrinsic_gas=intrinsic_gas - compute_init_code_gas(transaction),
        )

    def call(self, sender: bytes, to: bytes, value: int, data: bytes, gas: int) -> Outcome:
        """Run a message as a transaction of `sender` would, with `gas` for its code."""

        def run() -> Outcome:
            return self._run(sender=sender, to=to, value=value, data=data, gas=gas, intrinsic_gas=0)

        def describe() -> str:
            return f"a call to 0x{to.hex()} with 0x{data[:1_000].hex()}"

        outcome = self._contain(describe, sender, gas, run)
        if self._other is not None:
            _compare(describe(), outcome, self._other.call(sender, to, value, data, gas))
        return outcome

    def create_at(self, sender: bytes, address: bytes, init_code: bytes, gas: int) -> Outcome:
        """Run creation code for a contract at a chosen address (genesis only)."""
        outcome = self._create_at(sender, address, init_code, gas)
        if self._other is not None:
            other = self._other.create_at(sender, address, init_code, gas)
            _compare(f"the creation of 0x{address.hex()}", outcome, other)
        return outcome

    def _contain(
        self, describe: Callable[[], str], sender: bytes, gas: int, run: Callable[[], Outcome]
    ) -> Outcome:
        try:
            return run()
        except FAULTS_OF_THE_MACHINE:
            raise
        except Exception as flaw:  # noqa: BLE001  (an engine's failure is a result)
            self._report(describe(), flaw)
        self._accounts.undo_transaction()
        if self._block.engine is not Engine.INTERPRETED:
            usual, self._state = self._state, self._build_state(Engine.INTERPRETED, None)
            self._state._account_db = self._accounts
            try:
                return run()
            except FAULTS_OF_THE_MACHINE:
                raise
            except Exception as flaw:  # noqa: BLE001
                self._report(describe(), flaw)
            finally:
                self._state = usual
            self._accounts.undo_transaction()
        self._accounts.increment_nonce(sender)
        self._accounts.lock_changes()
        return Outcome(ReceiptStatus.UNKNOWN, gas, b"", (), b"")

    def _report(self, what: str, flaw: Exception) -> None:
        if self._other is not None:
            raise EngineMismatch(f"the compiled EVM fails on {what}: {flaw!r}") from flaw
        self.flaws.append(f"{what}: {flaw!r}")
        log.error("an engine failed on %s; please report it", what, exc_info=flaw)

    def _create_at(self, sender: bytes, address: bytes, init_code: bytes, gas: int) -> Outcome:
        self._accounts.mark_address_warm(self._block.coinbase)
        message = Message(
            gas=gas,
            to=b"",
            sender=sender,
            value=0,
            data=b"",
            code=init_code,
            create_address=address,
        )
        outcome = self._finish(self._compute(message, sender), gas, address)
        self._accounts.lock_changes()
        return outcome

    def _warm_up(self, transaction: Transaction) -> None:
        for address, slots in transaction.access_list:
            self._accounts.mark_address_warm(address)
            for slot in slots:
                self._accounts.mark_storage_warm(address, slot)

    def _run(
        self, *, sender: bytes, to: bytes, value: int, data: bytes, gas: int, intrinsic_gas: int
    ) -> Outcome:
        accounts = self._accounts
        accounts.mark_address_warm(sender)
        nonce = accounts.get_nonce(sender)
        created = b"" if to else generate_contract_address(sender, nonce)
        accounts.mark_address_warm(to or created)
        accounts.mark_address_warm(self._block.coinbase)  # EIP-3651
        accounts.increment_nonce(sender)
        if accounts.get_balance(sender) < value:
            accounts.lock_changes()
            return Outcome(ReceiptStatus.NOT_ENOUGH_CASH, intrinsic_gas, b"", (), b"")
        message = build_message(
            gas - intrinsic_gas,
            to,
            sender,
            value,
            data if to else b"",
            accounts.get_code(to) if to else data,
        )
        message.storage_address = created or None
        computation = self._compute(message, sender)
        outcome = self._finish(computation, gas, created)
        accounts.lock_changes()
        return outcome

    def _compute(self, message: Message, origin: bytes) -> Any:
        context = _Context(origin, self._block.gas_price, self._watch)
        machine: Any = self._state.computation_class
        if message.is_create:
            if self._accounts.account_has_code_or_nonce(message.storage_address):
                computation = self._state.get_computation(message, context)
                computation.error = ContractCreationCollision("address is taken")
                computation.consume_gas(message.gas, reason="contract address is taken")
                return computation
            return machine.apply_create_message(self._state, message, context)
        is_plain = not message.value and message.to not in machine._precompiles
        if machine.is_compiled and is_plain:
            frame = machine(self._state, message, context)
            frame.contracts_created = []
            run_frame(frame, self._accounts)
            return frame
        return machine.apply_message(self._state, message, context)

    def _finish(self, computation: Any, gas: int, created: bytes) -> Outcome:
        error = computation._error
        refund, entries = 0, []
        if error is None:  # the outermost frame has absorbed what its callees left
            gas_used = gas - computation._gas_meter.gas_remaining
            refund, entries = computation._gas_meter.gas_refunded, sorted(computation._log_entries)
            for address in (*computation.accounts_to_delete, *computation.destroyed):
                self._accounts.delete_account(address)
        else:
            # An exceptional halt burns all gas left, as does a creation whose code is refused.
            gas_used = gas - computation.get_gas_remaining()
            error.__traceback__ = error.__context__ = None  # they keep the frame in a cycle
        logs = tuple(
            Log(address, tuple([topic.to_bytes(32, "big") for topic in topics]), data)
            for _, address, topics, data in entries
        )
        return Outcome(
            status=_status_of(error),
            gas_used=gas_used - min(refund, gas_used // REFUND_QUOTIENT_MAX),
            output=computation.output,
            logs=logs,
            contract_address=b"" if error is not None else created,
        )


def _compare(what: str, compiled: object, interpreted: object) -> None:
    if compiled != interpreted:
        raise EngineMismatch(
            f"the compiled EVM differs from py-evm on {what}: {compiled} instead of "
            f"{interpreted}. Please report it; until then set [executor] evm=interpreted."
        )


def _status_of(error: VMError | None) -> ReceiptStatus:
    if error is None:
        return ReceiptStatus.SUCCESS
    for kind, status in _STATUS_BY_ERROR:
        if isinstance(error, kind):
            return status
    return ReceiptStatus.UNKNOWN
