"""Running trio code in virtual time, with task scheduling drawn from a seed.

trio has a deterministic scheduler for its own tests, behind two private names of its run
module. Only this module uses them; `check_private_names`, which a test calls, checks that they
still do what we need.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

from lowu.node.errors import NodeError

T = TypeVar("T")
EPOCH_MS = 1_750_000_000_000
"""The wall-clock time, in ms since 1970, at which virtual time begins."""
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
"""Makes trio sort the tasks of a batch before it shuffles them."""
_SOURCE = "_r"
"""The random generator of the shuffle."""


COLLECTED_AT = (50_000, 20, 50)
"""Thresholds of the garbage collector: nodes make many objects, and hardly any cycles of them."""


def run_virtual(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` on a clock that jumps ahead whenever all tasks wait."""
    before = getattr(_run, _SWITCH)
    order = Random(f"schedule/{seed}")  # noqa: S311  (repeatable, not secret)
    source: Random = getattr(_run, _SOURCE)
    state = source.getstate()
    setattr(_run, _SWITCH, True)
    source.seed(order.getrandbits(64))
    thresholds = gc.get_threshold()
    gc.set_threshold(*COLLECTED_AT)
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        gc.set_threshold(*thresholds)
        setattr(_run, _SWITCH, before)
        source.setstate(state)


def check_private_names() -> None:
    """Raise `NodeError` unless a seed always gives the same task order, and others differ."""
    for name in (_SWITCH, _SOURCE):
        if not hasattr(_run, name):
            raise NodeError(f"trio {trio.__version__} has no trio._core._run.{name} any more")

    async def main() -> tuple[list[int], float]:
        order: list[int] = []

        async def worker(number: int) -> None:
            for _ in range(20):
                order.append(number)
                await trio.lowlevel.checkpoint()
            await trio.sleep(number * 1_000)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(worker, number)
        return order, trio.current_time()

    first, second, other = run_virtual(1, main), run_virtual(1, main), run_virtual(2, main)
    if first[0] != second[0] or first[0] == other[0]:
        raise NodeError(f"trio {trio.__version__} no longer schedules by seed")
    if first[1] != second[1]:
        raise NodeError(f"trio {trio.__version__}: virtual time is not the same in two runs")


class VirtualClock:
    """Trio's virtual time, with a clock error for each node."""

    def __init__(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Return virtual wall-clock time."""
        return EPOCH_MS + self.skew_ms + int(trio.current_time() * 1000)

    def elapsed_s(self) -> float:
        """Return virtual time."""
        return trio.current_time()


async def run_inline(work: Callable[[], T], /) -> T:
    """Run work in the event loop, since virtual time cannot include threads."""
    await trio.lowlevel.checkpoint()
    return work()
