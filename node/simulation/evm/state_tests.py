"""The official state tests (GeneralStateTests of ethereum/tests), run in both EVM engines.

They are an independent oracle: their authors share no code with either engine. A test has a
state, a transaction with choices of data, gas and value, and for each choice the root of the
state's trie and the hash of the logs that Cancun's rules give. Lowu takes no fees, keeps no
trie and has no blob transactions: fees are settled here, tries are built here, and tests that
cannot apply are excluded by name, with a reason.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lowu.node.chain.rlp_codec import encode_rlp
from lowu.node.chain.transaction import (
    INIT_CODE_BYTES_MAX,
    Transaction,
    compute_intrinsic_gas,
    decode_transaction,
)
from lowu.node.config import Engine
from lowu.node.crypto import keccak256
from lowu.node.errors import CallAborted, InvalidTransaction, NodeError
from lowu.node.execution.account_db import decode_account, encode_account, encode_slot
from lowu.node.execution.evm import BlockContext, Evm, Outcome
from lowu.node.execution.flat_state import TABLE_ACCOUNT, TABLE_CODE, TABLE_STORAGE, StateKey
from lowu.node.execution.machine import InterpretedComputation
from lowu.node.execution.precompiles.table import OFFICIAL_PRECOMPILES
from lowu.node.simulation.evm.state_trie import compute_trie_root

FORK = "Cancun"
INTERPRETED_GAS_MAX = 100_000
"""Most gas with which a transaction runs in the interpreter too: that takes 0.1 s."""
CPU_MAX_S = 4.0
"""CPU limit of a transaction in one engine: a few tests burn a billion gas in a loop."""
TICKS_A_LOOK = 64
EMPTY_CODE_HASH = keccak256(b"")
NO_LOGS = keccak256(b"\xc0")


class FormatError(NodeError):
    """A file is not a state test."""


@dataclass(slots=True)
class StateTestReport:
    """Results of tests. A name is file, test, and the choices of data, gas and value."""

    subtests: int = 0
    engine_differences: list[str] = field(default_factory=list)
    wrong_logs: list[str] = field(default_factory=list)
    wrong_roots: list[str] = field(default_factory=list)
    contained: list[str] = field(default_factory=list)
    """Tests on which an engine failed with anything but an error of the EVM."""
    excluded: list[tuple[str, str]] = field(default_factory=list)
    """Names and reasons."""
    not_interpreted: int = 0
    """Tests that used too much gas to run in the interpreter as well."""

    @property
    def findings(self) -> list[str]:
        """Failures, in words."""
        kinds = (
            ("the engines differ", self.engine_differences),
            ("wrong logs", self.wrong_logs),
            ("wrong root", self.wrong_roots),
            ("contained", self.contained),
        )
        return [f"{what}: {name}" for what, names in kinds for name in names]

    def add(self, other: StateTestReport) -> None:
        """Add the results of other tests."""
        self.subtests += other.subtests
        self.not_interpreted += other.not_interpreted
        self.engine_differences += other.engine_differences
        self.wrong_logs += other.wrong_logs
        self.wrong_roots += other.wrong_roots
        self.contained += other.contained
        self.excluded += other.excluded


class TestState:
    """The state before a test: a foreign one, as its author defined it."""

    def __init__(self, pre: Mapping[str, Any]) -> None:
        self.accounts: dict[bytes, tuple[int, int, bytes]] = {}
        self.slots: dict[bytes, dict[int, int]] = {}
        self.values: dict[StateKey, bytes] = {}
        for text, fields in pre.items():
            address, code = _data(text), _data(fields["code"])
            nonce, balance = _number(fields["nonce"]), _number(fields["balance"])
            self.accounts[address] = (nonce, balance, keccak256(code))
            self.values[TABLE_ACCOUNT, address] = encode_account(self.accounts[address])
            self.values[TABLE_CODE, keccak256(code)] = code
            slots = {_number(slot): _number(word) for slot, word in fields["storage"].items()}
            self.slots[address] = {slot: word for slot, word in slots.items() if word}
            for slot, word in self.slots[address].items():
                data = word.to_bytes((word.bit_length() + 7) // 8, "big")
                self.values[TABLE_STORAGE, encode_slot(address, slot)] = data

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return a value, or b""."""
        return self.values.get((table, key), b"")

    def has_storage(self, address: bytes) -> bool:
        """Whether an account has a slot that is not zero (EIP-7610)."""
        return bool(self.slots.get(address))

    def root_after(self, writes: Mapping[StateKey, bytes]) -> bytes:
        """Return the root of Ethereum's trie for this state after some writes."""
        changed: dict[bytes, dict[int, int]] = {}
        for (table, key), value in writes.items():
            if table == TABLE_STORAGE:
                address, slot = key[:20], int.from_bytes(key[20:], "big")
                slots = changed.setdefault(address, dict(self.slots.get(address, {})))
                slots[slot] = int.from_bytes(value, "big")
        found = dict(self.accounts)
        for (table, key), value in writes.items():
            if table == TABLE_ACCOUNT:
                found[key] = decode_account(value)
                if not value:
                    del found[key]
        leaves = {}
        for address, (nonce, balance, code_hash) in found.items():
            slots = changed.get(address, self.slots.get(address, {}))
            root = _storage_root(tuple(sorted(slots.items())))
            leaves[address] = encode_rlp([_uint(nonce), _uint(balance), root, code_hash])
        return compute_trie_root(leaves)


