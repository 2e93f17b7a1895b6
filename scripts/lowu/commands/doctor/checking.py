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
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from lowu.node.config import load_genesis, load_node_config
from lowu.node.errors import NodeError
from lowu.node.execution.executor import ExecutedBlock
from lowu.node.identity import load_node_key
from lowu.node.ledger import vote_trace
from lowu.node.ledger.inspection import Inspection, Inspector
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import FileTrace
from lowu.node.topology.plan import Plan, PlannedNode
from lowu.node.topology.tree import CERTIFICATES, PRIVATE, node_folder

LEFT_OVER = "data.mended"
"""The database that a repair is writing, in a node's folder."""
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
    faults: list[str] = field(default_factory=list)
    """What is wrong with its other files, so that it cannot start."""
    unusable: set[str] = field(default_factory=set)
    """The names of those files, which can be written anew."""
    warnings: list[str] = field(default_factory=list)
    """What does not keep it from running."""
    inspection: Inspection | None = None

    @property
    def is_sound(self) -> bool:
        """Whether it can run with what it has."""
        return not self.damage and not self.faults

    def blame(self, text: str, *names: str) -> None:
        """Note that files have to be written anew."""
        self.faults.append(text)
        self.unusable.update(names)


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
    if loss := report.inspection.vote_loss:
        report.warnings.append(f"votes: {loss}; as a validator it abstains after its next start")
    if report.inspection.is_loading:
        report.warnings.append("a state was being loaded; its next start goes on with it")


def _check_files(plan: Plan, report: NodeReport) -> None:
    """Look at configuration, keys, certificates and the room on the disk."""
    folder, node = report.folder, report.node
    if not folder.is_dir():
        names = ("conf/node.pem", "conf/node.nodeid", "config.genesis", "config.ini", "nodes.json")
        report.blame(f"{folder} is missing, with its keys and certificates", *names, *CERTIFICATES)
        return
    try:
        load_node_config(folder, node.name)
    except NodeError as error:
        report.blame(str(error), "nodes.json" if "nodes.json" in str(error) else "config.ini")
    try:
        if load_genesis(folder / "config.genesis").digest != plan.genesis.digest:
            report.warnings.append(f"{folder}/config.genesis is of another chain")
    except NodeError as error:
        report.blame(str(error), "config.genesis")
    try:
        if load_node_key(folder / "conf" / "node.pem").node_id != node.key.node_id:
            report.blame(f"{folder}/conf/node.pem is another node's key", "conf/node.pem")
    except NodeError as error:
        report.blame(str(error), "conf/node.pem")
    for name in PRIVATE:
        path = folder / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            report.warnings.append(f"{path} can be read by others; chmod 600 it")
    _check_certificate(folder / "conf", report)
    free = shutil.disk_usage(folder).free
    if free < ROOM_MIN_BYTES:
        report.warnings.append(f"{folder}: {free // 1024**2} MiB are free; make room on the disk")
    if (folder / LEFT_OVER).exists():
        report.warnings.append(f"{folder / LEFT_OVER} is left of a repair that was cut short")


def _check_certificate(folder: Path, report: NodeReport) -> None:
    """Look at a node's certificate, its key, and the root that it is checked by."""
    path = folder / "ssl.crt"
    try:
        x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        own, *_ = x509.load_pem_x509_certificates(path.read_bytes())
        key = serialization.load_pem_private_key((folder / "ssl.key").read_bytes(), None)
        if key.public_key() != own.public_key():
            raise ValueError("ssl.key is the key of another certificate")
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        report.blame(f"{folder}: its certificate cannot be used ({error})", *CERTIFICATES)
        return
    left = own.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta():
        report.blame(f"{path} has expired", *CERTIFICATES)
    elif left < EXPIRES_SOON:
        report.warnings.append(f"{path} expires in {left.days} days; --repair issues one then")


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
