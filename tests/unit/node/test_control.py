"""Reaching a network's supervisor, or finding that there is none."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from lowu.node.errors import NodeError
from lowu.node.topology import control as control_module
from lowu.node.topology.control import Control, NotRunning
from lowu.node.topology.ports import reserve_ports
from lowu.node.topology.supervisor import is_ending
from lowu.node.topology.supervisor_files import control_file, is_supervised, supervisor_lock


@pytest.fixture
def listener():
    """A program that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.setblocking(False)
        yield found


@pytest.fixture
def folder(tmp_path, listener):
    """A network whose supervisor was killed, and whose port now belongs to another program."""
    (tmp_path / ".lowu").mkdir()
    supervisor_lock(tmp_path).touch()
    port = listener.getsockname()[1]
    entry = {"pid": os.getpid(), "port": port, "token": "t"}
    control_file(tmp_path).write_text(json.dumps(entry))
    return tmp_path


def test_a_supervisor_that_is_gone_is_not_asked_for(folder, listener):
    """N-L3: `lowu status` waited for 30 s; the pid may belong to another process, too."""
    assert not is_supervised(folder)
    with pytest.raises(NotRunning, match=rf"last supervisor, process {os.getpid()}, ended"):
        Control(folder).order("status")
    assert not Control(folder).is_running() and not Control(folder).down()
    with pytest.raises(BlockingIOError):  # no one has connected
        listener.accept()


def test_nor_is_it_while_another_supervisor_starts(folder, listener):
    """The new one has its lock, and not yet removed the control file: `lowu up` waited for 30 s."""
    with supervisor_lock(folder).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_supervised(folder) and not Control(folder).is_running()
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_one_of_an_earlier_lowu_is_not_asked_for_another_interpreter(folder):
    """It would start nodes of its own version, and say that it has done as it was told."""
    with control_file(folder).open("a") as published:
        fcntl.flock(published, fcntl.LOCK_EX)
        with pytest.raises(NodeError, match="the supervisor is of an earlier Lowu"):
            Control(folder).order("start", ["node0"], python="other")


def test_one_that_hangs_is_named(folder, monkeypatch):
    monkeypatch.setattr(control_module, "ORDER_S", 0.01)
    with control_file(folder).open("a") as published:
        fcntl.flock(published, fcntl.LOCK_EX)
        with pytest.raises(NodeError, match=f"`kill -9 {os.getpid()}` ends it"):
            Control(folder).order("status")


def answer_down(listener, folder):
    """Act as a supervisor that takes one order and removes its control file."""
    listener.setblocking(True)
    connection, _ = listener.accept()
    with connection:
        connection.makefile("rb").readline()
        control_file(folder).unlink()
        connection.sendall(b'{"ok": true, "nodes": []}\n')


@pytest.mark.parametrize("ends", [True, False])
def test_down_waits_until_the_supervisor_has_ended(folder, listener, monkeypatch, ends):
    """It still runs for a moment after its last order, and a script may remove the folder next."""
    asked = []

    def look(directory):
        asked.append(directory)
        if ends and len(asked) == 3:
            lock.close()
        return is_supervised(directory)

    monkeypatch.setattr(control_module, "is_supervised", look)
    monkeypatch.setattr(control_module, "ORDER_S", 20 if ends else 0.5)
    lock = supervisor_lock(folder).open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    published = control_file(folder).open("a")
    fcntl.flock(published, fcntl.LOCK_EX)
    supervisor = threading.Thread(target=answer_down, args=(listener, folder))
    supervisor.start()
    try:
        if ends:
            assert Control(folder).down() and lock.closed
        else:
            with pytest.raises(NodeError, match=f"has not ended .*`kill -9 {os.getpid()}`"):
                Control(folder).down()
    finally:
        supervisor.join()
        lock.close()
        published.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"pid":1,"port":"x","token":1}'])
def test_a_damaged_control_file_is_no_supervisor(folder, text):
    control_file(folder).write_text(text)
    with pytest.raises(NotRunning):
        Control(folder).order("status")


def test_a_killed_process_is_seen_to_end_before_it_has_ended():
    """N-F12: until a killed process can be reaped, it seems to run."""
    if sys.platform != "linux":
        pytest.skip("elsewhere a process is noticed only once it has exited")
    command = [sys.executable, "-c", "b = bytearray(10**8); print(1, flush=True); input()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        process.stdout.readline()
        assert not is_ending(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        assert is_ending(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_ending(process.pid), "until somebody reaps it"
        process.wait()
        assert not is_ending(process.pid)


@pytest.mark.parametrize("kind", ["folder", "link", "of another user"])
def test_ports_are_found_without_a_lock_if_need_be(tmp_path, monkeypatch, kind):
    """N-L4: the lock file belongs to another user, or is not a file."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    path, said = tmp_path / f"lowu-ports-{os.getuid()}.lock", []
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("")
        monkeypatch.setattr("os.open", _refuse)
    with reserve_ports(said.append):
        pass
    assert len(said) == 1 and f"{path} cannot be opened" in said[0]
    assert not (tmp_path / "elsewhere").exists()


def _refuse(*arguments):
    raise PermissionError(13, "Permission denied")


def test_the_lock_keeps_another_start_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("lowu.node.topology.ports.RESERVE_S", 0)
    said = []
    with reserve_ports(said.append):
        assert said == []
        with reserve_ports(said.append):
            assert said == ["another network is starting: waiting for it"]
