"""One simulated instance: a replica with a durable store, a chain, and bodies of proposals.

What is durable survives a crash: vote records, committed blocks, and the bodies promised by a
VALID verdict. Everything else is lost. Effects are performed in order, and a crash may fall
between any two of them. A Byzantine instance has a liar beside it (see `liars`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from lowu.consensus.codec import compute_digest, signing_digest
from lowu.consensus.effects import BuildProposal, Persist
from lowu.consensus.epochs import Epochs
from lowu.consensus.messages import CommitCertificate, Message, Proposal
from lowu.consensus.records import Record, ViewRecord, height_key_range, record_key
from lowu.consensus.replica import Replica
from lowu.consensus.types import Domain, Hash32, Height, NodeIndex, Sign, hash_bytes
from lowu.consensus.validators import ValidatorSet

M = TypeVar("M", bound=Message)
MEMORY_MAX = 256


@dataclass(frozen=True, slots=True)
class SimBlock:
    """A committed block: certificate, proposal, the transactions in it, and what it changed."""

    certificate: CommitCertificate
    proposal: Proposal
    tx_hashes: tuple[Hash32, ...]
    validators: ValidatorSet | None = None
    """The validators of the heights above, if this block changed them."""


@dataclass(slots=True)
class SimNode:
    """State of one instance; `replica` is None while it is down."""

    instance: int
    node_id: bytes
    epochs: Epochs
    clock_skew_ms: int = 0
    execution_ms: int = 0
    liar: Liar | None = None
    """Its behaviours, if it is Byzantine."""
    is_twin: bool = False
    """Whether another instance has the same key."""
    is_dead: bool = False
    """Whether it stays down after the healing."""
    was_wiped: bool = False
    diverges_at: int = 0
    """The height from which its execution is wrong; 0 for never."""
    replica: Replica | None = None
    records: dict[bytes, Record] = field(default_factory=dict)
    chain: list[SimBlock] = field(default_factory=list)
    base: Height = 0
    """The blocks above it are there for others; those up to it are not, as after a state."""
    damaged: set[Height] = field(default_factory=set)
    """Blocks that cannot be read."""
    heard: dict[bytes, Height] = field(default_factory=dict)
    """Volatile: how many blocks each peer has told first."""
    states: list[Height] = field(default_factory=list)
    """Volatile: heights of the states that it keeps for others, the newest last."""
    bodies: dict[Hash32, tuple[Hash32, ...]] = field(default_factory=dict)
    """Durable bodies by proposal digest."""
    committed: set[Hash32] = field(default_factory=set)
    pool: dict[Hash32, None] = field(default_factory=dict)
    executed: dict[Hash32, Hash32] = field(default_factory=dict)
    """Volatile: block hash by proposal digest."""
    proposals: dict[Hash32, Proposal] = field(default_factory=dict)
    """Volatile: proposals executed here, by digest."""
    incarnation: int = 0
    timers: dict[str, int] = field(default_factory=dict)
    building: BuildProposal | None = None
    is_seal_due: bool = False

    @property
    def is_honest(self) -> bool:
        """Whether it follows the protocol, with one memory and a key of its own."""
        return self.liar is None and not self.is_twin and not self.was_wiped

    @property
    def is_memory_lost(self) -> bool:
        """Whether its disk was wiped and holds no new view record yet (rule R-WIPE-1)."""
        has_record = any(isinstance(item, ViewRecord) for item in self.records.values())
        return self.was_wiped and not has_record

    @property
    def is_correct(self) -> bool:
        """Whether it must have committed the same blocks as the others at the end."""
        is_sound = self.liar is None and not self.diverges_at
        return is_sound and not self.is_twin and not self.is_dead

    def lies_by(self, behaviour: str) -> bool:
        """Whether it is a liar with this behaviour."""
        return self.liar is not None and behaviour in self.liar.names

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
        self.epochs.on_commit(block.certificate.height, block.validators)

    def crash(self) -> None:
        """Lose everything volatile."""
        self.replica = None
        self.incarnation += 1
        self.heard.clear()
        self.timers.clear()
        self.executed.clear()
        self.proposals.clear()
        self.building = None
        self.is_seal_due = False
        self.pool.clear()
        self.states.clear()

    def wipe(self, genesis_validators: ValidatorSet, kept_blocks: int) -> None:
        """Lose the votes as well, and all blocks but the oldest.

        If it began with a state, and that is not among what is left, all blocks are lost.
        """
        self.was_wiped = True
        self.records.clear()
        self.bodies.clear()
        self.committed.clear()
        left = self.chain[:kept_blocks] if kept_blocks >= self.base else []
        self.base = self.base if left else 0
        self.damaged = {height for height in self.damaged if height <= len(left)}
        self.epochs = Epochs(genesis_validators)
        self.chain = []
        for block in left:
            self.append(block)

    def head_hash(self, genesis: Hash32) -> Hash32:
        """Return the hash of the last committed block."""
        return self.chain[-1].certificate.block_hash if self.chain else genesis


class Liar:
    """The Byzantine side of one instance: what it may sign, and what it remembers."""

    def __init__(
        self, node: SimNode, names: tuple[str, ...], domain: Domain, sign: Sign, random: Random
    ) -> None:
        self.node = node
        self.names = names
        self.random = random
        self.memory: deque[Message] = deque(maxlen=MEMORY_MAX)
        self.victims: frozenset[int] | None = None
        self.doubles: dict[Hash32, tuple[Hash32, frozenset[int]]] = {}
        """By digest of a proposal: its second version, and the instances told that one."""
        self.peers: list[SimNode] = []
        self.accomplices: list[Liar] = [self]
        """All liars of the run, this one too."""
        self._domain = domain
        self._sign = sign

    def join(self, accomplices: list[Liar], peers: list[SimNode]) -> None:
        """Work together with the other liars of a run."""
        self.accomplices, self.peers = accomplices, peers
        self.doubles = accomplices[0].doubles

    @property
    def index(self) -> NodeIndex | None:
        """Its index among the validators now, or None."""
        return self.node.replica.index if self.node.replica is not None else None

    def signed(self, message: M) -> M:
        """Return a message with this node's signature."""
        epoch = self.node.epochs.latest.first_height
        return replace(message, signature=self._sign(signing_digest(self._domain, epoch, message)))

    def digest(self, proposal: Proposal) -> Hash32:
        """Return a proposal's digest on this chain."""
        return compute_digest(self._domain, proposal)

    def observe(self, message: Message) -> None:
        """Remember what arrived."""
        self.memory.append(message)

    def some_peers(self) -> list[SimNode]:
        """Return a random choice of peers."""
        return self.random.sample(self.peers, self.random.randint(1, len(self.peers)))


def compute_tx_root(tx_hashes: tuple[Hash32, ...]) -> Hash32:
    """Return the simulation's transaction root: a hash over the concatenation."""
    return hash_bytes(b"".join(tx_hashes))


def compute_block_hash(
    parent: Hash32, digest: Hash32, validators: ValidatorSet | None = None
) -> Hash32:
    """Return the simulation's block hash: a chain over proposal digests and their results."""
    named = b"" if validators is None else b"".join(v.node_id for v in validators.validators)
    return hash_bytes(parent + digest + named)
