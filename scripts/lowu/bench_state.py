"""``lowu bench state`` and ``sync``: what a long chain costs, and how fast a node catches up."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import trio

from consensus.codec import compute_digest
from consensus.messages import CommitCertificate, Proposal
from consensus.types import Domain
from contracts.registry import HASH_REGISTRY_ADDRESS, encode_get_record
from experiments.load import build_network, offer, sign_registrations
from lowu.bench import Spread, describe_machine, print_machine
from lowu.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.cli import emit_json
from lowu.output import Progress, print_table
from lowu.plots import check_plot, draw_lines
from node.chain.merkle import compute_root
from node.chain.transaction import Transaction, decode_transaction
from node.client import ClientError, RpcClient
from node.config import GenesisConfig
from node.errors import NodeError
from node.execution.evm import BlockContext
from node.execution.executor import call, execute_block
from node.execution.genesis import build_genesis
from node.ledger.ledger import Ledger
from node.ledger.rocks import RocksStorage
from node.topology.control import Control
from node.topology.plan import Plan

BLOCK_SIZE = 200
READS = 500
SYNC_S = 300.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """What a registration and a verification take once so many records are there."""

    records: int
    register_us: float
    """CPU of running and storing, a registration, over the last blocks."""
    verify_us: float
    disk_bytes: int
    """On disk, a record."""


def run_state(counts_text: str, plot: Path | None, *, is_json: bool) -> None:
    """Fill a chain on disk, and measure on the way."""
    progress = Progress(is_silent=is_json)
    check_plot(plot)
    counts = _parse_counts(counts_text)
    plan = plan_load(4)
    folder = Path(tempfile.mkdtemp(prefix="lowu-bench-"))
    found: list[Measured] = []
    try:
        chain = _Chain(plan.genesis, folder)
        blocks = _sign_blocks(plan, counts[-1])
        for count in counts:
            missing = (count - chain.records) // BLOCK_SIZE
            costs_us = [chain.append(next(blocks)) for _ in range(missing)]
            last = sorted(costs_us[-20:])
            found.append(
                Measured(count, last[len(last) // 2], chain.verify(), _size(folder) // count)
            )
            progress(f"{count} records: {found[-1].register_us:.0f} µs a registration")
        chain.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _report_state(found, is_json=is_json)
    if plot is not None:
        series = {
            "registration": [(float(item.records), item.register_us) for item in found],
            "verification": [(float(item.records), item.verify_us) for item in found],
        }
        draw_lines(plot, series, "records", "µs of CPU")


def _parse_counts(text: str) -> list[int]:
    try:
        counts = sorted({int(item) for item in text.split(",")})
    except ValueError as error:
        raise click.UsageError(f"--records {text}: expected numbers such as 1000,10000") from error
    if counts[0] < BLOCK_SIZE or any(count % BLOCK_SIZE for count in counts):
        raise click.UsageError(f"--records {text}: each must be a multiple of {BLOCK_SIZE}")
    return counts


def _sign_blocks(plan: Plan, count: int) -> Iterator[tuple[Transaction, ...]]:
    """Yield blocks of registrations of one institution, signed as they are needed."""
    issuer = plan.institutions[0]
    chain_id = plan.genesis.web3_chain_id
    for start in range(0, count, BLOCK_SIZE):
        signed = sign_registrations(issuer.account_key, chain_id, BLOCK_SIZE, start)
        yield tuple(decode_transaction(bytes.fromhex(raw[2:])) for raw in signed.raws)


class _Chain:
    """A chain of one process: blocks are run and stored as a node does, and decided by nobody."""

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
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _report_state(found: Sequence[Measured], *, is_json: bool) -> None:
    if is_json:
        figures: dict[str, float] = {
            "register_growth": round(found[-1].register_us / found[0].register_us, 3),
            "verify_growth": round(found[-1].verify_us / found[0].verify_us, 3),
        }
        for item in found:
            figures[f"register_us_{item.records}"] = round(item.register_us, 1)
            figures[f"verify_us_{item.records}"] = round(item.verify_us, 1)
            figures[f"disk_bytes_{item.records}"] = item.disk_bytes
        emit_json(True, figures, machine=describe_machine())
        return
    rows = [
        (item.records, f"{item.register_us:.0f}", f"{item.verify_us:.0f}", item.disk_bytes)
        for item in found
    ]
    columns = ("records", "registration µs", "verification µs", "bytes a record on disk")
    print_table("CPU of running and storing, against the number of records", columns, rows)
    print_machine(describe_machine())


# --- catching up --------------------------------------------------------------------------------


def run_sync(nodes: int, count: int, rounds: int, *, is_json: bool) -> None:
    """Let a node miss a load, start it again, and time how it catches up."""
    progress = Progress(is_silent=is_json)
    issuers = sign_for(plan_load(nodes), count, issuers=1)
    speeds, costs = [], []
    for number in range(rounds):
        with running_network(build_network(nodes)) as network:
            control = Control(network.folder)
            late = network.up.plan.nodes[-1]
            control.order("kill", [late.name])
            others = [url for url in network.urls if url != late.url]
            trio.run(offer, issuers, others)
            started = time.monotonic()
            control.order("start", [late.name])
            trio.run(_wait_for_level, late.url, others[0])
            speeds.append(count / (time.monotonic() - started))
            (state,) = control.order("status", [late.name])
            costs.append(cpu_s(int(state["pid"])) / count * 1e6)
        tell(progress, number, rounds, f"{speeds[-1]:.0f} registrations a second")
    if is_json:
        figures = {
            "synced_per_second": round(Spread(tuple(speeds)).median, 1),
            "cpu_us_synced": round(Spread(tuple(costs)).median, 1),
        }
        emit_json(True, figures, machine=describe_machine())
        return
    rows = [
        ("registrations caught up a second, start included", Spread(tuple(speeds)).describe(0)),
        ("CPU µs a registration, start included", Spread(tuple(costs)).describe(0)),
    ]
    print_table(f"{count} registrations missed by one of {nodes} nodes", ("what", "value"), rows)
    print_machine(describe_machine())


async def _wait_for_level(url: str, other: str) -> None:
    """Return once a node has the height of another."""
    with trio.fail_after(SYNC_S):
        async with RpcClient(url) as client, RpcClient(other) as level:
            wanted = int(await level.call("eth_blockNumber"), 16)
            while True:
                try:
                    if int(await client.call("eth_blockNumber"), 16) >= wanted:
                        return
                except ClientError:
                    pass  # it is still starting
                await trio.sleep(POLL_S)
