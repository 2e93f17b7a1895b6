"""Past state: what each of the last blocks has replaced.

The batch that commits a block also keeps, for each state entry that the block changes, the value
from before, under the entry's key and the block's height. The state after block B is then one
seek away: an entry had the value that the first block above B replaced, or, if none did, the value
that it has now. Blocks that are too old are forgotten, again in the batch of a new one, so that
nobody ever sees half of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgpack

from lowu.node.chain.rlp_codec import decode_rlp
from lowu.node.errors import DamagedData, StateNotKept
from lowu.node.execution.flat_state import StateReader
from lowu.node.ledger import schema
from lowu.node.ledger.schema import height_key, state_key
from lowu.node.ledger.storage import OrderedSnapshot, Storage

FORGOTTEN_AT_ONCE = 2
"""Blocks forgotten with each new one: history shrinks where the setting has become smaller."""


log = logging.getLogger("LEDGER")


class History:
    """The kept history of one ledger, whose commits it extends."""

    def __init__(self, storage: Storage, blocks_max: int) -> None:
        """Keep the state of `blocks_max` blocks below the head."""
        self._storage = storage
        self._blocks_max = blocks_max
        self._lowest = 0
        """The lowest block whose state is kept."""
        self._oldest = 1
        """No block below this height has records that are still to be forgotten."""

    def open(self, head: int) -> None:
        """Find what is kept below a head; nothing, if an older Lowu has added blocks since."""
        lowest, highest = _read_bounds(self._storage.get) or (head, head)
        self._lowest = lowest if highest == head else head
        kept = self._storage.keys(height_key(b"D", 0), height_key(b"D", head + 1))
        self._oldest = next((int.from_bytes(key[1:], "big") for key in kept), head + 1)

    def extend(
        self, number: int, changed: Iterable[bytes], read: Callable[[bytes], bytes]
    ) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return what to write and to delete with block `number`, which changes these entries.

        `read` returns the value before the block of a state entry, by its key in the storage.
        """
        puts: dict[bytes, bytes] = {}
        if self._blocks_max:
            entries = list(changed)
            puts = {_entry_key(key, number): read(key) for key in entries}
            puts[height_key(b"D", number)] = schema.encode_list(entries)
        self._lowest = max(self._lowest, number - self._blocks_max)
        deletes = []
        end = min(self._lowest, self._oldest + FORGOTTEN_AT_ONCE - 1)
        for height in range(self._oldest, end + 1):
            deletes += self._entries_of(height)
        self._oldest = max(self._oldest, end + 1)
        puts[schema.KEY_HISTORY] = msgpack.packb((self._lowest, number))
        return puts, deletes

    def _entries_of(self, height: int) -> list[bytes]:
        """Return the keys of all records that a block has added."""
        key = height_key(b"D", height)
        try:
            changed = self._storage.get(key)
        except DamagedData:
            log.exception("history of a block is damaged and takes room for good,height=%d", height)
            changed = None
        if changed is None:
            return []
        return [key, *(_entry_key(entry, height) for entry in decode_rlp(changed))]

    def state_at(self, number: int) -> StateReader:
        """Return the state after a block; commits from now on do not change it.

        Raises:
            StateNotKept: the block is too old, or above the head.
        """
        view = self._storage.ordered_snapshot()
        lowest, highest = _read_bounds(view.get) or (0, 0)
        if not lowest <= number <= highest:
            raise StateNotKept(number, lowest, highest)
        return _PastState(view, number)


class _PastState:
    """The state after one block."""

    def __init__(self, view: OrderedSnapshot, number: int) -> None:
        self._view = view
        self._above = number + 1

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return a value, or b""."""
        wanted = state_key(table, key)
        low, high = _entry_key(wanted, self._above), _entry_key(wanted, 2**64 - 1)
        replaced = self._view.first(low, high)
        return replaced if replaced is not None else self._view.get(wanted) or b""


def _entry_key(key: bytes, height: int) -> bytes:
    """Return the key of the value before a block; the length keeps entries apart."""
    return b"U" + len(key).to_bytes(2, "big") + key + height.to_bytes(8, "big")


def _read_bounds(get: Callable[[bytes], bytes | None]) -> tuple[int, int] | None:
    """Return the lowest and the highest block whose state is kept."""
    stored = get(schema.KEY_HISTORY)
    if stored is None:
        return None
    lowest, highest = msgpack.unpackb(stored)
    return lowest, highest
