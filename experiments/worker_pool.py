"""Processes for the tasks of long campaigns, which end when the campaign does."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import ClassVar


class WorkerLost(Exception):
    """A worker process died in the middle of its tasks."""

    exit_code: ClassVar[int] = 1


@contextmanager
def open_worker_pool(
    method: str, workers: int, *, tasks_per_worker: int | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes, started by `method` (fork or spawn).

    If the block ends by an exception, Ctrl-C for instance, tasks that run are terminated: Python
    would wait for each, and one may take minutes. Do not cancel futures, as `Executor.map` does:
    the thread of Python 3.11 that sees a worker die then fails in turn.

    Raises:
        WorkerLost: a worker died.
    """
    others = multiprocessing.active_children()
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(
        workers, context, initializer=_leave_ctrl_c_to_parent, max_tasks_per_child=tasks_per_worker
    )
    try:
        yield pool
    except BaseException as error:
        _terminate(pool, others)
        if isinstance(error, BrokenProcessPool):
            text = "a worker process died, probably out of memory: run fewer with --jobs"
            raise WorkerLost(text) from error
        raise
    else:
        pool.shutdown(cancel_futures=True)


def _terminate(pool: ProcessPoolExecutor, others: list[BaseProcess]) -> None:
    """Terminate all workers, and those that the pool starts meanwhile in place of others.

    A worker that dies with a queue's lock in its hand would have the next one wait for ever.
    """
    end = Thread(target=pool.shutdown, daemon=True)
    end.start()
    while end.is_alive():
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        end.join(0.05)


def _leave_ctrl_c_to_parent() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
