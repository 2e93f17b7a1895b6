"""The supervisor: one warm process that forks the nodes of a network and watches them.

It imports the node's code once, so that a fork starts in milliseconds. Nodes exit with it: they
hold the reading end of a pipe of which it has the only writing end, and on Linux the kernel
kills them too. It takes orders over a loopback socket, one JSON object a line; the port and a
token are in ``.lowu/control.json``.

    python -m lowu.node.topology.supervisor DIR
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowu.node.errors import ConfigError
from lowu.node.execution.genesis import build_genesis
from lowu.node.execution.warm_up import warm_up
from lowu.node.limits.json_limits import load_json
from lowu.node.process import node_main, redirect_output
from lowu.node.topology.faults.fail_order import VARIABLE
from lowu.node.topology.plan import HOST, Plan
from lowu.node.topology.ports import KeptPorts, ports_of
from lowu.node.topology.supervisor_files import control_file, joined_file, supervisor_lock
from lowu.node.topology.tree import load_tree, node_folder

STOP_S = 5.0
"""Time in which a node must stop before it is killed."""
LOCK_S = 0.5
"""Longest wait for the lock, which `is_supervised` takes for a moment."""
REQUEST_BYTES_MAX = 64 * 1024
DESCRIPTORS_MAX = 4096
OTHER_NODE = """
import os, sys
from pathlib import Path
from lowu.node.process import node_main

folder, parent_pipe, ready_pipe = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def say_ready():
    os.write(ready_pipe, b"1")
    os.close(ready_pipe)


sys.exit(node_main(Path(folder), parent_pipe, say_ready))
"""
"""What another interpreter runs, whose Lowu may be of another version: of that version, it needs
`node_main` with these parameters."""
PR_SET_PDEATHSIG = 1
PROCESS_EXITING = 0x4
"""Flag of Linux's ``/proc/PID/stat`` (PF_EXITING)."""


@dataclass(slots=True)
class Child:
    """A node's process, running or exited."""

    name: str
    pid: int | None = None
    exit_code: int | None = None
    """Exit code, or minus the signal that ended it; None while running or never started."""
    starts: int = 0
    ready_pipe: int | None = None
    """Reading end of a pipe that the child writes to, and closes, once its ports are open."""
    is_ready: bool = False


