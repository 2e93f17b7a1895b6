"""One simulated node: a replica with a durable store, a chain, and bodies of proposals.

What is durable survives `crash`: vote records, committed blocks, and the bodies promised by a
VALID verdict. Everything else is lost. Effects are performed in order, and a crash may fall
between any two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.effects import BuildProposal, Persist
from consensus.messages import CommitCertificate, Proposal
from consensus.records import Record, height_key_range, record_key
from consensus.replica import Replica
from consensus.types import Hash32, NodeIndex, hash_bytes


@dataclass(frozen=True, slots=True)
class SimBlock:
    """A committed block: certificate, proposal, and the transactions in it."""

    certificate: CommitCertificate
    proposal: Proposal
    tx_hashes: tuple[Hash32, ...]


@dataclass(slots=True)
class SimNode:
    """State of one node; `replica` is None while it is down."""

    index: NodeIndex
    replica: Replica | None = None
    records: dict[bytes, Record] = field(default_factory=dict)
    chain: list[SimBlock] = field(default_factory=list)
    bodies: dict[Hash32, tuple[Hash32, ...]] = field(default_factory=dict)
    """Durable bodies by proposal digest."""
    pool: dict[Hash32, None] = field(default_factory=dict)
    executed: dict[Hash32, Hash32] = field(default_factory=dict)
    """Volatile: block hash by proposal digest."""
    committed: set[Hash32] = field(default_factory=set)
    incarnation: int = 0
    timers: dict[str, int] = field(default_factory=dict)
    building: BuildProposal | None = None
    proposals: dict[Hash32, Proposal] = field(default_factory=dict)
    """Volatile: proposals executed here, by digest."""

    def persist(self, effect: Persist) -> None:
        """Make records durable."""
        for record in effect.records:
            self.records[record_key(record)] = record

    def append(self, block: SimBlock) -> None:
        """Commit a block durably and drop the records it settles."""
        self.chain.append(block)
        low, high = height_key_range(block.certificate.height)
        for key in [key for key in self.records if low <= key < high]:
            del self.records[key]
        for tx_hash in block.tx_hashes:
            self.pool.pop(tx_hash, None)
            self.committed.add(tx_hash)

    def crash(self) -> None:
        """Lose everything volatile."""
        self.replica = None
        self.incarnation += 1
        self.timers.clear()
        self.executed.clear()
        self.proposals.clear()
        self.building = None
        self.pool.clear()

    def head_hash(self, genesis: Hash32) -> Hash32:
        """Return the hash of the last committed block."""
        return self.chain[-1].certificate.block_hash if self.chain else genesis


def compute_tx_root(tx_hashes: tuple[Hash32, ...]) -> Hash32:
    """Return the simulation's transaction root: a hash over the concatenation."""
    return hash_bytes(b"".join(tx_hashes))


def compute_block_hash(parent: Hash32, digest: Hash32) -> Hash32:
    """Return the simulation's block hash: a chain over proposal digests."""
    return hash_bytes(parent + digest)
