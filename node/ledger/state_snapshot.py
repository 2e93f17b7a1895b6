"""The whole state after one block, in chunks that another node can check.

Nodes pin their state at the same heights, every `snapshot_blocks` blocks. The manifest of such a
state follows from the chain alone, so that those of honest nodes are equal; a node that fetches one
takes what more than f weight of validators has, for then an honest one is among them. Headers
commit to the history of all writes, not to the state by itself (docs/adr/0020).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lowu.node.chain.roster import Roster
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
    rosters: bytes
    """The digest of all groups that there were up to the block, with their first heights."""
    chunks: tuple[bytes, ...]
    """The digest of each chunk."""

    @property
    def digest(self) -> bytes:
        """The digest of all of it."""
        return keccak256(encode_manifest(self))


_TOTALS = struct.Struct(">QQQ")
_FIXED_BYTES = _TOTALS.size + 64


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest."""
    head = manifest.head
    totals = _TOTALS.pack(head.number, head.tx_count, head.failed_tx_count)
    return b"".join((totals, manifest.block_hash, manifest.rosters, *manifest.chunks))


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in bytes of a peer; `BadInput` if malformed."""
    count, rest = divmod(len(data) - _FIXED_BYTES, 32)
    if rest or not 1 <= count <= CHUNKS_MAX:
        raise BadInput("malformed manifest of a state")
    start = _TOTALS.size
    hashes = [data[at : at + 32] for at in range(start, len(data), 32)]
    return Manifest(Head(*_TOTALS.unpack(data[:start])), hashes[0], hashes[1], tuple(hashes[2:]))


def digest_rosters(rosters: Iterable[tuple[int, Roster]]) -> bytes:
    """Return the digest of groups with their first heights."""
    parts = [first.to_bytes(8, "big") + roster.digest for first, roster in rosters]
    return keccak256(b"".join(parts))


class PinnedState:
    """The state after a block, kept from being overwritten. One thread at a time reads it."""

    def __init__(
        self, head: Head, block_hash: bytes, rosters: bytes, view: OrderedSnapshot
    ) -> None:
        """Take the block, the digest of the groups up to it, and the store as it is after it."""
        self.head = head
        self.block_hash = block_hash
        self.rosters = rosters
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
        return Manifest(self.head, self.block_hash, self.rosters, tuple(digests))

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
