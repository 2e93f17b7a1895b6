"""Commands whose network or output fails in unexpected ways (N-F12, N-L3, N-L4)."""

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from lowu.node.topology.control import Control
from lowu.node.topology.supervisor_files import control_file, is_supervised
from tests.network.kit import Network, lowu, processes_of, wait_until


def run_to(output, *arguments):
    """Run `lowu` with its output redirected by the shell."""
    command = f'"$0" -m lowu "$@" {output}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )


def test_start_right_after_a_kill_from_outside_starts_the_node(network):
    """N-F12: the command answered "ok" with the old process's id, and started nothing."""
    control = Control(network.directory)
    for _ in range(5):
        (before,) = control.wait_until_settled(["node1"])
        os.kill(before["pid"], signal.SIGKILL)
        (after,) = control.order("start", ["node1"])
        assert after["pid"] not in (None, before["pid"])
        assert after["starts"] == before["starts"] + 1


def test_status_right_after_a_kill_from_outside_tells_it(network):
    (before,) = Control(network.directory).order("status", ["node1"])
    os.kill(before["pid"], signal.SIGKILL)
    (after,) = Control(network.directory).order("status", ["node1"])
    assert after["pid"] is None and after["exit_code"] == -signal.SIGKILL


def test_a_silent_program_on_the_port_of_a_killed_supervisor(network):
    """N-L3: each command waited for its answer; `lowu up` waited for a minute and a half."""
    pids = [node["pid"] for node in network.status()]
    entry = json.loads(control_file(network.directory).read_text())
    os.kill(entry["pid"], signal.SIGKILL)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the nodes stop")
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", entry["port"]))
        silent.listen()
        silent.setblocking(False)
        for command in ("status", "stop"):
            name = ("node0",) if command == "stop" else ()
            done = lowu(command, *name, "--dir", network.directory, check=False)
            assert done.returncode == 4
            assert f"Its last supervisor, process {entry['pid']}, ended" in done.stderr
        assert "nothing was running" in lowu("down", "--dir", network.directory).stdout
        again = Network(network.directory)
        assert again.up_result["was_running"] is False
        with pytest.raises(BlockingIOError):  # no command connected to it
            silent.accept()


@pytest.mark.parametrize(
    ("output", "code", "text"),
    [
        (">&-", 3, "standard output is closed"),
        (">/dev/full", 1, "No space left on device"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_up_that_cannot_tell_leaves_nothing(tmp_path, output, code, text, options):
    """N-L4: the command failed with a traceback and left a network running unnoticed."""
    directory = tmp_path / "nodes"
    done = run_to(output, "up", "pilot-2", "--dir", directory, *options)
    assert done.returncode == code
    *_, last = done.stderr.splitlines()
    assert last.startswith("error: ") and text in last and "Traceback" not in done.stderr
    assert processes_of(directory) == [] and not is_supervised(directory)


@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("accounts",), ("logs", "-n", "0")]
)
def test_results_that_cannot_be_written_are_told_in_a_line(shared, arguments):
    done = run_to(">/dev/full", *arguments, "--dir", shared.directory)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the result could not be written to standard output (No space left on device)"
    ]


def test_whoever_reads_no_more_is_told_nothing(shared):
    done = run_to("| head -n 1; exit 0", "logs", "-n", "0", "--dir", shared.directory)
    assert done.stderr == ""
    done = run_to("2>&1 | true", "logs", "-n", "0", "--dir", shared.directory)
    assert done.stderr == ""


@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_progress_that_cannot_be_written_costs_nothing(tmp_path, errors):
    directory = tmp_path / "nodes"
    try:
        done = run_to(f"{errors} >{tmp_path}/out", "up", "pilot-2", "--dir", directory)
        assert done.returncode == 0
        assert "ready at height" in (tmp_path / "out").read_text()
    finally:
        lowu("down", "--dir", directory)
