"""Mending a node's database from that of a sound node of the same network.

Blocks, state and indexes are copied, and then looked through as a whole against certificates and
roots; the votes are the node's own, if they can still be read. Otherwise it abstains, as after any
loss of votes (R-WIPE-1). The damaged database is kept beside the new one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lowu.commands.doctor.checking import NodeReport
from lowu.node.errors import ConfigError, NodeError
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.ledger import schema, vote_trace
from lowu.node.ledger.inspection import Inspection, Inspector
from lowu.node.ledger.opening import set_aside
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import NO_MARK, FileTrace, Memory, sync_folder
from lowu.node.ledger.votes import encode_memory
from lowu.node.topology.plan import Plan

COPIED_AT_ONCE = 5_000
OWN_KEYS = (schema.KEY_VOTES, schema.KEY_LOST, schema.KEY_SETTLED)
OWN_PREFIXES = (schema.PREFIX_VOTE, schema.PREFIX_PROPOSAL)
"""What a node has for itself, and never from another one."""


def choose_source(reports: Sequence[NodeReport], settled: int) -> NodeReport | None:
    """Return a sound node to take the chain from; None if there is none.

    Preferred are those at or above a height (up to it, the other one has dropped its votes), then
    those with all blocks, then those with the highest head.
    """
    sound = [
        item
        for item in reports
        if item.is_sound and item.inspection is not None and item.inspection.head_hash
    ]

    def rank(report: NodeReport) -> tuple[bool, int, int]:
        found = report.inspection or Inspection()
        return found.head.number >= settled, -found.base, found.head.number

    return max(sound, key=rank, default=None)


def mend(
    plan: Plan, block: ExecutedBlock, report: NodeReport, source: NodeReport
) -> tuple[Path, bool]:
    """Give a stopped node a new database; return where the old one is, and whether it votes.

    Raises:
        NodeError: the new database is not sound, or cannot be written; nothing has changed then.
    """
    data, seen = report.folder / "data", report.inspection
    fresh = data.with_name("data.mended")
    shutil.rmtree(fresh, ignore_errors=True)
    is_voting = seen is not None and seen.is_vote_memory_sound
    own = _read_own(data, seen) if seen is not None and is_voting else None
    try:
        _copy(source.folder / "data", own, fresh)
        _check(plan, block, fresh, report, is_voting=is_voting)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    kept = set_aside(data) if data.exists() else data
    fresh.rename(data)
    sync_folder(report.folder)
    is_long = (
        source.inspection is not None
        and seen is not None
        and (seen.settled <= source.inspection.head.number)
    )
    return kept, is_voting and is_long


def _copy(source: Path, own: Mapping[bytes, bytes] | None, fresh: Path) -> None:
    """Write what is the chain's from one database, and the node's own votes, if it has them."""
    storage = RocksStorage(fresh)
    try:
        batch: dict[bytes, bytes] = {}
        theirs = RocksStorage(source, is_read_only=True)
        try:
            for key, value in theirs.scan_damaged():
                if value is None:
                    raise NodeError(f"{source}: record {key.hex()} is damaged; nothing was mended")
                if key in OWN_KEYS or key.startswith(OWN_PREFIXES):
                    continue
                batch[key] = value
                if len(batch) >= COPIED_AT_ONCE:
                    storage.write(batch)
                    batch = {}
        finally:
            theirs.close()
        if own is None:
            batch[schema.KEY_VOTES] = encode_memory(Memory(NO_MARK, NO_MARK))
        else:
            batch |= own
        storage.write(batch)
    finally:
        storage.close()


def _read_own(path: Path, seen: Inspection) -> dict[bytes, bytes]:
    """Return the records of a node's votes; with how far they are dropped, whoever wrote them."""
    storage = RocksStorage(path, is_read_only=True)
    try:
        found = dict(storage.scan(schema.PREFIX_VOTE, schema.PREFIX_VOTE_END))
        found |= {key: value for key in OWN_KEYS if (value := storage.get(key)) is not None}
        return found | {schema.KEY_SETTLED: seen.settled.to_bytes(8, "big")}
    finally:
        storage.close()


def _check(
    plan: Plan, block: ExecutedBlock, fresh: Path, report: NodeReport, *, is_voting: bool
) -> None:
    storage = RocksStorage(fresh, is_read_only=True)
    try:
        trace = FileTrace(report.folder / vote_trace.NAME) if is_voting else None
        found = Inspector(plan.genesis, block, storage).look(trace, is_full=True)
    finally:
        storage.close()
    if found.findings:
        raise ConfigError(
            f"{report.folder}: what was copied is not sound ({found.findings[0]}); nothing was "
            "changed"
        )