class CpuLimit:
    """A watch that stops a transaction that takes too long."""

    def __init__(self, cpu_max_s: float) -> None:
        self._cpu_max_s = cpu_max_s
        self._end_s = time.thread_time() + cpu_max_s
        self._ticks = 0

    def tick(self) -> None:
        """Raise `CallAborted` once the time is used up."""
        self._ticks += 1
        if self._ticks % TICKS_A_LOOK == 0 and time.thread_time() > self._end_s:
            raise CallAborted(f"takes more than {self._cpu_max_s:g} s of CPU")

    def expect_long(self) -> None:
        """Continue: a later tick stops the transaction."""


class Choice(NamedTuple):
    """One of a test's transactions with its expected result."""

    name: str
    raw: bytes
    is_refused: bool
    root: bytes
    logs: bytes


def run_file(path: Path, root: Path, cpu_max_s: float = CPU_MAX_S) -> StateTestReport:
    """Run all tests of a file, each for at most `cpu_max_s` in each engine.

    Raises:
        FormatError: it is not a file of state tests.
    """
    report = StateTestReport()
    usual = InterpretedComputation._precompiles  # noqa: SLF001
    InterpretedComputation._precompiles = OFFICIAL_PRECOMPILES  # noqa: SLF001
    try:
        tests = json.loads(path.read_text(encoding="utf-8"))
        for name, test in tests.items():
            if FORK not in test["post"]:
                continue
            _run_test(test, f"{path.relative_to(root)}::{name}", report, cpu_max_s)
    except (ValueError, KeyError, TypeError, AttributeError) as flaw:
        raise FormatError(f"{path}: not a file of state tests ({flaw!r})") from flaw
    finally:
        InterpretedComputation._precompiles = usual  # noqa: SLF001
    return report


def _run_test(
    test: Mapping[str, Any], name: str, report: StateTestReport, cpu_max_s: float
) -> None:
    state, context = TestState(test["pre"]), _context(test["env"])
    for choice in _choices(test["post"][FORK], name):
        report.subtests += 1
        try:
            transaction = decode_transaction(choice.raw)
        except InvalidTransaction as flaw:
            if choice.is_refused:
                continue
            reason = "blob transaction" if choice.raw[:1] == b"\x03" else f"not decoded: {flaw}"
            report.excluded.append((choice.name, reason))
            continue
        try:
            _run_choice(state, context, transaction, choice, report, cpu_max_s)
        except CallAborted as reason:
            report.excluded.append((choice.name, str(reason)))


def _choices(posts: list[Mapping[str, Any]], name: str) -> Iterator[Choice]:
    for post in posts:
        index = post["indexes"]
        which = f"{index['data']},{index['gas']},{index['value']}"
        yield Choice(
            f"{name}[{which}]",
            _data(post["txbytes"]),
            "expectException" in post,
            _data(post["hash"]),
            _data(post["logs"]),
        )


