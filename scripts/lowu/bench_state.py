"""``lowu bench state``: what a registration and a verification cost once many records are there."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from consensus.codec import compute_digest
from consensus.messages import CommitCertificate, Proposal
from consensus.types import Domain
from contracts.registry import HASH_REGISTRY_ADDRESS, encode_get_record
from experiments.load import sign_registrations
from lowu.bench_network import plan_load, tell
from lowu.bench_report import Report, ratios
from lowu.output import Progress
from lowu.plots import Points
from node.chain.merkle import compute_root
from node.chain.transaction import Transaction, decode_transaction
from node.config import GenesisConfig
from node.errors import NodeError
from node.execution.evm import BlockContext
from node.execution.executor import call, execute_block
from node.execution.genesis import build_genesis
from node.ledger.ledger import Ledger
from node.ledger.rocks import RocksStorage
from node.topology.plan import Plan

BLOCK_SIZE = 200
READS = 500
VERIFIED = 3
LAST_BLOCKS = 20


@dataclass(slots=True)
class Measured:
    """What a registration and a verification take once so many records are there, by round."""

    register_us: list[float] = field(default_factory=list)
    """CPU of running and storing, a registration, in the median of the last blocks."""
    verify_us: list[float] = field(default_factory=list)
    """CPU of a verification."""
    disk_bytes: list[float] = field(default_factory=list)
    """On disk, a record."""


def run_state(counts_text: str, rounds: int, plot: Path | None, *, is_json: bool) -> None:
    """Fill a chain on disk, and measure on the way; again for every round."""
    progress = Progress(is_silent=is_json)
    report = Report(is_json=is_json, plot=plot)
    counts = _parse_counts(counts_text)
    plan = plan_load(4)
    found: dict[int, Measured] = {count: Measured() for count in counts}
    blocks = _sign_blocks(plan, counts[-1])
    progress(f"{counts[-1]} registrations signed")
    for number in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="lowu-bench-"))
        try:
            _fill(found, _Chain(plan.genesis, folder), blocks, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shown = ", ".join(f"{item.register_us[-1]:.0f}" for item in found.values())
        tell(progress, number, rounds, f"{shown} µs a registration")
    for count, item in found.items():
        report.add(f"register_us_{count}", item.register_us, 0)
        report.add(f"verify_us_{count}", item.verify_us, 0)
        report.add(f"disk_bytes_{count}", item.disk_bytes, 0)
    first, last = found[counts[0]], found[counts[-1]]
    report.add("register_growth", ratios(last.register_us, first.register_us).values, 2)
    report.add("verify_growth", ratios(last.verify_us, first.verify_us).values, 2)
    report.emit(
        f"CPU µs of running and storing a registration, of a verification, and bytes on disk a "
        f"record, against the number of records; median and range of {rounds}"
    )
    series: dict[str, Points] = {
        "registration": [(float(n), median(item.register_us)) for n, item in found.items()],
        "verification": [(float(n), median(item.verify_us)) for n, item in found.items()],
    }
    report.draw(series, "records", "µs of CPU")


def _fill(
    found: dict[int, Measured],
    chain: _Chain,
    blocks: Sequence[tuple[Transaction, ...]],
    folder: Path,
) -> None:
    try:
        costs_us: list[float] = []
        for count, item in found.items():
            while chain.records < count:
                costs_us.append(chain.append(blocks[chain.records // BLOCK_SIZE]))
            item.register_us.append(median(costs_us[1:][-LAST_BLOCKS:] or costs_us))
            item.verify_us.append(median(chain.verify() for _ in range(VERIFIED)))
            item.disk_bytes.append(_size(folder) / count)
    finally:
        chain.close()


def _parse_counts(text: str) -> list[int]:
    try:
        counts = sorted({int(item) for item in text.split(",")})
    except ValueError as error:
        raise click.UsageError(f"--records {text}: expected numbers such as 1000,10000") from error
    if counts[0] < BLOCK_SIZE or any(count % BLOCK_SIZE for count in counts):
        raise click.UsageError(f"--records {text}: each must be a multiple of {BLOCK_SIZE}")
    return counts


def _sign_blocks(plan: Plan, count: int) -> list[tuple[Transaction, ...]]:
    """Return blocks of registrations of one institution."""
    issuer = plan.institutions[0]
    chain_id = plan.genesis.web3_chain_id
    raws = sign_registrations(issuer.account_key, chain_id, count).raws
    found = [decode_transaction(bytes.fromhex(raw[2:])) for raw in raws]
    return [tuple(found[start : start + BLOCK_SIZE]) for start in range(0, count, BLOCK_SIZE)]


class _Chain:
    """A chain of one process: blocks are run and stored as in a node, and decided by nobody."""

    def __init__(self, genesis: GenesisConfig, folder: Path) -> None:
        self._genesis = genesis
        self._ledger = Ledger(RocksStorage(folder), build_genesis(genesis))
        self._domain = Domain(genesis.chain_id, genesis.group_id)
        self.records = 0

    def close(self) -> None:
        """Close the disk."""
        self._ledger.close()

    def _context(self) -> BlockContext:
        head = self._ledger.header(self._ledger.head.number)
        return BlockContext(
            head.number + 1,
            head.timestamp_ms // 1000 + 1,
            self._genesis.tx_gas_limit,
            self._genesis.web3_chain_id,
            lambda number: None,
        )

    def append(self, transactions: tuple[Transaction, ...]) -> float:
        """Run and store a block; return CPU µs a transaction."""
        head = self._ledger.header(self._ledger.head.number)
        root = compute_root([item.hash for item in transactions])
        context = self._context()
        proposal = Proposal(
            context.number, head.proposal_digest, root, context.time_s * 1000, 0, False
        )
        digest = compute_digest(self._domain, proposal)
        validators = self._genesis.validators
        started = time.process_time()
        executed = execute_block(
            self._ledger.parent(), proposal, digest, transactions, validators, context
        )
        certificate = CommitCertificate(proposal.height, digest, executed.header.hash, ())
        self._ledger.commit(executed, certificate)
        spent_s = time.process_time() - started
        if not all(receipt.is_success for receipt in executed.receipts):
            raise NodeError("a registration failed")
        self.records += len(transactions)
        return spent_s / len(transactions) * 1e6

    def verify(self) -> float:
        """Read records all over the chain; return CPU µs a verification."""
        step = max(1, self.records // READS)
        started = time.process_time()
        for number in range(READS):
            anchor = (number * step % self.records + 1).to_bytes(32, "big")
            outcome = call(
                self._ledger.snapshot(),
                self._context(),
                sender=bytes(20),
                to=HASH_REGISTRY_ADDRESS,
                data=encode_get_record(1, anchor),
            )
            if not any(outcome.output):
                raise NodeError("a record is missing")
        return (time.process_time() - started) / READS * 1e6


def _size(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the engine removes files when it likes
            found += path.stat().st_size if path.is_file() else 0
    return found
