"""The flat state: named tables of key → bytes, read from storage, written as a set.

There is no trie. A block's writes are collected in a `WriteSet`; the state root is
keccak(previous root ‖ keccak(sorted write set)), so it commits to the whole history at the
cost of two hashes a block. States can be stacked: a block that is executed but not yet committed
is the layer below the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from lowu.node.crypto import keccak256

TABLE_ACCOUNT = b"a"
TABLE_STORAGE = b"s"
TABLE_CODE = b"c"

StateKey: TypeAlias = tuple[bytes, bytes]
"""Table and key."""
WriteSet: TypeAlias = Mapping[StateKey, bytes]
"""Changed entries; an empty value means deleted."""


class StateReader(Protocol):
    """Reads the state at one point of the chain."""

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return the value, or b"" if there is none."""
        ...


@runtime_checkable
class ForeignState(StateReader, Protocol):
    """A state that no Lowu chain can reach, as in the official state tests."""

    def has_storage(self, address: bytes) -> bool:
        """Whether an account has a slot that is not zero."""
        ...


class EmptyState:
    """The state before genesis."""

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return b"" for everything."""
        return b""


class LayeredState:
    """A write set on top of another state."""

    def __init__(self, below: StateReader, writes: WriteSet) -> None:
        self._below = below
        self._writes = writes

    def get(self, table: bytes, key: bytes) -> bytes:
        """Return the newest value."""
        found = self._writes.get((table, key))
        return found if found is not None else self._below.get(table, key)


def compute_state_root(previous_root: bytes, writes: WriteSet) -> bytes:
    """Return the root after a block; the order of writing does not matter."""
    if not writes:
        return previous_root
    parts = []
    for table, key in sorted(writes):
        value = writes[table, key]
        for item in (table, key, value):
            parts.append(len(item).to_bytes(4, "big"))
            parts.append(item)
    return keccak256(previous_root + keccak256(b"".join(parts)))
