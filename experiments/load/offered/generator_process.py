"""Generators in processes of their own, so that the nodes' work does not hold up their clocks."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import ClassVar

import trio

from lowu.experiments.load.offered.generator import (
    Generated,
    Generator,
    GeneratorPlan,
    GeneratorStatus,
    add_statuses,
    merge_generated,
    split_plan,
)

END_S = 10.0
"""How long a generator that is told to stop may take."""
SIGNED = "signed"


class GeneratorLost(Exception):
    """A generator's process ended before its work."""

    exit_code: ClassVar[int] = 1


class GeneratorProcess:
    """The parent's end of a generator."""

    def __init__(self, pipe: Connection, process: multiprocessing.process.BaseProcess) -> None:
        self._pipe = pipe
        self._process = process
        self._is_done = threading.Event()
        self._found: Generated | GeneratorLost | None = None

    def wait_until_signed(self) -> None:
        """Return once all that is signed in advance is."""
        self._receive()

    def begin(self, begin_s: float, tell: Callable[[GeneratorStatus], None]) -> None:
        """Have it begin at a time of `time.monotonic`, which all processes share.

        `tell` gets the status every second, from a thread of its own.
        """
        self._pipe.send(begin_s)
        threading.Thread(target=self._listen, args=(tell,), daemon=True).start()

    def stop(self) -> None:
        """Have it offer nothing more, and end what waits."""
        with suppress(OSError):
            self._pipe.send(None)

    def collect(self) -> Generated:
        """Return the result, once there is one; several threads may wait for it.

        Raises:
            GeneratorLost: the process has ended without one.
        """
        self._is_done.wait()
        if not isinstance(self._found, Generated):
            raise self._found or GeneratorLost("the generator has no result")
        return self._found

    def _listen(self, tell: Callable[[GeneratorStatus], None]) -> None:
        try:
            while not isinstance(found := self._receive(), Generated):
                if isinstance(found, GeneratorStatus):
                    tell(found)
            self._found = found
        except GeneratorLost as error:
            self._found = error
        finally:
            self._is_done.set()

    def _receive(self) -> object:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(END_S)
            raise GeneratorLost(
                f"the generator ended with {self._process.exitcode} before its work was done. Its "
                "error, if it printed one, is above; if not, is there enough memory?"
            ) from error


class Generators:
    """Several generators as one."""

    def __init__(self, parts: Sequence[GeneratorProcess]) -> None:
        self._parts = parts
        self._status: dict[int, GeneratorStatus] = {}
        self._lock = threading.Lock()

    def wait_until_signed(self) -> None:
        """Return once all that is signed in advance is."""
        for part in self._parts:
            part.wait_until_signed()

    def begin(self, begin_s: float, tell: Callable[[GeneratorStatus], None]) -> None:
        """Have all begin at a time of `time.monotonic`, which all processes share.

        `tell` gets the status every second, from threads of its own, one at a time.
        """

        def note(place: int, status: GeneratorStatus) -> None:
            with self._lock:
                before = self._status.get(place)
                if before is not None:  # not told yet: keep what has ended
                    status = replace(status, recent_ms=before.recent_ms + status.recent_ms)
                self._status[place] = status
                if place == 0:
                    tell(add_statuses(list(self._status.values())))
                    for number, item in self._status.items():
                        self._status[number] = replace(item, recent_ms=())

        for place, part in enumerate(self._parts):
            part.begin(begin_s, partial(note, place))

    def stop(self) -> None:
        """Have them offer nothing more, and end what waits."""
        for part in self._parts:
            part.stop()

    def collect(self) -> Generated:
        """Return the result, once there is one; several threads may wait for it.

        Raises:
            GeneratorLost: a process has ended without one.
        """
        return merge_generated([part.collect() for part in self._parts])


@contextmanager
def running_generators(
    plan: GeneratorPlan, count: int = 1, drawn_from: int = 0
) -> Iterator[Generators]:
    """Start generators, which sign at once; end their processes with the block.

    Raises:
        ValueError: there are too few accounts for so many.
    """
    with ExitStack() as stack:
        parts = [
            stack.enter_context(_running_generator(part, drawn_from))
            for part in split_plan(plan, count)
        ]
        yield Generators(parts)


@contextmanager
def _running_generator(plan: GeneratorPlan, drawn_from: int) -> Iterator[GeneratorProcess]:
    """Start a generator, which signs at once; end its process with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(plan, drawn_from, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield GeneratorProcess(ours, process)
    finally:
        ours.close()
        process.join(0.1)
        if process.is_alive():
            process.terminate()
            process.join(END_S)


def _serve(plan: GeneratorPlan, drawn_from: int, pipe: Connection) -> None:
    """Be a generator; the parent says when to begin and, perhaps, when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    generator = Generator(plan, drawn_from=drawn_from)
    with suppress(EOFError, OSError):
        pipe.send(SIGNED)
        begin_s = pipe.recv()
        if begin_s is not None:
            pipe.send(trio.run(_run, generator, begin_s, pipe))


async def _run(generator: Generator, begin_s: float, pipe: Connection) -> Generated:
    token = trio.lowlevel.current_trio_token()

    def listen() -> None:
        with suppress(EOFError, OSError):
            pipe.recv()
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(generator.stop)

    threading.Thread(target=listen, daemon=True).start()
    before_s = time.process_time()
    found = await generator.run(begin_s, pipe.send)
    return replace(found, cpu_s=time.process_time() - before_s)
