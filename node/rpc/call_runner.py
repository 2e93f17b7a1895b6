"""Calls of contracts beside the event loop: many in one hop to a thread.

A hop takes longer than most calls. Calls wait for each client in a queue of its own; a worker
takes one of the client that has used the least, runs it in a thread, and goes on for a slice of
time. A call that is still waiting after a while (those before it are long) gets a worker more, up
to a limit. How long a call may run, and when, is the gate's to say (`node.rpc.call_gate`).
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import trio

from node.execution.machine import Watch
from node.rpc.call_gate import LONG_MAX, SLICE_S, Gate

WORKERS_MAX = LONG_MAX + 2
PATIENCE_S = 0.01
"""A call that waits longer asks for another worker."""
CLOSED_S = 0.005
"""How long a worker waits when calls have had their share."""
CLIENTS_MAX = 2_000
"""Clients whose use is remembered."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a handler returns instead of a result: work to be done beside the event loop."""

    work: Callable[[Watch | None], Any]


class Call:
    """One piece of work for a client, and what became of it once it is done."""

    __slots__ = ("client", "done", "error", "is_begun", "is_gone", "result", "work")

    def __init__(self, work: Callable[[Watch | None], Any], client: Hashable = None) -> None:
        self.work = work
        self.client = client
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
            _run_one(item, None)
            item.done.set()


class _Queues:
    """Calls that wait, by client: the next is one of the client that has used the least."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[Hashable, deque[Call]] = {}
        self._used_s: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, calls: Sequence[Call]) -> None:
        with self._lock:
            for item in calls:
                self._waiting.setdefault(item.client, deque()).append(item)

    def take(self) -> Call | None:
        with self._lock:
            if not self._waiting:
                return None
            client = min(self._waiting, key=lambda key: self._used_s.get(key, 0.0))
            calls = self._waiting[client]
            item = calls.popleft()
            if not calls:
                del self._waiting[client]
            return item

    def count(self, client: Hashable, used_s: float) -> None:
        """Remember what a client has used."""
        with self._lock:
            self._used_s[client] = self._used_s.pop(client, 0.0) + used_s
            while len(self._used_s) > CLIENTS_MAX:
                self._used_s.popitem(last=False)

    def __len__(self) -> int:
        return len(self._waiting)


class CallRunner:
    """Runs calls in threads, within what the gate allows."""

    def __init__(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._waiting = _Queues()
        self._workers = 0
        self._limiter = trio.CapacityLimiter(WORKERS_MAX)
        self._gate = Gate(is_busy)
        self._token: trio.lowlevel.TrioToken | None = None

    async def run(self, calls: Sequence[Call]) -> None:
        """Run calls in threads; their results or errors are in them at the end."""
        self._waiting.add(calls)
        self._token = trio.lowlevel.current_trio_token()
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
                _tell(finished)
        finally:
            self._workers -= 1

    def _drain(self) -> list[Call]:
        """Run calls for a slice of time, in a thread. Others may take from the queues as well."""
        finished: list[Call] = []
        end_s = time.monotonic() + SLICE_S
        while time.monotonic() < end_s:
            if not self._gate.is_open():
                time.sleep(CLOSED_S)
                break
            item = self._waiting.take()
            if item is None:
                break
            item.is_begun = True
            if not item.is_gone:
                self._run_watched(item, finished)
            finished.append(item)
        return finished

    def _run_watched(self, item: Call, finished: list[Call]) -> None:
        """Run a call; if it is a long one, those before it in this thread do not wait for it."""

        def hand_over() -> None:
            if finished and self._token is not None:
                self._token.run_sync_soon(_tell, finished[:])
                finished.clear()

        watch = self._gate.begin(lambda: item.is_gone, hand_over)
        try:
            _run_one(item, watch)
        finally:
            self._gate.finish(watch)
            self._waiting.count(item.client, watch.cpu_s)


def _tell(finished: Sequence[Call]) -> None:
    for item in finished:
        item.done.set()


def _run_one(item: Call, watch: Watch | None) -> None:
    try:
        item.result = item.work(watch)
    except Exception as error:  # noqa: BLE001  (raised where it is waited for)
        item.error = error
