"""``lowu bench path``: the CPU time of each step of a replica for a registration.

The steps run in turn in one process, without the rest of a node, for a registration that came by
gossip. On a running network they cost more (two threads, other processes, cold caches), and HTTP,
TLS, consensus and the event loop come on top; `bench scale` measures those.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TypeVar

from lowu.measuring.bench_chain import BLOCK_SIZE, Chain, sign_blocks
from lowu.measuring.bench_network import plan_load, tell
from lowu.measuring.bench_report import BenchReport
from lowu.node.chain.transaction import Transaction, decode_transaction
from lowu.node.crypto import keccak256, recover_public_key, sign
from lowu.node.execution.account_db import decode_account
from lowu.node.execution.evm import Evm
from lowu.node.execution.executor import execute_transactions
from lowu.node.execution.flat_state import TABLE_ACCOUNT
from lowu.node.genesis_config import GenesisConfig
from lowu.node.pool.txpool import TxPool
from lowu.output import Progress

POOL_SIZE = 10 * BLOCK_SIZE
WARM_BLOCKS = 3
"""Blocks not counted: contracts are compiled and their branches joined while these run."""
STEPS = ("decode", "admit", "propose", "save", "contracts", "results", "commit", "forget")
TOGETHER, RECOVERY = "together", "recover"
"""Recovery of signers, the only work that cannot be avoided, is part of `decode`."""

T = TypeVar("T")


class _Path:
    """The steps on one chain, and the CPU time of each, block by block."""

    def __init__(self, genesis: GenesisConfig, folder: Path) -> None:
        self._chain = Chain(genesis, folder)
        self._pool = TxPool(
            genesis,
            POOL_SIZE,
            lambda sender: decode_account(self._chain.ledger.get(TABLE_ACCOUNT, sender))[0],
            lambda tx_hash: self._chain.ledger.find_transaction(tx_hash) is not None,
        )
        self.spent_us: dict[str, list[float]] = {step: [] for step in (*STEPS, RECOVERY)}

    def close(self) -> None:
        """Close the chain."""
        self._chain.close()

    def _time(self, step: str, work: Callable[[], T]) -> T:
        started = time.process_time()
        result = work()
        spent_s = time.process_time() - started
        self.spent_us[step].append(spent_s / BLOCK_SIZE * 1e6)
        return result

    def append(self, raws: list[bytes]) -> None:
        """Process a block's registrations, from raw bytes to the disk."""
        chain, pool = self._chain, self._pool
        self._time(RECOVERY, partial(_recover, raws))
        transactions = self._time("decode", lambda: list(map(decode_transaction, raws)))
        # Decoding is cached, so this times the rest of admission.
        self._time("admit", lambda: [pool.add(raw, 0.0, is_local=False) for raw in raws])
        block = self._time("propose", lambda: chain.propose(transactions))
        height, digest = block.proposal.height, block.digest
        bodies = (item.raw for item in transactions)
        self._time("save", lambda: chain.ledger.save_proposal(height, digest, bodies))
        state = chain.ledger.parent().state
        self._time("contracts", lambda: _run(Evm(state, block.context), transactions))
        executed = self._time("results", lambda: chain.execute(block, transactions))
        self.spent_us["results"][-1] -= self.spent_us["contracts"][-1]
        self._time("commit", lambda: chain.commit(executed))
        self._time("forget", lambda: pool.on_block(transactions))


def _run(evm: Evm, transactions: list[Transaction]) -> None:
    execute_transactions(evm, transactions)


def _recover(raws: list[bytes]) -> None:
    """Recover as many signers as there are transactions."""
    digest = keccak256(raws[0])
    signature = sign(digest, digest)
    for _ in raws:
        recover_public_key(digest, signature)


def run_path(blocks: int, rounds: int, *, is_json: bool) -> None:
    """Measure each step on one chain, `blocks` blocks in each round, and print."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=None)
    plan = plan_load(4)
    work = iter(sign_blocks(plan, (WARM_BLOCKS + rounds * blocks) * BLOCK_SIZE))
    progress("registrations signed")
    folder = Path(tempfile.mkdtemp(prefix="lowu-bench-"))
    try:
        path = _Path(plan.genesis, folder)
        try:
            found = _measure(path, work, blocks, rounds, progress)
        finally:
            path.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for step, costs in found.items():
        report.add(f"{step}_us", costs)
    report.emit(
        f"CPU µs per registration by step, {rounds} rounds of {blocks} blocks of {BLOCK_SIZE}; "
        "recover is part of decode"
    )


def _measure(
    path: _Path, work: Iterator[list[bytes]], blocks: int, rounds: int, progress: Progress
) -> dict[str, list[float]]:
    """Return, by step, the CPU µs per registration of each round's median block."""
    found: dict[str, list[float]] = {step: [] for step in (*STEPS, TOGETHER, RECOVERY)}
    for raws in islice(work, WARM_BLOCKS):
        path.append(raws)
    for number in range(rounds):
        for raws in islice(work, blocks):
            path.append(raws)
        for step, costs in path.spent_us.items():
            found[step].append(median(costs[-blocks:]))
        found[TOGETHER].append(sum(found[step][-1] for step in STEPS))
        tell(progress, number, rounds, f"{found[TOGETHER][-1]:.0f} µs per registration")
    return found
