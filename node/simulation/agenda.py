"""What a virtual network is to do when: callbacks at exact times, which tasks see at ticks."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TypeAlias

import trio

TICK_S = 0.0001
"""Callbacks have exact times, but the nodes see them at the next tick, many at once: a network of
many nodes needs far fewer steps of the scheduler so."""
ROUNDING_S = 1e-9

Done: TypeAlias = Callable[[], None]


class Agenda:
    """Callbacks by time; one task of the network calls them."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Done]] = []
        """What is to be done when, in order."""
        self._number = 0
        self._wait = trio.CancelScope()
        self._event_s: float | None = None
        """The time of the callback that runs now; None while none does."""

    def at(self, time_s: float, callback: Done) -> None:
        """Call back at a time; what is due at the same time is called in order."""
        is_first = not self._timers or time_s < self._timers[0][0]
        self._number += 1
        heapq.heappush(self._timers, (time_s, self._number, callback))
        if is_first:
            self._wait.deadline = _find_tick(time_s)

    def now_s(self) -> float:
        """Return the time of what is being done now, or the clock's."""
        return trio.current_time() if self._event_s is None else self._event_s

    async def run(self) -> None:
        """Call back for ever."""
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
