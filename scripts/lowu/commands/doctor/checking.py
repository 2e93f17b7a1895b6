"""What the doctor looks at: a node's files, its database, and the nodes against each other."""

from __future__ import annotations

import shutil
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from lowu.node.config import load_genesis, load_node_config
from lowu.node.errors import NodeError
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.identity import load_node_key
from lowu.node.ledger import vote_trace
from lowu.node.ledger.inspection import Inspection, Inspector
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import FileTrace
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.tree import node_folder

ROOM_MIN_BYTES = 512 * 1024 * 1024
"""Free space of a disk below which the doctor warns."""
EXPIRES_SOON = timedelta(days=30)


@dataclass(slots=True)
class NodeReport:
    """What was found about one node."""

    node: PlannedNode
    folder: Path
    is_running: bool
    damage: list[str] = field(default_factory=list)
    """What is wrong with its database."""
    warnings: list[str] = field(default_factory=list)
    """What is wrong around it."""
    inspection: Inspection | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with its database."""
        return not self.damage


def check_node(
    plan: Plan,
    block: ExecutedBlock,
    report: NodeReport,
    *,
    is_full: bool,
    tell: Callable[[int], None],
) -> None:
    """Look at a node's files and database."""
    _check_files(plan, report)
    data = report.folder / "data"
    if not data.exists():
        if not (report.folder / "first_start").exists():
            report.damage.append(f"{data} is missing; the node fetches the chain, and abstains")
        return
    try:
        storage = RocksStorage(data, is_read_only=True)
    except NodeError as error:
        report.damage.append(str(error))
        return
    try:
        trace = None if report.is_running else FileTrace(report.folder / vote_trace.NAME)
        inspector = Inspector(plan.genesis, block, storage)
        report.inspection = inspector.look(trace, is_full=is_full, tell=tell)
    finally:
        storage.close()
    report.damage += report.inspection.findings
    if report.inspection.is_loading:
        report.warnings.append("a state was being loaded; its next start goes on with it")


def _check_files(plan: Plan, report: NodeReport) -> None:
    """Look at configuration, keys, certificates and the room on the disk."""
    folder, node = report.folder, report.node
    try:
        load_node_config(folder, node.name)
        if load_genesis(folder / "config.genesis").digest != plan.genesis.digest:
            report.warnings.append(f"{folder}/config.genesis is of another chain")
        if load_node_key(folder / "conf" / "node.pem").node_id != node.key.node_id:
            report.warnings.append(f"{folder}/conf/node.pem is another node's key")
    except NodeError as error:
        report.warnings.append(str(error))
    for name in ("node.pem", "ssl.key"):
        path = folder / "conf" / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            report.warnings.append(f"{path} can be read by others; chmod 600 it")
    _check_certificate(folder / "conf" / "ssl.crt", report)
    free = shutil.disk_usage(folder).free
    if free < ROOM_MIN_BYTES:
        report.warnings.append(f"{folder}: {free // 1024**2} MiB are free; make room on the disk")


def _check_certificate(path: Path, report: NodeReport) -> None:
    try:
        first = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError) as error:
        report.warnings.append(f"{path}: cannot be read ({error})")
        return
    left = first.not_valid_after_utc - datetime.now(UTC)
    if left < EXPIRES_SOON:
        state = "has expired" if left < timedelta() else f"expires in {left.days} days"
        report.warnings.append(f"{path}: {state}; have the network's CA issue another one")


def compare(reports: Sequence[NodeReport]) -> None:
    """Hold nodes at one head against each other: they have one block there, and one state."""
    by_head: dict[int, list[NodeReport]] = {}
    for report in reports:
        if report.inspection is not None and report.inspection.head_hash:
            by_head.setdefault(report.inspection.head.number, []).append(report)
    for height, level in by_head.items():
        found = [item.inspection for item in level if item.inspection is not None]
        _tell_apart(level, [item.head_hash for item in found], f"block {height}")
        digests = [item.state_digest for item in found]
        if all(digests):
            _tell_apart(level, digests, f"the state after block {height}")


def _tell_apart(reports: Sequence[NodeReport], values: Sequence[bytes], what: str) -> None:
    (usual, count), *others = Counter(values).most_common()
    for report, value in zip(reports, values, strict=True):
        if others and value != usual:
            report.damage.append(f"{what} is another one than {count} other nodes have")


def open_reports(plan: Plan, directory: Path, running: set[str]) -> list[NodeReport]:
    """Return a report to be filled in for each node."""
    return [
        NodeReport(node, node_folder(directory, node), node.name in running) for node in plan.nodes
    ]
