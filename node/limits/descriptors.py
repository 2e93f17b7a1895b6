"""The number of files and sockets that this process may open, and its division among their uses.

At the start the process raises its soft limit to the hard limit, as far as a node can use it. The
limit is divided among the indispensable files, links to members, RocksDB's table files, RPC
connections, and unauthenticated connections to the p2p port. No use can take another's share, so
a thousand idle clients do not stop the node from committing blocks (N-F5).
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

from lowu.node.errors import ConfigError

RESERVED = 96
"""Listeners, logs, pipes, trio's own descriptors, and RocksDB's files besides tables: write-ahead
log, manifest, lock, and compaction output; with slack for descriptors that are closed late."""
DESCRIPTORS_PER_MEMBER = 3
"""A link, another that replaces it, and a dial attempt."""
ROCKSDB_FILES = (64, 512)
"""Minimum and maximum number of table files that RocksDB keeps open."""
ENTRANTS = (32, 1_024)
"""Minimum and maximum number of unauthenticated connections to the p2p port."""
RPC_CONNECTIONS = (64, 1_000)
"""Minimum and maximum number of RPC connections, on both ports together."""
WANTED = 4_096
"""More than all uses need with a hundred members; the limit is not raised beyond this."""


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """The share of each use; each defaults to its maximum."""

    rocksdb_files: int = ROCKSDB_FILES[1]
    entrants: int = ENTRANTS[1]
    rpc_connections: int = RPC_CONNECTIONS[1]


def raise_limit() -> int:
    """Raise the soft limit to the hard one, up to `WANTED`; return the resulting limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # the system's true limit may be lower than it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def divide(limit: int, members: int) -> DescriptorBudget:
    """Divide the descriptors of a node in a group of `members` nodes.

    Raises:
        ConfigError: the limit is too low.
    """
    fixed = RESERVED + DESCRIPTORS_PER_MEMBER * members
    least = fixed + ROCKSDB_FILES[0] + ENTRANTS[0] + RPC_CONNECTIONS[0]
    if limit < least:
        raise ConfigError(
            f"this process may open {limit} files and sockets, a node of {members} needs {least}: "
            f"raise the hard limit (`ulimit -Hn {least}` as root, or LimitNOFILE= of its service), "
            "then start it again"
        )
    left = limit - fixed
    rocksdb_files = _clamp(left // 4, ROCKSDB_FILES)
    entrants = _clamp(left // 3, ENTRANTS)
    rpc_connections = _clamp(left - rocksdb_files - entrants, RPC_CONNECTIONS)
    return DescriptorBudget(rocksdb_files, entrants, rpc_connections)


def _clamp(value: int, bounds: tuple[int, int]) -> int:
    return min(max(value, bounds[0]), bounds[1])