class Supervisor:
    """Forks, stops and watches the nodes of one network."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory = directory
        self._plan = plan
        self._children = {node.name: Child(node.name) for node in plan.nodes}
        self._pipe_read, self._pipe_write = os.pipe()
        self._token = secrets.token_hex(16)
        self._listener = socket.create_server((HOST, 0))
        self._is_stopping = False
        self._ports = KeptPorts(directory)
        self._keep_ports()
        self._joined_ns = 0
        """When the list of joined nodes was last changed, as far as it has been taken over."""

    # --- children ---------------------------------------------------------------------------

    def start(self, name: str, fail: str = "", python: str = "") -> None:
        """Fork a node, or have another interpreter run it.

        It fails at a step if its network lets it be told so (`Failpoints`).
        """
        child = self._children[name]
        node = self._plan.find_node(name)
        if child.pid is not None or node is None:
            return
        ready_read, ready_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready_read)
            if fail:
                os.environ[VARIABLE] = f"{name}={fail}"
            self._run_child(node_folder(self._directory, node), ready_write, python)
        os.close(ready_write)
        os.set_blocking(ready_read, False)
        child.pid, child.exit_code = pid, None
        child.ready_pipe, child.is_ready = ready_read, False
        child.starts += 1

    def _run_child(self, folder: Path, ready_pipe: int, python: str) -> None:
        """Become a node; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            _close_all_but(self._pipe_read, ready_pipe)
            _die_with_parent()
            os.chdir(folder)
            redirect_output(folder)
            if python:
                code = _run_other(python, folder, self._pipe_read, ready_pipe)
                return
            code = node_main(folder, self._pipe_read, lambda: _say_ready(ready_pipe))
        finally:
            os._exit(code)

    def reap(self) -> None:
        """Record exited children; wait for those that are exiting.

        A killed process takes tens of milliseconds to exit. Until then it cannot be reaped, and
        the supervisor would report it as running (N-F12).
        """
        for child in self._children.values():
            if child.pid is None:
                continue
            deadline = time.monotonic() + STOP_S
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            while not pid and is_ending(child.pid) and time.monotonic() < deadline:
                time.sleep(0.001)
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                child.exit_code = os.waitstatus_to_exitcode(status)
                child.pid = None
                if child.ready_pipe is not None:
                    os.close(child.ready_pipe)
                child.ready_pipe, child.is_ready = None, False
            else:
                self._hear_ready(child)

    @staticmethod
    def _hear_ready(child: Child) -> None:
        """Record whether a child has reported that it is ready, or closed its pipe unready."""
        pipe = child.ready_pipe
        if pipe is not None:
            with suppress(BlockingIOError):
                child.is_ready = os.read(pipe, 1) == b"1"
                os.close(pipe)
                child.ready_pipe = None

    def stop(self, names: list[str], *, is_kill: bool = False) -> None:
        """Stop or kill nodes and wait until their processes have exited."""
        self._signal(names, signal.SIGKILL if is_kill else signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while any(self._children[name].pid is not None for name in names):
            if time.monotonic() > deadline:
                self._signal(names, signal.SIGKILL)
            time.sleep(0.005)
            self.reap()

    def _signal(self, names: list[str], number: int) -> None:
        for name in names:
            pid = self._children[name].pid
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _keep_ports(self) -> None:
        """Keep the network's ports, also while a node is down."""
        with suppress(ConfigError):  # a network may have moved since
            plan = load_tree(self._directory)
            self._ports.keep(ports_of(plan.ports, len(plan.nodes)))

    def _look_for_newcomers(self) -> None:
        """Take over the nodes that have joined since the supervisor looked last."""
        try:
            changed_ns = joined_file(self._directory).stat().st_mtime_ns
        except OSError:
            return
        if changed_ns == self._joined_ns:
            return
        with suppress(ConfigError):
            self._plan, self._joined_ns = load_tree(self._directory), changed_ns
        for node in self._plan.nodes:
            self._children.setdefault(node.name, Child(node.name))

    # --- orders -----------------------------------------------------------------------------

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order."""
        self.reap()
        self._look_for_newcomers()
        names = request.get("nodes") or list(self._children)
        unknown = [name for name in names if name not in self._children]
        if unknown:
            return {"ok": False, "error": f"unknown node {unknown[0]}"}
        match request.get("do"):
            case "status":
                pass
            case "start":
                self._keep_ports()
                for name in names:
                    self.start(name, str(request.get("fail", "")), str(request.get("python", "")))
            case "stop":
                self.stop(names)
            case "kill":
                self.stop(names, is_kill=True)
            case "restart":
                self.stop(names)
                for name in names:
                    self.start(name, python=str(request.get("python", "")))
            case "down":
                self._is_stopping = True
                self.stop(list(self._children))
            case other:
                return {"ok": False, "error": f"unknown order {other!r}"}
        return {"ok": True, "nodes": [self._describe(self._children[name]) for name in names]}

    @staticmethod
    def _describe(child: Child) -> dict[str, Any]:
        return {
            "name": child.name,
            "pid": child.pid,
            "exit_code": child.exit_code,
            "starts": child.starts,
            "is_ready": child.is_ready,
        }

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(2.0)
            try:
                line = connection.makefile("rb").readline(REQUEST_BYTES_MAX)
                request = load_json(line)  # untrusted: anything on this machine can connect
                if request.get("token") != self._token:
                    answer: dict[str, Any] = {"ok": False, "error": "wrong token"}
                else:
                    answer = self.handle(request)
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, ValueError, AttributeError):
                return

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Serve orders until an order or a signal says to stop."""
        wake_read, wake_write = socket.socketpair()
        for end in (wake_read, wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            self._announce()
            while not self._is_stopping:
                for key, _ in selector.select(timeout=1.0):
                    if key.fileobj is wake_read:
                        with suppress(BlockingIOError):
                            wake_read.recv(4096)
                    else:
                        self._serve(self._listener.accept()[0])
                self.reap()
        self.stop(list(self._children))
        self._ports.give_up()
        control_file(self._directory).unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: object) -> None:
        if number != signal.SIGCHLD:
            self._is_stopping = True

    def _announce(self) -> None:
        """Publish the port and token, in a file that is complete and locked, or absent."""
        path = control_file(self._directory)
        content = {
            "pid": os.getpid(),
            "port": self._listener.getsockname()[1],
            "token": self._token,
            "orders": ["python"],  # what it knows beyond the first supervisors' orders
        }
        staging = path.with_suffix(".tmp")
        staging.unlink(missing_ok=True)
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until this process exits, as in `main`
        os.write(descriptor, json.dumps(content).encode())
        staging.rename(path)


def is_ending(pid: int) -> bool:
    """Whether a process that still exists has been killed or is exiting.

    Linux only; elsewhere the supervisor notices a process only once it has exited.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    state, *fields = stat.rpartition(")")[2].split()
    masks = [
        int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith(("SigPnd:", "ShdPnd:"))
    ]
    is_killed = any(mask >> (signal.SIGKILL - 1) & 1 for mask in masks)
    return is_killed or state in "ZX" or bool(int(fields[5]) & PROCESS_EXITING)


def _close_all_but(*kept: int) -> None:
    """Close the supervisor's descriptors: its sockets, and other children's pipes."""
    last = 2
    for descriptor in sorted(kept):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, DESCRIPTORS_MAX)


def _run_other(python: str, folder: Path, *pipes: int) -> int:
    """Replace this process by one of another interpreter; return an exit code if that fails."""
    for pipe in pipes:
        os.set_inheritable(pipe, True)
    os.environ.pop("PYTHONPATH", None)  # that of this Lowu
    arguments = [python, "-P", "-c", OTHER_NODE, str(folder), *map(str, pipes)]
    try:
        os.execv(python, arguments)  # noqa: S606  (a shell would only be in the way)
    except OSError as error:
        print(
            f"ConfigError: {python} cannot be run ({error.strerror})", file=sys.stderr, flush=True
        )
    return 3


def _say_ready(pipe: int) -> None:
    os.write(pipe, b"1")
    os.close(pipe)


def _die_with_parent() -> None:
    """On Linux, have the kernel kill this process when its parent exits."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _take(lock: int) -> bool:
    """Take the lock, retrying for a moment, since `is_supervised` holds it briefly."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        else:
            return True


def main() -> int:
    """Run the supervisor of a network folder."""
    directory = Path(sys.argv[1]).resolve()
    plan = load_tree(directory)
    # A descriptor stays open until this process exits; a Python file object would be closed
    # earlier, while the interpreter shuts down.
    lock = os.open(supervisor_lock(directory), os.O_RDWR | os.O_CREAT, 0o644)
    if not _take(lock):
        print("another supervisor already runs this network", file=sys.stderr)
        return 3
    control_file(directory).unlink(missing_ok=True)  # left by a supervisor that was killed
    warm_up()
    with suppress(ConfigError):  # each node says what is wrong with it
        build_genesis(plan.genesis)
    gc.collect()
    gc.freeze()
    Supervisor(directory, plan).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
