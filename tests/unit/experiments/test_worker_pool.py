"""Campaigns in several processes end at Ctrl-C, in the middle of their tasks."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lowu.experiments.worker_pool import WorkerLost, open_worker_pool


class Stop(BaseException):
    pass


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("tasks", [0, 1, 4])
def test_tasks_that_run_at_an_exception_are_terminated(method, tasks):
    options = {"tasks_per_worker": 1} if method == "spawn" else {}
    with pytest.raises(Stop), open_worker_pool(method, 2, **options) as pool:
        assert pool.submit(sum, [1, 2]).result() == 3
        waiting = [pool.submit(time.sleep, 3_600) for _ in range(tasks)]
        raise Stop
    assert [future.done() for future in waiting] == [True] * tasks


def test_a_worker_that_dies_is_told():
    with (
        pytest.raises(WorkerLost, match="a worker process died"),
        open_worker_pool("fork", 1) as pool,
    ):
        pool.submit(os._exit, 1).result()


COMMANDS = {
    "mutants": ("simulate", "--mutants", "--only", "B10,B11", "--jobs", "2"),
    "seeds": ("simulate", "--seeds", "100000", "--jobs", "2"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_campaign_and_its_workers(name):
    """It used to wait for all tasks that ran, up to ten minutes each."""
    command = subprocess.Popen(
        [sys.executable, "-P", "-m", "lowu", *COMMANDS[name]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    workers = wait_for_work(psutil.Process(command.pid))
    command.send_signal(signal.SIGINT)
    assert "interrupted" in command.communicate(timeout=60)[1]
    assert command.returncode == 130
    gone, left = psutil.wait_procs(workers, timeout=30)
    assert gone and left == []


def wait_for_work(command):
    """Return the worker processes of a command once two of them use the CPU."""
    while True:
        children = command.children(recursive=True)
        if sum(child.cpu_times().user > 0.3 for child in children) >= 2:
            return children
        time.sleep(0.05)
