"""The machine that a virtual network runs on: what work costs, and which of it goes first.

A virtual network does its work in no time at all. With a machine, each piece of it takes the time
that a cost model gives: nodes share a number of cores, each does one thing at a time, and what a
node sends leaves once the work before it is done. All follows from the model and the order of
events, so a run can be repeated to the byte.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from lowu.node.metrics import CpuTimes, Part
from lowu.node.simulation.costs import CostModel, Work

QUANTUM_S = 0.005
"""How long one piece of work keeps a core, or a node, before others have a turn: CPython's switch
interval, and about what Linux grants a process among others."""

TICK_S = 0.0001
"""The machine's own events have exact times, but the nodes see them at the next tick, many at once:
a network of many nodes needs far fewer steps of the scheduler so."""
ROUNDING_S = 1e-9

T = TypeVar("T")
Done = Callable[[], None]


@dataclass(slots=True)
class _Job:
    cpu_s: float
    wait_s: float
    done: Done | None


@dataclass(slots=True)
class _Agent:
    """A process of the machine: a node, the generator, the relays."""

    name: str
    loop: deque[_Job] = field(default_factory=deque)
    """What its event loop has to do, in order."""
    thread: deque[_Job] = field(default_factory=deque)
    """What a thread beside the loop has to do; it yields to the loop every `QUANTUM_S`."""
    is_busy: bool = False
    """Whether it waits for a core, has one, or waits for its disk."""
    pauses: int = 0
    """How many faults keep it stopped."""
    is_in_thread: bool = False
    """Whether the work that is being done now is a thread's."""
    spent_s: float = 0.0


