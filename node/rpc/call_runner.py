"""Calls of contracts beside the event loop: many in one hop to a thread.

A hop takes longer than most calls. Calls wait for each client in a queue of its own; a worker
takes one of the client that has used the least, runs it in a thread, and goes on for a slice of
time. A call that is still waiting after a while (those before it are long) gets a worker more, up
to a limit. How long a call may run, and when, is the gate's to say (`lowu.node.rpc.call_gate`):
one that the gate postpones gives up its thread, waits in a second row, and is begun again.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import trio

from lowu.node.errors import CallAborted
from lowu.node.execution.machine import Watch
from lowu.node.rpc.call_gate import (
    LONG_MAX,
    SHORT_S,
    SLICE_S,
    CallGone,
    CallPostponed,
    CallWatch,
    Gate,
)

WORKERS_MAX = LONG_MAX + 2
"""Some are always left for calls that are not long."""
POSTPONED_MAX = 64
"""Calls that wait to be begun again; one more is ended."""
PATIENCE_S = 0.01
"""A call that waits longer asks for another worker."""
CLOSED_S = 0.005
"""How long a worker waits at least when calls have had their share."""
REFUSED_S = 1.0
"""How long a client waits to be told that too many long calls wait: else it asks again at once."""
CLIENTS_MAX = 2_000
"""Clients whose use is remembered."""


@dataclass(frozen=True, slots=True)
class Offloaded:
    """What a handler returns instead of a result: work to be done beside the event loop."""

    work: Callable[[Watch | None], Any]


class Call:
    """One piece of work for a client, and what became of it once it is done."""

    __slots__ = (
        "_has_left", "client", "done", "error", "is_gone", "postponed_s", "result", "work",
    )  # fmt: skip

    def __init__(
        self,
        work: Callable[[Watch | None], Any],
        client: Hashable = None,
        has_left: Callable[[], bool] = lambda: False,
    ) -> None:
        self.work = work
        self.client = client
        self._has_left = has_left
        self.is_gone = False
        self.postponed_s = 0.0
        self.result: Any = None
        self.error: Exception | None = None
        self.done = trio.Event()

    def has_gone(self) -> bool:
        """Whether nobody waits for the call any more. May be called from any thread."""
        self.is_gone = self.is_gone or self._has_left()
        return self.is_gone


class CallRefused(CallAborted):
    """Too many long calls wait."""


class InlineRunner:
    """Runs calls in the event loop: threads have no place in virtual time."""

    async def run(self, calls: Sequence[Call]) -> None:
        """Run calls; their results or errors are in them at the end."""
        for item in calls:
            await trio.lowlevel.checkpoint()
            _run_one(item, None)
            item.done.set()


class _Queues:
    """Calls that wait, by client: the next is one of the client that has used the least.

    Whoever comes back starts level with who was served last, so that a pause earns nothing; who is
    new starts behind, so that a new connection for each call earns nothing either. Among new ones
    the last is served first: while there are more than can be served, those that wait in vain make
    no new ones.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._fresh: dict[Hashable, deque[Call]] = {}
        self._postponed: dict[Hashable, deque[Call]] = {}
        self._used_s: OrderedDict[Hashable, float] = OrderedDict()
        self._level_s = 0.0
        """What the client had used that was served last, or more."""
        self.taken = 0
        """Calls taken that were never begun."""

    def add(self, calls: Sequence[Call]) -> None:
        with self._lock:
            for item in calls:
                self._add(self._fresh, item)

    def postpone(self, item: Call) -> list[Call]:
        """Let a call wait to be begun again; if too many do, return those to be refused.

        These are the ones for which nobody waits; or the newest of the client that has most, and
        among equals has used the most.
        """
        item.postponed_s = time.monotonic()
        with self._lock:
            self._add(self._postponed, item)
            waiting = [one for calls in self._postponed.values() for one in calls]
            if len(waiting) <= POSTPONED_MAX:
                return []
            refused = [one for one in waiting if one.has_gone()]
            refused = refused or [self._postponed[max(self._postponed, key=self._weigh)][-1]]
            self._postponed = {}
            for one in waiting:
                if one not in refused:
                    self._add(self._postponed, one)
            return refused

    def _weigh(self, client: Hashable) -> tuple[int, float]:
        return len(self._postponed[client]), self._used_s.get(client, 0.0)

    def _add(self, row: dict[Hashable, deque[Call]], item: Call) -> None:
        if item.client not in self._fresh and item.client not in self._postponed:
            used_s = self._used_s.pop(item.client, self._level_s + SHORT_S)
            self._used_s[item.client] = max(self._level_s, used_s)
        row.setdefault(item.client, deque()).append(item)

    def take(self) -> Call | None:
        """Take a call that was never begun; None if none waits."""
        item = self._take(self._fresh)
        self.taken += item is not None
        return item

    def take_postponed(self) -> Call | None:
        """Take a call that is to be begun again; None if none waits."""
        return self._take(self._postponed)

    def _take(self, row: dict[Hashable, deque[Call]]) -> Call | None:
        with self._lock:
            if not row:
                return None
            client = min(reversed(row), key=lambda key: self._used_s.get(key, 0.0))
            self._level_s = max(self._level_s, self._used_s.get(client, 0.0))
            calls = row[client]
            item = calls.popleft()
            if not calls:
                del row[client]
            return item

    def count(self, client: Hashable, used_s: float) -> None:
        """Remember what a client has used."""
        with self._lock:
            self._used_s[client] = self._used_s.pop(client, 0.0) + used_s
            while len(self._used_s) > CLIENTS_MAX:
                self._used_s.popitem(last=False)

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)

    @property
    def has_postponed(self) -> bool:
        return bool(self._postponed)

    def postponed_since(self) -> float | None:
        """Return when the oldest of the postponed calls was; None if none waits."""
        with self._lock:
            waiting = [item.postponed_s for calls in self._postponed.values() for item in calls]
        return min(waiting, default=None)


