"""Talking to a network's supervisor, and starting one."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from lowu.node.errors import MachineRefuses, NodeError
from lowu.node.topology.plan import HOST
from lowu.node.topology.supervisor_files import (
    control_file,
    is_locked,
    is_supervised,
    supervisor_log,
)

START_S = 30.0
ORDER_S = 30.0
POLL_S = 0.01
CHILD_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
"""For the supervisor and its child processes: sets have a fixed order, no module is imported from
the folder where a command was called, and text is UTF-8 whatever the locale."""


class SupervisorProcess(Protocol):
    """A supervisor's process, as the program that launched it sees it."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self) -> int:
        """Wait until it has exited; return its exit code."""

    def kill(self) -> None:
        """Kill it."""


def launch_supervisor(directory: Path, log: Path) -> SupervisorProcess:
    """Start the process of a supervisor, whose output goes to a log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "lowu.node.topology.supervisor", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **CHILD_ENVIRONMENT},
        )


class NotRunning(NodeError):
    """No supervisor serves this network."""

    exit_code = 4


class Control:
    """Sends orders to the supervisor of a network folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()

    def order(
        self, do: str, nodes: list[str] | None = None, fail: str = "", python: str = ""
    ) -> list[dict[str, Any]]:
        """Send an order and return the states of the nodes in it.

        Nodes that are started with `fail` fail once at the durable step that it names
        (`node/simulation/failpoints.py`), if their network has `allow_lies`. Those that are started
        with `python` are run by that interpreter, with the Lowu that is installed for it.

        Raises:
            NotRunning: there is no supervisor.
            NodeError: the supervisor refused.
        """
        start = f"`lowu up --dir {shlex.quote(str(self._directory))}`"
        not_running = f"{self._directory}: the network is not running; start it with {start}"
        try:
            with control_file(self._directory).open(encoding="utf-8") as file:
                info, is_alive = json.load(file), is_locked(file)
            pid, port, token = info["pid"], info["port"], info["token"]
            if python and "python" not in info.get("orders", ()):
                raise NodeError(
                    f"{self._directory}: the supervisor is of an earlier Lowu, and starts nodes of "
                    "its own version only. `lowu down` and `lowu up` start one of this version"
                )
            if not is_alive:  # the port may be another program's by now
                ended = f"Its last supervisor, process {pid}, ended without stopping it."
                raise NotRunning(f"{not_running}. {ended}")
            with socket.create_connection((HOST, port), timeout=ORDER_S) as connection:
                request = {
                    "token": token, "do": do, "nodes": nodes, "fail": fail, "python": python,
                }  # fmt: skip
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(connection.makefile("rb").readline() or b"{}")
        except TimeoutError as error:
            raise NodeError(
                f"{self._directory}: the supervisor, process {pid}, has not answered for "
                f"{ORDER_S:.0f} s; if it hangs, `kill -9 {pid}` ends it and its nodes"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotRunning(not_running) from error
        if not answer.get("ok"):
            raise NodeError(str(answer.get("error", "the supervisor gave no answer")))
        found: list[dict[str, Any]] = answer["nodes"]
        return found

    def start(self, nodes: list[str]) -> None:
        """Start nodes, and return once each answers, or has exited.

        An order alone returns once the processes run: their ports open some time later.
        """
        self.order("start", nodes)
        self.wait_until_settled(nodes)

    def wait_until_settled(
        self, nodes: list[str] | None = None, within_s: float = START_S
    ) -> list[dict[str, Any]]:
        """Return the nodes' states once each has opened its ports, or has exited.

        Nodes that have done neither `within_s` are returned as they are.
        """
        deadline = time.monotonic() + within_s
        while True:
            states = self.order("status", nodes)
            is_settled = all(item["is_ready"] or item["pid"] is None for item in states)
            if is_settled or time.monotonic() > deadline:
                return states
            time.sleep(POLL_S)

    def is_running(self) -> bool:
        """Whether a supervisor answers."""
        try:
            self.order("status")
        except NodeError:
            return False
        return True

    def start_supervisor(self) -> None:
        """Start a supervisor in the background and wait until it takes orders."""
        log = supervisor_log(self._directory)
        process = launch_supervisor(self._directory, log)
        deadline = time.monotonic() + START_S
        while not self.is_running():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise MachineRefuses(
                    f"the supervisor did not start; the last lines of {log}:\n"
                    + "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
                )
            time.sleep(POLL_S)
        # Usually it outlives this program; if it exits first, it must not stay a zombie.
        threading.Thread(target=process.wait, daemon=True).start()

    def down(self) -> bool:
        """Stop all nodes and the supervisor; return whether a supervisor was running.

        Afterwards no process of the network runs, and its folder can be removed.

        Raises:
            NodeError: the supervisor refused, or hangs.
        """
        try:
            pid = json.loads(control_file(self._directory).read_text(encoding="utf-8"))["pid"]
            self.order("down")
        except (NotRunning, OSError, ValueError, KeyError, TypeError):
            return False
        deadline = time.monotonic() + ORDER_S
        while control_file(self._directory).exists() or is_supervised(self._directory):
            if time.monotonic() > deadline:
                raise NodeError(
                    f"{self._directory}: the nodes have stopped, but the supervisor, process "
                    f"{pid}, has not ended for {ORDER_S:.0f} s; `kill -9 {pid}` ends it"
                )
            time.sleep(POLL_S)
        return True
