"""How many files and sockets this process may have open, and who may have how many of them.

The soft limit is raised to the hard one at the start, as far as a node has use for it, and what
there is then is divided: what a node cannot do without, links to members, RocksDB's table files,
RPC connections, and connections to the p2p port that have not shown yet whose they are. No part
can take another's, so that a thousand idle clients cost no block (N-F5).
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

from node.errors import ConfigError

RESERVED = 96
"""Listeners, logs, pipes, trio's own, and what RocksDB has open besides tables: its write-ahead
log, manifest, lock, and the output of compactions; with room for what is closed a moment late."""
DESCRIPTORS_PER_MEMBER = 3
"""A link, one that takes its place, and an attempt to dial."""
ROCKSDB_FILES = (64, 512)
"""Least and most table files that RocksDB keeps open."""
ENTRANTS = (32, 1_024)
"""Least and most connections to the p2p port that are not authenticated yet."""
RPC_CONNECTIONS = (64, 1_000)
"""Least and most connections of RPC clients, both ports together."""
WANTED = 4_096
"""More than all parts can use with a hundred members; the limit is not raised beyond."""


@dataclass(frozen=True, slots=True)
class DescriptorBudget:
    """The part of each; the most of all unless there is less to divide."""

    rocksdb_files: int = ROCKSDB_FILES[1]
    entrants: int = ENTRANTS[1]
    rpc_connections: int = RPC_CONNECTIONS[1]


def raise_limit() -> int:
    """Raise the soft limit to the hard one, up to `WANTED`; return how many may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system may have a lower limit that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def divide(limit: int, members: int) -> DescriptorBudget:
    """Divide what may be open at a node of a group of `members`.

    Raises:
        ConfigError: it is too little.
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
