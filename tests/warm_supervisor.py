"""A supervisor for commands of tests, forked from a process that has imported the node's code.

Most of what a new network computes is the imports of its supervisor. Networks that tests start with
their own Python, and those of demos, have a supervisor that starts as a user's does.
"""

import os
import signal
import sys
from contextlib import suppress

FIRST_OPEN = 3
DESCRIPTORS_MAX = 4096


class WarmSupervisor:
    """A process that waits for the folder of a network, then becomes its supervisor.

    It has the methods of `lowu.node.topology.control.SupervisorProcess`.
    """

    def __init__(self):
        reading, self._pipe = os.pipe()
        self._code = None
        self._pid = os.fork()  # before this process has threads
        if self._pid == 0:
            _wait_and_supervise(reading)
        os.close(reading)

    def launch(self, directory, log):
        """Let it supervise a network; its output goes to a log."""
        with os.fdopen(self._pipe, "w") as order:
            order.write(f"{directory}\n{log}")
        return self

    def poll(self):
        """Return its exit code; None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self):
        """Wait until it has exited; return its exit code."""
        return self._reap(0)

    def kill(self):
        """Kill it."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def _reap(self, options):
        if self._code is None:
            pid, status = os.waitpid(self._pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


def _wait_and_supervise(reading):
    code = 1
    try:
        os.setsid()
        os.closerange(FIRST_OPEN, reading)
        os.closerange(reading + 1, DESCRIPTORS_MAX)
        with os.fdopen(reading) as orders:
            order = orders.read()
        if order:
            code = _supervise(*order.split("\n"))
    finally:
        os._exit(code)


def _supervise(directory, log):
    from lowu.node.topology import supervisor

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    sys.argv = ["supervisor", directory]
    return supervisor.main()