def _run_choice(
    state: TestState,
    context: BlockContext,
    transaction: Transaction,
    choice: Choice,
    report: StateTestReport,
    cpu_max_s: float,
) -> None:
    if _is_refused(state, context, transaction):
        logs, root = NO_LOGS, state.root_after({})
    else:
        evm, outcome = _execute(state, context, transaction, Engine.COMPILED, CpuLimit(cpu_max_s))
        writes = evm.writes()
        logs = keccak256(
            encode_rlp([[log.address, list(log.topics), log.data] for log in outcome.logs])
        )
        root = state.root_after(writes)
        if outcome.gas_used <= INTERPRETED_GAS_MAX:
            limit = CpuLimit(cpu_max_s)
            other, expected = _execute(state, context, transaction, Engine.INTERPRETED, limit)
            if (outcome, writes) != (expected, other.writes()):
                report.engine_differences.append(choice.name)
            evm.flaws += other.flaws
        else:
            report.not_interpreted += 1
        if evm.flaws:
            report.contained.append(f"{choice.name}: {evm.flaws[0]}")
    if logs != choice.logs:
        report.wrong_logs.append(choice.name)
    if root != choice.root:
        report.wrong_roots.append(choice.name)


def _is_refused(state: TestState, context: BlockContext, transaction: Transaction) -> bool:
    """Whether a chain with fees would refuse the transaction before it runs."""
    nonce, balance, code_hash = state.accounts.get(transaction.sender, (0, 0, EMPTY_CODE_HASH))
    cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
    return (
        transaction.nonce != nonce
        or code_hash != EMPTY_CODE_HASH  # EIP-3607
        or balance < cost
        or transaction.gas > context.gas_limit
        or transaction.gas < compute_intrinsic_gas(transaction)
        or transaction.max_fee_per_gas < context.base_fee
        or (not transaction.to and len(transaction.data) > INIT_CODE_BYTES_MAX)
    )


def _execute(
    state: TestState,
    context: BlockContext,
    transaction: Transaction,
    engine: Engine,
    limit: CpuLimit,
) -> tuple[Evm, Outcome]:
    """Run a transaction, with the fee taken before and settled after."""
    tip = min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - context.base_fee)
    price = context.base_fee + tip
    evm = Evm(state, replace(context, engine=engine, gas_price=price), limit)
    accounts, sender = evm.accounts, transaction.sender
    accounts.set_balance(sender, accounts.get_balance(sender) - transaction.gas * price)
    accounts.lock_changes()
    outcome = evm.execute(transaction)
    unused = transaction.gas - outcome.gas_used
    accounts.set_balance(sender, accounts.get_balance(sender) + unused * price)
    reward = accounts.get_balance(context.coinbase) + outcome.gas_used * tip
    accounts.set_balance(context.coinbase, reward)
    return evm, outcome


def _context(env: Mapping[str, Any]) -> BlockContext:
    difficulty = _number(env["currentDifficulty"])
    return BlockContext(
        number=_number(env["currentNumber"]),
        time_s=_number(env["currentTimestamp"]),
        gas_limit=_number(env["currentGasLimit"]),
        chain_id=1,
        block_hash=lambda number: keccak256(str(number).encode()),
        coinbase=_data(env["currentCoinbase"]),
        prev_randao=_number(env.get("currentRandom", hex(difficulty))).to_bytes(32, "big"),
        base_fee=_number(env.get("currentBaseFee", "0x0a")),
        excess_blob_gas=_number(env.get("currentExcessBlobGas", "0x0")),
    )


def _data(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _number(text: str) -> int:
    return int(text, 16) if text.startswith("0x") and len(text) > 2 else int(text or "0", 10)


def _uint(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@lru_cache(maxsize=4_096)
def _storage_root(slots: tuple[tuple[int, int], ...]) -> bytes:
    return compute_trie_root(
        {slot.to_bytes(32, "big"): encode_rlp(_uint(word)) for slot, word in slots if word}
    )