class CallRunner:
    """Runs calls in threads, within what the gate allows."""

    def __init__(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._waiting = _Queues()
        self._workers = 0
        self._is_patient = self._is_waiting_to_open = False
        self._limiter = trio.CapacityLimiter(WORKERS_MAX)
        self._gate = Gate(is_busy, self._waiting.postponed_since)
        self._token: trio.lowlevel.TrioToken | None = None

    async def run(self, calls: Sequence[Call]) -> None:
        """Run calls in threads; their results or errors are in them at the end."""
        self._waiting.add(calls)
        self._token = trio.lowlevel.current_trio_token()
        if calls and self._workers == 0:
            self._start_worker()
        if not self._is_patient:
            self._is_patient = True
            trio.lowlevel.spawn_system_task(self._start_more)
        try:
            for item in calls:
                await item.done.wait()
            if any(isinstance(item.error, CallRefused) for item in calls):
                await trio.sleep(REFUSED_S)
        finally:
            for item in calls:
                item.is_gone = True

    async def _start_more(self) -> None:
        """Start another worker whenever calls wait and none is begun for a while."""
        try:
            while self._waiting.has_fresh:
                taken = self._waiting.taken
                await trio.sleep(PATIENCE_S)
                is_stuck = taken == self._waiting.taken and self._waiting.has_fresh
                if is_stuck and self._workers < WORKERS_MAX and self._gate.is_open():
                    self._start_worker()
        finally:
            self._is_patient = False

    def _start_worker(self) -> None:
        self._workers += 1
        trio.lowlevel.spawn_system_task(self._serve)

    async def _serve(self) -> None:
        """Take what waits to a thread, until nothing does that may be run."""
        try:
            while self._waiting.has_fresh or (
                self._waiting.has_postponed and self._gate.has_room()
            ):
                closed_s = self._gate.closed_for_s()
                if closed_s:
                    if self._is_waiting_to_open:
                        return  # one is enough to wait
                    self._is_waiting_to_open = True
                    await trio.sleep(max(CLOSED_S, closed_s))
                    self._is_waiting_to_open = False
                    continue
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
                break
            if self._run_postponed(finished):
                continue
            item = self._waiting.take()
            if item is None:
                break
            self._run_watched(item, self._gate.begin(item.has_gone), finished)
        return finished

    def _run_postponed(self, finished: list[Call]) -> bool:
        """Begin a long call again, if there is one and room for it."""
        watch = self._gate.begin_long(lambda: False) if self._waiting.has_postponed else None
        if watch is None:
            return False
        item = self._waiting.take_postponed()
        if item is None:
            self._gate.finish(watch)
            return False
        watch.is_gone = item.has_gone
        self._run_watched(item, watch, finished)
        return True

    def _run_watched(self, item: Call, watch: CallWatch, finished: list[Call]) -> None:
        """Run a call; if it is a long one, those before it in this thread do not wait for it."""

        def hand_over() -> None:
            if finished and self._token is not None:
                self._token.run_sync_soon(_tell, finished[:])
                finished.clear()

        watch.on_slice = hand_over
        try:
            if item.has_gone():
                item.error = CallGone()
            else:
                _run_one(item, watch)
        finally:
            self._gate.finish(watch)
            self._waiting.count(item.client, watch.cpu_s)
        if not isinstance(item.error, CallPostponed):
            finished.append(item)
            return
        item.error = None
        for refused in self._waiting.postpone(item):
            refused.error = CallRefused("execution aborted: too many long calls wait; try again")
            finished.append(refused)


def _tell(finished: Sequence[Call]) -> None:
    for item in finished:
        item.done.set()


def _run_one(item: Call, watch: Watch | None) -> None:
    try:
        item.result = item.work(watch)
    except Exception as error:  # noqa: BLE001  (raised where it is waited for)
        item.error = error
