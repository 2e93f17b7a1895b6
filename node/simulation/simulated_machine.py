"""The machine that a virtual network runs on: what work costs, and which of it goes first.

A virtual network does its work in no time at all. With a machine, each piece of it takes the time
that a cost model gives: nodes share a number of cores, each does one thing at a time, and what a
node sends leaves once the work before it is done. All follows from the model and the order of
events, so a run can be repeated to the byte.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from lowu.node.metrics import CpuTimes, Part
from lowu.node.simulation.agenda import Agenda, Done
from lowu.node.simulation.costs import CostModel, Work

WORK_OF = {part: Work(part.value) for part in Part}
QUANTUM_S = 0.005
"""How long one piece of work keeps a core, or a node, before others have a turn: CPython's switch
interval, and about what Linux grants a process among others."""

T = TypeVar("T")


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
    tally: dict[Work, list[int]] = field(default_factory=lambda: {work: [0, 0] for work in Work})
    """By kind of work: how often, and of how many items."""


class Machine:
    """Cores that processes share, in virtual time."""

    def __init__(self, model: CostModel) -> None:
        self.model = model
        self._idle = model.cores or math.inf
        self._agents: dict[str, _Agent] = {}
        self._ready: deque[_Agent] = deque()
        self.agenda = Agenda()
        self.disk_delays_s: dict[str, float] = {}
        """By process: how much longer each durable write takes."""

    def spent_s(self, name: str) -> float:
        """Return the CPU seconds that a process has spent."""
        return self._agent(name).spent_s

    def count(self, name: str, work: Work) -> tuple[int, int]:
        """Return how often a process has done work of a kind, and of how many items."""
        pieces, items = self._agent(name).tally[work]
        return pieces, items

    def _agent(self, name: str) -> _Agent:
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = _Agent(name)
        return agent

    # --- work -------------------------------------------------------------------------------

    def charge(self, name: str, work: Work, items: int = 1, done: Done | None = None) -> float:
        """Give a process work, and return its CPU seconds; see `submit`."""
        agent = self._agent(name)
        tally = agent.tally[work]
        tally[0] += 1
        tally[1] += items
        cost = self.model.costs[work]
        cpu_s, wait_s = cost.of(items), cost.wait_s
        if work is Work.STORAGE:
            wait_s += self.disk_delays_s.get(name, 0.0)
        self._submit(agent, cpu_s, done, wait_s)
        return cpu_s

    def submit(self, name: str, cpu_s: float, done: Done | None = None, wait_s: float = 0) -> None:
        """Give a process work to do after what it has already; `done` is called at its end."""
        self._submit(self._agent(name), cpu_s, done, wait_s)

    def _submit(self, agent: _Agent, cpu_s: float, done: Done | None, wait_s: float) -> None:
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
        self.agenda.at(self.agenda.now_s() + slice_s, partial(self._end, agent, job, slice_s))

    def _end(self, agent: _Agent, job: _Job, slice_s: float) -> None:
        """A slice of a job has ended: free its core."""
        self._idle += 1
        job.cpu_s -= slice_s
        if job.cpu_s <= 0 and job.wait_s > 0:
            wait_s, job.wait_s = job.wait_s, 0.0
            self.agenda.at(self.agenda.now_s() + wait_s, partial(self._go_on, agent, job))
        else:
            self._go_on(agent, job)
        self._hand_out()

    def _go_on(self, agent: _Agent, job: _Job) -> None:
        """Neither a core nor a disk holds a process any more."""
        agent.is_busy = False
        if job.cpu_s <= 0:
            _remove(agent, job)
        self._offer(agent)


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
        return _Charge(self, part, items)

    def charge(self, part: Part, items: int) -> None:
        """Let the node spend the cost of so many transactions, or messages, now."""
        self.add(part, self._machine.charge(self._name, WORK_OF[part], items))


class _Charge:
    """A class rather than a generator: it opens around every message."""

    __slots__ = ("_cpu", "_items", "_part")

    def __init__(self, cpu: SimulatedCpu, part: Part, items: int) -> None:
        self._cpu = cpu
        self._part = part
        self._items = items

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._cpu.charge(self._part, self._items)
