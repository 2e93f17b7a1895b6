"""The `lowu` command for tests: `python -m lowu`, forked from a process that has imported it.

Most commands spend most of their time on imports, and the suite runs hundreds of them. Tests of the
start itself (locales, modules of the current folder, signals) start their own Python.
"""

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile

from tests.warm_supervisor import WarmSupervisor

NETWORKS = {
    "up": 1, "experiment": 2, "scenarios": 12, "bench": 3, "crash-matrix": 2, "crash-test": 1,
}  # fmt: skip
"""Commands that start networks, and for how many of them a supervisor waits that has imported its
code. What a start takes, imports included, `lowu bench start` tells outside of tests only."""

_PARENT = multiprocessing.get_context("forkserver")
_PARENT.set_forkserver_preload(["tests.command_imports"])


def run_command(arguments, cwd=None, timeout=120, environment=None):
    """Run `lowu` and return the finished process, with its output as text.

    Raises:
        subprocess.TimeoutExpired: the command was killed after `timeout` seconds.
    """
    arguments = [str(argument) for argument in arguments]
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        files = (output.name, errors.name)
        child = _PARENT.Process(
            target=_be_command,
            args=(arguments, cwd or os.getcwd(), dict(environment or os.environ), files),
        )
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(["lowu", *arguments], timeout)
        texts = [_read(stream) for stream in (output, errors)]
        code = child.exitcode
        child.close()
    return subprocess.CompletedProcess(["lowu", *arguments], code, *texts)


def _read(stream):
    stream.seek(0)
    return stream.read().decode()


def _be_command(arguments, cwd, environment, files):
    for number, name in enumerate((os.devnull, *files)):
        opened = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    be_command(arguments, cwd, environment)


def be_command(arguments, cwd, environment):
    """Be the `lowu` command, with the streams that this process has; never returns."""
    become(["lowu", *arguments], cwd, environment)
    from lowu.cli import main

    keep_supervisors_warm(NETWORKS.get(arguments[0], 0) if arguments else 0)
    sys.exit(main())


def keep_supervisors_warm(count):
    """Let the first networks that this process starts have a supervisor that waits already."""
    from lowu.node.topology import control

    waiting = [WarmSupervisor() for _ in range(count)]
    start_cold = control.launch_supervisor

    def launch(directory, log):
        return waiting.pop().launch(directory, log) if waiting else start_cold(directory, log)

    control.launch_supervisor = launch


def become(called, cwd, environment):
    """Be a process that was called so, with the streams that this one has."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, mode, closefd=False), encoding="utf-8")
        for number, mode in enumerate("rww")
    )
    sys.argv = list(called)