class Machine:
    """Cores that processes share, in virtual time."""

    def __init__(self, model: CostModel) -> None:
        self.model = model
        self._idle = model.cores or math.inf
        self._agents: dict[str, _Agent] = {}
        self._ready: deque[_Agent] = deque()
        self._timers: list[tuple[float, int, Done]] = []
        """What is to be done when, in order."""
        self._number = 0
        self.tally: defaultdict[tuple[str, Work], list[int]] = defaultdict(lambda: [0, 0])
        """By process and kind of work: how often, and of how many items."""
        self.disk_delays_s: dict[str, float] = {}
        """By process: how much longer each durable write takes."""
        self._wait = trio.CancelScope()
        self._event_s: float | None = None
        """The time of the event that is being handled; None while none is."""

    def spent_s(self, name: str) -> float:
        """Return the CPU seconds that a process has spent."""
        return self._agent(name).spent_s

    def _agent(self, name: str) -> _Agent:
        return self._agents.setdefault(name, _Agent(name))

    # --- work -------------------------------------------------------------------------------

    def charge(self, name: str, work: Work, items: int = 1, done: Done | None = None) -> float:
        """Give a process work, and return its CPU seconds; see `submit`."""
        cost = self.model.costs[work]
        tally = self.tally[name, work]
        tally[0] += 1
        tally[1] += items
        cpu_s = cost.of(items)
        slowed_s = self.disk_delays_s.get(name, 0.0) if work is Work.STORAGE else 0.0
        self.submit(name, cpu_s, done, cost.wait_s + slowed_s)
        return cpu_s

    def submit(self, name: str, cpu_s: float, done: Done | None = None, wait_s: float = 0) -> None:
        """Give a process work to do after what it has already; `done` is called at its end."""
        agent = self._agent(name)
        queue = agent.thread if agent.is_in_thread else agent.loop
        if queue and queue[-1].done is None and (agent.is_busy or agent.pauses):
            last = queue[-1]
            last.cpu_s, last.wait_s, last.done = last.cpu_s + cpu_s, last.wait_s + wait_s, done
        else:
            queue.append(_Job(cpu_s, wait_s, done))
        self._offer(agent)

    async def spend(self, name: str, work: Work, items: int = 1) -> None:
        """Return once a process has done some work, and all that it had to do before."""
        event = trio.Event()
        self.charge(name, work, items, event.set)
        await event.wait()

    async def settle(self, name: str) -> None:
        """Return once a process has done all that it has to do now."""
        event = trio.Event()
        self.submit(name, 0.0, event.set)
        await event.wait()

    async def run_in_thread(self, name: str, work: Callable[[], T]) -> T:
        """Do work of a node's thread; return its result once its time has passed."""
        await trio.sleep(self.model.hop_s)
        agent, event = self._agent(name), trio.Event()
        agent.is_in_thread = True
        try:
            result = work()
            self.submit(name, 0.0, event.set)
        finally:
            agent.is_in_thread = False
        await event.wait()
        await trio.sleep(self.model.hop_s)
        return result

    async def idle(self, name: str) -> None:
        """Have a process do, for ever, what it does whatever happens."""
        while True:
            await trio.sleep(1.0)
            self.charge(name, Work.IDLE)

    def forget(self, name: str) -> None:
        """End a process: what it had to do ends now; its links must be broken already."""
        agent = self._agent(name)
        jobs = [*agent.loop, *agent.thread]
        agent.loop.clear()
        agent.thread.clear()
        for job in jobs:
            job.cpu_s = job.wait_s = 0.0
            if job.done is not None:
                job.done()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Stop a process while in the context, as SIGSTOP does; what it does now, it ends."""
        agent = self._agent(name)
        agent.pauses += 1
        try:
            yield
        finally:
            agent.pauses -= 1
            self._offer(agent)

    # --- scheduling -------------------------------------------------------------------------

    def _offer(self, agent: _Agent) -> None:
        """Let a process that has work, and does none, take a core."""
        if agent.is_busy or agent.pauses or not (agent.loop or agent.thread):
            return
        agent.is_busy = True
        self._ready.append(agent)
        self._hand_out()

    def _hand_out(self) -> None:
        """Give idle cores to those who wait for one, in order."""
        while self._ready and self._idle > 0:
            agent = self._ready.popleft()
            if agent.pauses or not (agent.loop or agent.thread):
                agent.is_busy = False
                continue
            self._idle -= 1
            self._begin(agent)

    def _begin(self, agent: _Agent) -> None:
        job = agent.loop[0] if agent.loop else agent.thread[0]
        slice_s = min(job.cpu_s, QUANTUM_S)
        agent.spent_s += slice_s
        self.at(self._now_s() + slice_s, partial(self._end, agent, job, slice_s))

    def at(self, time_s: float, callback: Done) -> None:
        """Call back at a time; what is due at the same time is called in order."""
        is_first = not self._timers or time_s < self._timers[0][0]
        self._number += 1
        heapq.heappush(self._timers, (time_s, self._number, callback))
        if is_first:
            self._wait.deadline = _find_tick(time_s)

    def _now_s(self) -> float:
        """Return the time of what is being done now, or the clock's."""
        return trio.current_time() if self._event_s is None else self._event_s

    def _end(self, agent: _Agent, job: _Job, slice_s: float) -> None:
        """A slice of a job has ended: free its core."""
        self._idle += 1
        job.cpu_s -= slice_s
        if job.cpu_s <= 0 and job.wait_s > 0:
            wait_s, job.wait_s = job.wait_s, 0.0
            self.at(self._now_s() + wait_s, partial(self._go_on, agent, job))
        else:
            self._go_on(agent, job)
        self._hand_out()

    def _go_on(self, agent: _Agent, job: _Job) -> None:
        """Neither a core nor a disk holds a process any more."""
        agent.is_busy = False
        if job.cpu_s <= 0:
            _remove(agent, job)
        self._offer(agent)

    async def run(self) -> None:
        """Do work for ever."""
        while True:
            now_s = trio.current_time() + ROUNDING_S
            while self._timers and self._timers[0][0] <= now_s:
                self._event_s, _, callback = heapq.heappop(self._timers)
                callback()
            self._event_s = None
            first_s = self._timers[0][0] if self._timers else math.inf
            with trio.CancelScope(deadline=_find_tick(first_s)) as self._wait:
                await trio.sleep_forever()


def _find_tick(time_s: float) -> float:
    """Return when what happens at a time is seen: at the next tick."""
    return math.ceil(time_s / TICK_S - 1e-6) * TICK_S if time_s < math.inf else time_s


def _remove(agent: _Agent, job: _Job) -> None:
    for queue in (agent.loop, agent.thread):
        if queue and queue[0] is job:
            queue.popleft()
    if job.done is not None:
        job.done()


class SimulatedCpu(CpuTimes):
    """A node's parts, each of whose measured spans costs what the model says."""

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__()
        self._machine = machine
        self._name = name

    def measure(self, part: Part, items: int = 1) -> AbstractContextManager[None]:
        """Let the node spend the cost of so many transactions, or messages, after the body."""
        return self._spend(part, items)

    @contextmanager
    def _spend(self, part: Part, items: int) -> Iterator[None]:
        yield
        self.add(part, self._machine.charge(self._name, Work(part.value), items))
