"""Looking through a node's database: what is damaged, missing, or does not fit.

Nothing is changed, and a database is looked through while its node runs. Quick: that it opens, and
its last blocks. Full: every record against its checksum, every block against its certificate, its
roots, the block below and the indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.epochs import Epochs
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import CommitCertificate
from lowu.consensus.types import Domain
from lowu.node.chain.block import Header
from lowu.node.chain.merkle import compute_root
from lowu.node.chain.roster import decode_roster
from lowu.node.crypto import is_signed_by, keccak256
from lowu.node.errors import DamagedData, StorageError
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.genesis_config import GenesisConfig
from lowu.node.ledger import schema
from lowu.node.ledger.ledger import build_genesis_certificate
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.schema import Head, height_key
from lowu.node.ledger.vote_trace import VoteTrace, find_loss
from lowu.node.ledger.votes import decode_memory

QUICK_BLOCKS = 64
"""Blocks below the head that a quick look takes."""
FINDINGS_MAX = 1_000
"""More damage than that is not listed."""


@dataclass(slots=True)
class Inspection:
    """What was found in one database."""

    head: Head = field(default_factory=partial(Head, 0, 0, 0))
    head_hash: bytes = b""
    base: int = 0
    """The blocks from this one on are kept."""
    blocks: int = 0
    """Blocks that were looked at."""
    records: int = 0
    """Records whose checksums were looked at."""
    findings: list[str] = field(default_factory=list)
    """Everything that is damaged, missing, or does not fit."""
    state_digest: bytes = b""
    """Of the whole state, after a full look: nodes at one head have the same."""
    is_vote_memory_sound: bool = False
    """Whether all records of its votes can be read, and are what its trace says."""
    vote_loss: str = ""
    """Why its votes may be lost, although nothing is damaged; "" if they are not."""
    settled: int = 0
    """The height up to which its votes are dropped: with a shorter chain it would abstain."""
    is_loading: bool = False
    """Whether a state is being loaded: there is nothing to look at until the node has started."""
    is_of_other_genesis: bool = False
    """Whether it is another chain's than the configuration says: not damage of this one."""

    def note(self, text: str) -> None:
        """Add what was found."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)


def _need(get: Callable[[bytes], bytes | None], key: bytes, what: str) -> bytes:
    found = get(key)
    if found is None:
        raise DamagedData(f"{what} is missing")
    return found


def check_block(
    get: Callable[[bytes], bytes | None], number: int, base: int
) -> tuple[Header, CommitCertificate]:
    """Check that a block's records fit each other; return its header and certificate.

    `get` reads a record. The certificate's signatures are not verified. The block at which a state
    was loaded (`base`; 0 if none was) has a header only.

    Raises:
        DamagedData: a record is damaged or missing, or does not fit.
    """
    header, certificate = schema.decode_sealed_header(
        _need(get, height_key(b"H", number), "its header")
    )
    if (certificate.height, certificate.block_hash) != (number, header.hash):
        raise DamagedData("its certificate is another block's")
    if get(b"N" + header.hash) != number.to_bytes(8, "big"):
        raise DamagedData("it is not found by its hash")
    if number == base and number:
        return header, certificate
    raws = schema.decode_list(_need(get, height_key(b"B", number), "its transactions"))
    hashes = [keccak256(raw) for raw in raws]
    receipts = schema.decode_list(_need(get, height_key(b"R", number), "its receipts"))
    if compute_root(hashes) != header.tx_root or compute_root(receipts) != header.receipt_root:
        raise DamagedData("transactions or receipts are not those of its roots")
    for index, tx_hash in enumerate(hashes):
        if get(b"T" + tx_hash) != schema.encode_position(number, index):
            raise DamagedData(f"transaction 0x{tx_hash.hex()} is not found by its hash")
    return header, certificate


class Inspector:
    """Looks through the database of one node."""

    def __init__(self, genesis: GenesisConfig, block: ExecutedBlock, storage: RocksStorage) -> None:
        """Take the chain's genesis and block 0, and an open database."""
        self._genesis = genesis
        self._block = block
        self._storage = storage
        self._epochs = Epochs(genesis.validators)
        self.result = Inspection()

    def look(
        self,
        trace: VoteTrace | None,
        *,
        is_full: bool,
        tell: Callable[[int], None] = lambda count: None,
    ) -> Inspection:
        """Look through the database; `tell` is told how many blocks have been looked at.

        The trace of a node that runs goes on while one looks: then there is none to compare.
        """
        result = self.result
        for step in (self._look_at_start, lambda: self._look_at_votes(trace)):
            try:
                step()
            except (StorageError, ValueError, TypeError) as error:
                result.note(str(error))
            if not result.head_hash:
                return result
        first = result.base if is_full else max(result.base, result.head.number - QUICK_BLOCKS)
        self._look_at_blocks(first, tell)
        if is_full:
            self._look_at_records()
        return result

    def _look_at_start(self) -> None:
        """Look at what a node reads at its start."""
        get, result = self._storage.get, self.result
        written = get(schema.KEY_FORMAT)
        if written not in schema.FORMATS:
            raise DamagedData(
                f"it is of format {written!r}, this Lowu reads {schema.tell_formats()}"
            )
        stored = get(schema.KEY_HEAD)
        if stored is None:
            result.is_loading = get(schema.KEY_IMPORT) is not None
            if result.is_loading:
                return
            raise DamagedData("it has no head")
        result.head = schema.decode_head(stored)
        result.base = int.from_bytes(get(schema.KEY_BASE) or b"", "big")
        period = self._genesis.validators.leader_period
        for key, data in self._storage.scan(schema.PREFIX_ROSTER, schema.PREFIX_ROSTER_END):
            first_height = int.from_bytes(key[1:], "big")
            validators = decode_roster(data).validators(period)
            if first_height > 1 and validators != self._epochs.latest.validators:
                self._epochs.on_commit(first_height - 1, validators)
        zero, _ = schema.decode_sealed_header(_need(get, height_key(b"H", 0), "block 0"))
        if zero.hash != self._block.header.hash:
            result.is_of_other_genesis = True
            raise DamagedData("it belongs to another genesis")
        head, _ = schema.decode_sealed_header(
            _need(get, height_key(b"H", result.head.number), f"block {result.head.number}")
        )
        result.head_hash = head.hash

    def _look_at_votes(self, trace: VoteTrace | None) -> None:
        memory = decode_memory(self._storage.get(schema.KEY_VOTES))
        for _ in self._storage.scan(schema.PREFIX_VOTE, schema.PREFIX_VOTE_END):
            pass
        settled = self._storage.get(schema.KEY_SETTLED)
        head = self.result.head.number  # up to it, an older Lowu has dropped them
        self.result.settled = head if settled is None else int.from_bytes(settled, "big")
        loss = "" if trace is None else find_loss(trace.read(), memory)
        if loss:
            self.result.vote_loss = loss
        else:
            self.result.is_vote_memory_sound = True

    def _look_at_blocks(self, first: int, tell: Callable[[int], None]) -> None:
        verifier = MessageVerifier(
            Domain(self._genesis.chain_id, self._genesis.group_id),
            self._epochs,
            build_genesis_certificate(self._block.header),
            is_signed_by,
        )
        below = b""
        wrong: list[tuple[int, str]] = []
        for number in range(first, self.result.head.number + 1):
            try:
                below = self._look_at_block(number, below, verifier)
            except (StorageError, InvalidMessage, ValueError, TypeError) as error:
                wrong.append((number, str(error)))
                below = b""
            self.result.blocks += 1
            if self.result.blocks % 1_000 == 0:
                tell(self.result.blocks)
        for text, group in groupby(wrong, key=lambda item: item[1]):
            numbers = [number for number, _ in group]
            more = f"s {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f" {numbers[0]}"
            self.result.note(f"block{more}: {text}")

    def _look_at_block(self, number: int, below: bytes, verifier: MessageVerifier) -> bytes:
        """Check a block and what leads to it; return its hash."""
        header, certificate = check_block(self._storage.get, number, self.result.base)
        if below and header.parent_hash != below:
            raise DamagedData("it does not stand on the block below")
        verifier.verify_commit(certificate)
        return header.hash

    def _look_at_records(self) -> None:
        state: list[bytes] = []
        for key, value in self._storage.scan_damaged():
            if key.startswith(schema.PREFIX_STAGED):
                continue  # what is left of a state that was not loaded is dropped at the next start
            if value is None:
                self.result.note(f"record {key[:1]!r} {key[1:].hex()}: damaged")
                continue
            self.result.records += 1
            if key[:1] == b"S" and value:
                state.append(keccak256(len(key).to_bytes(4, "big") + key + value))
        self.result.state_digest = keccak256(b"".join(state))
