"""A chain in one process, for benches: it runs and stores blocks as a node does, without votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowu.consensus.codec import compute_digest
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.consensus.types import Domain
from lowu.experiments.load.offering import sign_registrations
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.transaction import Transaction
from lowu.node.errors import NodeError
from lowu.node.execution.evm import BlockContext
from lowu.node.execution.executor import ExecutedBlock, execute_block
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import FileTrace
from lowu.node.topology.plan import Plan

BLOCK_SIZE = 200


def sign_blocks(plan: Plan, count: int, first: int = 0) -> list[list[bytes]]:
    """Return registrations of one institution after the first so many, one list per block."""
    issuer = plan.institutions[0]
    signed = sign_registrations(issuer.account_key, plan.genesis.web3_chain_id, count, first)
    raws = [bytes.fromhex(raw[2:]) for raw in signed.raws]
    return [raws[start : start + BLOCK_SIZE] for start in range(0, count, BLOCK_SIZE)]


@dataclass(frozen=True, slots=True)
class Proposed:
    """A block to run, and the context that its contracts see."""

    proposal: Proposal
    digest: bytes
    context: BlockContext


class Chain:
    """A ledger on disk, and the steps that add a block to it."""

    def __init__(self, genesis: GenesisConfig, folder: Path) -> None:
        self._genesis = genesis
        self._domain = Domain(genesis.chain_id, genesis.group_id)
        storage, trace = RocksStorage(folder / "data"), FileTrace(folder / "last_vote")
        self.ledger = Ledger(storage, build_genesis(genesis), trace)
        self.records = 0

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def context(self) -> BlockContext:
        """Return the context that the next block's contracts see."""
        head = self.ledger.header(self.ledger.head.number)
        return BlockContext(
            head.number + 1,
            head.timestamp_ms // 1000 + 1,
            self._genesis.tx_gas_limit,
            self._genesis.web3_chain_id,
            lambda number: None,
        )

    def propose(self, transactions: Sequence[Transaction]) -> Proposed:
        """Return the next block."""
        context = self.context()
        proposal = Proposal(
            context.number,
            self.ledger.header(self.ledger.head.number).proposal_digest,
            compute_root([item.hash for item in transactions]),
            context.time_s * 1000,
            0,
            False,
        )
        return Proposed(proposal, compute_digest(self._domain, proposal), context)

    def execute(self, block: Proposed, transactions: Sequence[Transaction]) -> ExecutedBlock:
        """Run a block on top of the head."""
        return execute_block(
            self.ledger.parent(),
            block.proposal,
            block.digest,
            tuple(transactions),
            self._genesis.validators,
            block.context,
        )

    def commit(self, executed: ExecutedBlock) -> None:
        """Store a block and sync it to disk.

        Raises:
            NodeError: a transaction in it has failed.
        """
        header = executed.header
        certificate = CommitCertificate(header.number, header.proposal_digest, header.hash, ())
        self.ledger.commit(executed, certificate)
        if not all(receipt.is_success for receipt in executed.receipts):
            raise NodeError("a registration failed")
        self.records += len(executed.receipts)
