"""Failpoints: a node dies, or its disk fails, at one durable step that somebody has chosen.

Only nodes with the setting `allow_lies` take orders (`node/topology/faults/fail_order.py`). A real
node dies as by SIGKILL; a simulated one raises `SimulatedDeath`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lowu.consensus.replica import Replica
from lowu.node.config import NodeConfig
from lowu.node.errors import BadInput, ConfigError, StorageError
from lowu.node.ledger import schema
from lowu.node.ledger.storage import Storage
from lowu.node.ledger.vote_trace import Mark, Memory, Slots, VoteTrace, write_torn_slot
from lowu.node.simulation.ordered_faults import StorageAround
from lowu.node.topology.faults.fail_order import (
    TORN_SHARES,
    VARIABLE,
    FailMode,
    FailOrder,
    Failpoint,
    Situation,
    find_order,
)

log = logging.getLogger("INITIALIZER")


class SimulatedDeath(BaseException):
    """A simulated node has died; as with SIGKILL, nothing may catch it but who runs the node."""


def kill_this_process() -> NoReturn:
    """End this process as SIGKILL from elsewhere does: nothing is flushed, nothing said."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process survives no SIGKILL")


def die_simulated() -> NoReturn:
    """Let a simulated node die."""
    raise SimulatedDeath


class Failpoints:
    """The failpoints of one node. Steps may come from several threads, one at a time."""

    def __init__(
        self, order: FailOrder | None = None, die: Callable[[], NoReturn] = kill_this_process
    ) -> None:
        self._die = die
        self._order = order
        self._passed = 0
        """How many steps of the order's kind have been made."""
        self._lock = threading.RLock()
        self.last_failure: FailOrder | None = None
        """By which order the node has failed last."""
        self.find_situation: Callable[[], Situation | None] = lambda: None

    def arm(self, order: FailOrder | None) -> None:
        """Let the node fail so, once; None for not at all."""
        with self._lock:
            self._order, self._passed = order, 0

    def step(
        self,
        point: Failpoint,
        write: Callable[[], None],
        tear: Callable[[float], None] | None = None,
    ) -> None:
        """Make a durable step, unless it is the one to fail at.

        `tear` makes a share of it, from 0 to 1; without it, a torn step is not made at all.

        Raises:
            StorageError: the write fails, as ordered.
        """
        with self._lock:
            order = self._take(point)
            if order is None:
                write()
                return
            self.last_failure = order
            if order.mode in TORN_SHARES and tear is not None:
                tear(TORN_SHARES[order.mode])
            elif order.mode in (FailMode.AFTER, FailMode.LATE_ERROR):
                write()
            if order.mode in (FailMode.ERROR, FailMode.LATE_ERROR):
                raise StorageError(f"the disk fails as ordered ({order}); start the node again")
            self._die()

    def _take(self, point: Failpoint) -> FailOrder | None:
        """Return the order if this is the step it means, which it then means no longer."""
        order = self._order
        if order is None or order.point is not point:
            return None
        if order.situation not in (None, self.find_situation()):
            return None
        self._passed += 1
        if self._passed < order.count:
            return None
        self._order = None
        return order


# --- where steps are made -----------------------------------------------------------------------


def find_point(puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> Failpoint | None:
    """Return the step that a batch is, by its keys; None for none."""
    if schema.KEY_IMPORT in deletes:
        return Failpoint.IMPORT_END
    for key, point in (
        (schema.KEY_IMPORT, Failpoint.IMPORT_BEGIN),
        (schema.KEY_FORMAT, Failpoint.GENESIS),
        (schema.KEY_HEAD, Failpoint.BLOCK),
        (schema.KEY_LOST, Failpoint.FORGET),
        (schema.KEY_VOTES, Failpoint.VOTE),
    ):
        if key in puts:
            return point
    kinds = {key[:1] for key in puts}
    if kinds == {schema.PREFIX_STAGED}:
        return Failpoint.IMPORT_CHUNK
    if kinds == {b"S"}:
        return Failpoint.IMPORT_MOVE
    return Failpoint.PROPOSAL if schema.PREFIX_PROPOSAL in kinds else None


class FailingStorage(StorageAround):
    """A store whose batches are steps that may fail."""

    def __init__(self, storage: Storage, failpoints: Failpoints, folder: Path | None) -> None:
        """`folder` is the database's; None in memory, where a torn batch is not there at all."""
        super().__init__(storage)
        self._failpoints = failpoints
        self._folder = folder

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        """Write, unless the node is to fail here."""

        def write() -> None:
            self._storage.write(puts, deletes)

        def tear(share: float) -> None:
            if self._folder is not None:
                log, size = find_log(self._folder)
                write()
                cut_write(self._folder, log, size, share)

        point = find_point(puts, deletes)
        if point is None:
            write()
        else:
            self._failpoints.step(point, write, tear)


def find_log(folder: Path) -> tuple[Path | None, int]:
    """Return the newest log of a database, with its size in bytes; None if it has none."""
    logs = sorted(folder.glob("*.log"))
    return (logs[-1], logs[-1].stat().st_size) if logs else (None, 0)


def cut_write(folder: Path, log: Path | None, size: int, share: float) -> None:
    """Cut a database's last write, as a crash does while the file system writes.

    `log` and `size` are what `find_log` returned before it. The engine may have begun a new log.
    """
    newest, end = find_log(folder)
    start = size if newest == log else 0
    if newest is not None and end > start:
        left = min(max(1, int((end - start) * share)), end - start - 1)
        os.truncate(newest, start + left)


class FailingTrace:
    """A trace whose writes are steps that may fail."""

    def __init__(self, trace: VoteTrace, failpoints: Failpoints, path: Path | None) -> None:
        """`path` is the file's; None in memory, where a torn mark is not there at all."""
        self._trace = trace
        self._failpoints = failpoints
        self._path = path

    def read(self) -> Slots | None:
        """Return the slots' marks; None if there is no trace."""
        return self._trace.read()

    def create(self, memory: Memory) -> None:
        """Start a new trace; a torn one is a temporary file that nobody reads."""

        def tear(share: float) -> None:
            if self._path is not None:
                self._path.with_suffix(".tmp").write_bytes(b"lowu"[: 1 + int(3 * share)])

        self._failpoints.step(Failpoint.NEW_TRACE, lambda: self._trace.create(memory), tear)

    def write(self, mark: Mark) -> None:
        """Write a mark."""

        def tear(share: float) -> None:
            if self._path is not None:
                write_torn_slot(self._path, mark, share)

        self._failpoints.step(Failpoint.TRACE, lambda: self._trace.write(mark), tear)

    def close(self) -> None:
        """Release the trace."""
        self._trace.close()


# --- of a node ------------------------------------------------------------------------------------


def read_failpoints(config: NodeConfig) -> Failpoints | None:
    """Return a node's failpoints, with its order in the environment; None if it has none."""
    if not config.allow_lies:
        return None
    log.warning("this node may be told to lie, and to fail: its network has allow_lies")
    try:
        return Failpoints(find_order(os.environ.get(VARIABLE, ""), config.folder.name))
    except BadInput as error:
        raise ConfigError(f"{VARIABLE}: {error}") from error


def find_situation(replica: Replica) -> Situation | None:
    """Return what a validator does now; None if it does not vote."""
    match replica.phase:
        case "lagging":
            return Situation.SYNCING
        case "changing":
            return Situation.CHANGING
        case "normal":
            is_leading = replica.next_leader == replica.index
            return Situation.LEADING if is_leading else Situation.FOLLOWING
        case _:
            return None
