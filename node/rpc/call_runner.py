"""Calls of contracts beside the event loop: many in one hop to a thread.

A hop takes longer than most calls. Calls wait in one queue; a worker takes them to a thread and
runs them there, one after the other, for at most a slice of time. A call that is still waiting
after a while (the one before it is long) gets a worker more, up to a limit. A call whose client
has gone is not begun; one that has begun runs to its end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

WORKERS_MAX = 2
SLICE_S = 0.005
"""A worker comes back with what it has done at least so often, but for a single long call."""
PATIENCE_S = 0.01
"""A call that waits longer asks for another worker."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a handler returns instead of a result: work to be done beside the event loop."""

    work: Callable[[], Any]


class Call:
    """One piece of work, and what became of it once it is done."""

    __slots__ = ("done", "error", "is_begun", "is_gone", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.is_begun = False
        self.is_gone = False
        self.result: Any = None
        self.error: Exception | None = None
        self.done = trio.Event()


class InlineRunner:
    """Runs calls in the event loop: threads have no place in virtual time."""

    async def run(self, calls: Sequence[Call]) -> None:
        """Run calls; their results or errors are in them at the end."""
        for item in calls:
            await trio.lowlevel.checkpoint()
            _run_one(item)
            item.done.set()


class CallRunner:
    """Runs calls in threads, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._workers = 0
        self._limiter = trio.CapacityLimiter(WORKERS_MAX)

    async def run(self, calls: Sequence[Call]) -> None:
        """Run calls in threads; their results or errors are in them at the end."""
        self._waiting.extend(calls)
        if calls and self._workers == 0:
            self._start_worker()
        try:
            for item in calls:
                if not item.done.is_set():
                    await self._wait(item)
        finally:
            for item in calls:
                item.is_gone = True

    async def _wait(self, item: Call) -> None:
        while not item.is_begun:
            with trio.move_on_after(PATIENCE_S):
                await item.done.wait()
                return
            if not item.is_begun and self._workers < WORKERS_MAX:
                self._start_worker()
        await item.done.wait()

    def _start_worker(self) -> None:
        self._workers += 1
        trio.lowlevel.spawn_system_task(self._serve)

    async def _serve(self) -> None:
        """Take what waits to a thread, until nothing does."""
        try:
            while self._waiting:
                finished = await trio.to_thread.run_sync(
                    self._drain, limiter=self._limiter, abandon_on_cancel=True
                )
                for item in finished:
                    item.done.set()
        finally:
            self._workers -= 1

    def _drain(self) -> list[Call]:
        """Run calls for a slice of time, in a thread. Others may take from the queue as well."""
        finished: list[Call] = []
        end_s = time.monotonic() + SLICE_S
        while time.monotonic() < end_s:
            try:
                item = self._waiting.popleft()
            except IndexError:
                break
            item.is_begun = True
            if not item.is_gone:
                _run_one(item)
            finished.append(item)
        return finished


def _run_one(item: Call) -> None:
    try:
        item.result = item.work()
    except Exception as error:  # noqa: BLE001  (raised where it is waited for)
        item.error = error
