"""Finding a free block of ports on the loopback interface, and keeping it.

A port on which nobody listens may be that of a node that is down for a moment. So the supervisor
of a network holds the lock of a file that lists its ports for as long as it runs, in a folder that
all networks of a user share.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lowu.node.errors import MachineRefuses
from lowu.node.topology.plan import HOST, PortBlock

BLOCKS_TRIED = 200
PORT_MAX = 65_535
PORTS_NAMED = 4
RESERVE_S = 60.0
"""Longest wait for another network that is starting; afterwards this one goes on unlocked."""


def is_port_free(port: int) -> bool:
    """Whether a listener can be opened on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@contextmanager
def reserve_ports(report: Callable[[str], None]) -> Iterator[None]:
    """Try to keep two networks that start at once from choosing the same ports.

    The lock is held from the search until the nodes listen, and ends with the process. Another
    user, or another TMPDIR, has another lock: a port may still be taken, and the network then
    moves again.
    """
    path = Path(tempfile.gettempdir()) / f"lowu-ports-{os.getuid()}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        report(f"{path} cannot be opened ({error.strerror}): going on without that lock")
        yield
        return
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        deadline = time.monotonic() + RESERVE_S
        if not _try_lock(file):
            report("another network is starting: waiting for it")
            while time.monotonic() < deadline and not _try_lock(file):
                time.sleep(0.1)
        yield


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ports_of(block: PortBlock, nodes: int) -> list[int]:
    """Return all ports that a network of `nodes` nodes needs."""
    return [first + i for first in (block.p2p, block.rpc, block.web3) for i in range(nodes)]


def name_ports(taken: list[int]) -> str:
    """Return the subject of a sentence about taken ports: `ports 1, 2 and 3 more are`."""
    if len(taken) == 1:
        return f"port {taken[0]} is"
    named = ", ".join(map(str, taken[:PORTS_NAMED]))
    more = len(taken) - PORTS_NAMED
    return f"ports {named} and {more} more are" if more > 0 else f"ports {named} are"


class KeptPorts:
    """The ports of a network that runs; other networks leave them alone."""

    def __init__(self, directory: Path) -> None:
        """Name the network's folder; nothing is kept yet."""
        self._path = _list_file(directory)
        self._file: TextIO | None = None

    def keep(self, ports: list[int]) -> None:
        """Keep these ports from now on until the process ends; what cannot be written is not."""
        with suppress(OSError):
            if self._file is None or not self._is_held(self._file):
                if self._file is not None:
                    self._file.close()
                self._file = self._open()
            self._file.seek(0)
            self._file.write(json.dumps(ports))
            self._file.truncate()
            self._file.flush()

    def _open(self) -> TextIO:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self._path, flags, 0o600), "r+", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def _is_held(self, file: TextIO) -> bool:
        """Whether the file is still there: somebody may have taken it for one that was left."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def give_up(self) -> None:
        """Let others have the ports."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _list_file(directory: Path) -> Path:
    name = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:32]
    return _shared_folder() / f"{name}.json"


def _shared_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"lowu-ports-{os.getuid()}.d"


def _list_kept(directory: Path) -> set[int]:
    """Return the ports of all running networks but the one in a folder."""
    found: set[int] = set()
    own = _list_file(directory)
    for path in _shared_folder().glob("*.json"):
        if path == own:
            continue
        with suppress(OSError, ValueError, TypeError), path.open("r+", encoding="utf-8") as file:
            if _try_lock(file):
                path.unlink(missing_ok=True)  # its network has ended, however it did
            else:
                found.update(json.load(file))
    return found


def find_free_block(wanted: PortBlock, nodes: int, directory: Path) -> tuple[PortBlock, list[int]]:
    """Return the wanted block or the next free one, and the taken ports of the wanted block.

    `directory` is the folder of the network that wants it.

    Raises:
        MachineRefuses: no free block was found.
    """
    kept = _list_kept(directory)

    def is_free(port: int) -> bool:
        return port not in kept and is_port_free(port)

    taken = [port for port in ports_of(wanted, nodes) if not is_free(port)]
    if not taken:
        return wanted, []
    step = max(16, nodes)
    for attempt in range(1, BLOCKS_TRIED):
        block = wanted.shifted(attempt * step)
        ports = ports_of(block, nodes)
        is_distinct = len(set(ports)) == len(ports) and max(ports) <= PORT_MAX
        if is_distinct and all(is_free(port) for port in ports):
            return block, taken
    raise MachineRefuses(
        f"port {taken[0]} is taken and no free block of {3 * nodes} ports was found; "
        "stop what uses them, or choose others with p2p_port, rpc_port and web3_port"
    )
