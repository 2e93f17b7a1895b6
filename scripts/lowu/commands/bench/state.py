"""``lowu bench state``: the cost of registering and verifying, by the number of records."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from lowu.contracts.registry import HASH_REGISTRY_ADDRESS, encode_get_record
from lowu.measuring.bench_chain import BLOCK_SIZE, Chain, sign_blocks
from lowu.measuring.bench_network import plan_load, tell
from lowu.measuring.bench_report import BenchReport, ratios
from lowu.measuring.plots import Points
from lowu.node.chain.transaction import Transaction, build_unsigned, decode_transaction
from lowu.node.errors import NodeError
from lowu.node.execution.executor import call
from lowu.node.topology.plan import Plan
from lowu.output import Progress

READS = 500
VERIFIED = 3
LAST_BLOCKS = 20
PAIRS, PAIRS_WARM = 45, 5
"""Blocks that are added in turns to a long chain and a short one, and how many do not count."""
TOLD = 100_000
"""After how many records progress is told."""


@dataclass(slots=True)
class StateMeasurement:
    """Costs at one number of records, round by round."""

    register_us: list[float] = field(default_factory=list)
    """CPU µs per registration to run and store it, in the median of the last blocks."""
    verify_us: list[float] = field(default_factory=list)
    """CPU µs per verification."""
    disk_bytes: list[float] = field(default_factory=list)
    """Bytes on disk per record."""
    open_ms: list[float] = field(default_factory=list)
    """Wall time to open the ledger again."""
    growth: list[float] = field(default_factory=list)
    """CPU time of a registration, as a multiple of what it takes at the first number of records:
    blocks are added to both chains in turns, so that the machine is the same for both."""


def run_state(counts_text: str, rounds: int, plot: Path | None, *, is_json: bool) -> None:
    """In every round, fill a chain on disk and measure at each number of records."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    counts = parse_counts("--records", counts_text, BLOCK_SIZE)
    plan = plan_load(4)
    found: dict[int, StateMeasurement] = {count: StateMeasurement() for count in counts}
    for number in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="lowu-bench-"))
        try:
            _fill(found, plan, folder, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shown = ", ".join(f"{item.register_us[-1]:.0f}" for item in found.values())
        tell(progress, number, rounds, f"{shown} µs per registration")
    for count, item in found.items():
        report.add(f"register_us_{count}", item.register_us, 0)
        report.add(f"verify_us_{count}", item.verify_us, 0)
        report.add(f"disk_bytes_{count}", item.disk_bytes, 0)
        report.add(f"open_ms_{count}", item.open_ms, 0)
        if item.growth:
            report.add(f"register_growth_{count}", item.growth, 2)
    first, last = found[counts[0]], found[counts[-1]]
    report.add("verify_growth", ratios(last.verify_us, first.verify_us).values, 2)
    report.emit(
        f"CPU µs to run and store a registration and to verify one, bytes on disk per record, and "
        f"ms to open the ledger, by the number of records; median and range, rounds: {rounds}"
    )
    series: dict[str, Points] = {
        "registration": [(float(n), median(item.register_us)) for n, item in found.items()],
        "verification": [(float(n), median(item.verify_us)) for n, item in found.items()],
    }
    report.draw(series, "records", "µs of CPU")


def _fill(found: dict[int, StateMeasurement], plan: Plan, folder: Path, progress: Progress) -> None:
    chain, _ = _open(plan, folder, 0)
    costs_us: list[float] = []
    for count, item in found.items():
        try:
            while chain.records < count:
                costs_us.append(_add_block(plan, chain))
                if chain.records % TOLD == 0:
                    progress(f"{chain.records:,} records")
            item.register_us.append(median(costs_us[1:][-LAST_BLOCKS:] or costs_us))
            item.verify_us.append(median(_verify(chain) for _ in range(VERIFIED)))
            item.disk_bytes.append(_size(folder) / count)
        finally:
            chain.close()
        del chain
        chain, opened_ms = _open(plan, folder, count)
        item.open_ms.append(opened_ms)
        if count != next(iter(found)):
            item.growth.append(_compare(plan, chain, next(iter(found))))
    chain.close()


def _add_block(plan: Plan, chain: Chain) -> float:
    """Sign, run and store a block; return CPU µs per transaction without the signing."""
    (raws,) = sign_blocks(plan, BLOCK_SIZE, chain.records)
    return _append(chain, tuple(map(decode_transaction, raws)))


def _compare(plan: Plan, chain: Chain, records: int) -> float:
    """Add blocks to a chain and to a short one in turns; return the ratio of their costs."""
    folder = Path(tempfile.mkdtemp(prefix="lowu-bench-"))
    try:
        short, _ = _open(plan, folder, 0)
        try:
            while short.records < records:
                _add_block(plan, short)
            pairs = [(_add_block(plan, chain), _add_block(plan, short)) for _ in range(PAIRS)]
        finally:
            short.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return median(long_us / short_us for long_us, short_us in pairs[PAIRS_WARM:])


def _open(plan: Plan, folder: Path, records: int) -> tuple[Chain, float]:
    """Open a chain that has so many records; return the milliseconds as well."""
    gc.collect()  # views of the database keep it open
    started = time.perf_counter()
    chain = Chain(plan.genesis, folder)
    opened_ms = (time.perf_counter() - started) * 1e3
    chain.records = records
    return chain, opened_ms


def parse_counts(option: str, text: str, multiple_of: int) -> list[int]:
    """Return the numbers that an option lists, ascending; `UsageError` if they are none."""
    try:
        counts = sorted({int(item) for item in text.split(",")})
    except ValueError as error:
        raise click.UsageError(f"{option} {text}: expected numbers such as 1000,10000") from error
    if counts[0] < multiple_of or any(count % multiple_of for count in counts):
        raise click.UsageError(f"{option} {text}: each must be a multiple of {multiple_of}")
    return counts


def _append(chain: Chain, transactions: tuple[Transaction, ...]) -> float:
    """Run and store a block; return CPU µs per transaction."""
    proposed = chain.propose(transactions)
    started = time.process_time()
    chain.commit(chain.execute(proposed, transactions))
    return (time.process_time() - started) / len(transactions) * 1e6


def _verify(chain: Chain) -> float:
    """Read records spread over the chain; return CPU µs per verification."""
    step = max(1, chain.records // READS)
    started = time.process_time()
    for number in range(READS):
        anchor = (number * step % chain.records + 1).to_bytes(32, "big")
        outcome = call(
            chain.ledger.snapshot(),
            chain.context(),
            build_unsigned(bytes(20), HASH_REGISTRY_ADDRESS, encode_get_record(1, anchor)),
        )
        if not any(outcome.output):
            raise NodeError("a record is missing")
    return (time.process_time() - started) / READS * 1e6


def _size(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the storage engine may remove files at any time
            found += path.stat().st_size if path.is_file() else 0
    return found
