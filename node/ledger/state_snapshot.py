"""The whole state after one block, in chunks that another node can check.

Nodes pin their state at the same heights, every `snapshot_blocks` blocks. The manifest of such a
state follows from the chain alone, so that those of honest nodes are equal; a node that fetches one
takes what more than f weight of validators has, for then an honest one is among them. Headers
commit to the history of all writes, not to the state by itself (docs/adr/0020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lowu.node.chain.rlp_codec import decode_rlp, encode_rlp
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput
from lowu.node.ledger import schema
from lowu.node.ledger.schema import Head
from lowu.node.ledger.storage import OrderedSnapshot

CHUNK_BYTES = 1024 * 1024
CHUNKS_MAX = 100_000
"""A hundred gigabytes of state; a manifest of so many chunks has 3 MB."""
STATE_LOW, STATE_HIGH = b"S", b"T"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a state is made of."""

    head: Head
    """The block after which it is the state, with the totals up to it."""
    block_hash: bytes
    chunks: tuple[bytes, ...]
    """The digest of each chunk."""

    @property
    def digest(self) -> bytes:
        """The digest of all of it."""
        return keccak256(encode_manifest(self))


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest."""
    head = manifest.head
    totals: list[bytes | int | list[bytes]] = [head.number, head.tx_count, head.failed_tx_count]
    return encode_rlp([*totals, manifest.block_hash, list(manifest.chunks)])


def read_rlp(data: bytes) -> object:
    """Return what a peer has encoded; `BadInput` if malformed."""
    try:
        return decode_rlp(data)
    except ValueError as error:
        raise BadInput(f"malformed RLP: {error}") from error


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in bytes of a peer; `BadInput` if malformed."""
    match read_rlp(data):
        case [bytes(number), bytes(txs), bytes(failed), bytes(block_hash), list(chunks)] if (
            all(len(item) <= 8 for item in (number, txs, failed))
            and len(block_hash) == 32
            and 1 <= len(chunks) <= CHUNKS_MAX
            and all(isinstance(item, bytes) and len(item) == 32 for item in chunks)
        ):
            totals = (int.from_bytes(item, "big") for item in (number, txs, failed))
            return Manifest(Head(*totals), block_hash, tuple(chunks))
    raise BadInput("malformed manifest of a state")


class PinnedState:
    """The state after a block, kept from being overwritten. One thread at a time reads it."""

    def __init__(self, head: Head, block_hash: bytes, view: OrderedSnapshot) -> None:
        self.head = head
        self.block_hash = block_hash
        self._view = view
        self._starts: list[bytes] = []
        """The first key of each chunk."""

    def build_manifest(self) -> Manifest:
        """Read the whole state once."""
        starts, digests, start = [], [], STATE_LOW
        for chunk, after in self._chunks(start):
            starts.append(start)
            digests.append(keccak256(chunk))
            start = after
        self._starts = starts
        return Manifest(self.head, self.block_hash, tuple(digests))

    def read_chunk(self, place: int) -> bytes:
        """Return a chunk's bytes, once the manifest has been built; `BadInput` if there is none."""
        if not 0 <= place < len(self._starts):
            raise BadInput(f"no chunk {place} of the state")
        chunk, _ = next(self._chunks(self._starts[place]))
        return chunk

    def _chunks(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield chunks from a key on, each with the key that follows it."""
        items: list[bytes] = []
        size = 0
        for key, value in self._view.scan(start, STATE_HIGH):
            if not value:  # deleted: a node that never had it holds the same state
                continue
            if size >= CHUNK_BYTES:
                yield schema.encode_list(items), key
                items, size = [], 0
            items += (key, value)
            size += len(key) + len(value)
        yield schema.encode_list(items), STATE_HIGH


def decode_chunk(data: bytes) -> dict[bytes, bytes]:
    """Return the state entries in a chunk whose digest has been checked."""
    items = schema.decode_list(data)
    return dict(zip(items[::2], items[1::2], strict=True))
