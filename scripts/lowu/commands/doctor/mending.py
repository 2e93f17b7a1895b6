"""Mending a node's database from that of a sound node of the same network.

Blocks, state and indexes are copied, and then looked through as a whole against certificates and
roots; the votes are the node's own, if they can still be read. Otherwise it abstains, as after any
loss of votes (R-WIPE-1). The damaged database is kept beside the new one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from lowu.commands.doctor.checking import LEFT_OVER, NodeReport
from lowu.node.errors import ConfigError, NodeError
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.ledger import schema, vote_trace
from lowu.node.ledger.inspection import Inspection, Inspector
from lowu.node.ledger.opening import find_place_aside, set_aside
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import NO_MARK, FileTrace, Memory, find_loss, sync_folder
from lowu.node.ledger.votes import decode_memory, encode_memory
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
        if not item.damage and item.inspection is not None and item.inspection.head_hash
    ]

    def rank(report: NodeReport) -> tuple[bool, int, int]:
        found = report.inspection or Inspection()
        return found.head.number >= settled, -found.base, found.head.number

    return max(sound, key=rank, default=None)


def mend(
    plan: Plan,
    block: ExecutedBlock,
    report: NodeReport,
    source: NodeReport,
    stop: Callable[[], None],
) -> tuple[Path | None, bool]:
    """Give a node a new database; return where the old one is, if any, and whether it votes.

    It is stopped by `stop` once everything is copied and looked through. Its report is of the new
    database afterwards.

    Raises:
        NodeError: the new database is not sound, or cannot be written; nothing has changed then.
    """
    data, fresh = report.folder / "data", report.folder / LEFT_OVER
    if data.exists():
        find_place_aside(data)
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _copy(source.folder / "data", fresh)
        found = _check(plan, block, fresh, report)
        stop()
        is_voting = _keep_votes(data, fresh, report, found.head.number)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    kept = set_aside(data) if data.exists() else None
    fresh.rename(data)
    sync_folder(report.folder)
    report.inspection = found
    return kept, is_voting


def _keep_votes(data: Path, fresh: Path, report: NodeReport, head: int) -> bool:
    """Give a new database the votes of the old one, if none is lost; return whether it votes."""
    seen = report.inspection
    if seen is None or not seen.is_vote_memory_sound:
        return False
    try:
        own, settled = _read_own(data, seen)
        memory = decode_memory(own.get(schema.KEY_VOTES))
        if find_loss(FileTrace(report.folder / vote_trace.NAME).read(), memory):
            return False
    except (NodeError, ValueError, TypeError):
        return False
    storage = RocksStorage(fresh)
    try:
        storage.write(own)
    finally:
        storage.close()
    return settled <= head


def _copy(source: Path, fresh: Path) -> None:
    """Write what is the chain's from one database to another, which has no votes then."""
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
        batch[schema.KEY_VOTES] = encode_memory(Memory(NO_MARK, NO_MARK))  # until they are kept
        storage.write(batch)
    finally:
        storage.close()


def _read_own(path: Path, seen: Inspection) -> tuple[dict[bytes, bytes], int]:
    """Return the records of a node's votes, and how far they are dropped, whoever wrote that."""
    storage = RocksStorage(path, is_read_only=True)
    try:
        found = dict(storage.scan(schema.PREFIX_VOTE, schema.PREFIX_VOTE_END))
        found |= {key: value for key in OWN_KEYS if (value := storage.get(key)) is not None}
    finally:
        storage.close()
    settled = max(seen.settled, int.from_bytes(found.get(schema.KEY_SETTLED, b""), "big"))
    return found | {schema.KEY_SETTLED: settled.to_bytes(8, "big")}, settled


def _check(plan: Plan, block: ExecutedBlock, fresh: Path, report: NodeReport) -> Inspection:
    storage = RocksStorage(fresh, is_read_only=True)
    try:
        found = Inspector(plan.genesis, block, storage).look(None, is_full=True)
    finally:
        storage.close()
    if found.findings:
        raise ConfigError(
            f"{report.folder}: what was copied is not sound ({found.findings[0]}); nothing was "
            "changed"
        )
    return found
