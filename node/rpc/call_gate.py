"""What part of the machine calls of contracts may have, and when one is ended.

A call asks the gate every few milliseconds, from within the code that it runs (`CallWatch.tick`).
While the chain is busy, all calls together have a share of one core, and wait for the rest of the
time; while it is idle, they have what there is. A call that is not over soon becomes a long one:
long ones run one at a time, when no short one needs the share, and there are few of them; one too
many is postponed, and begun again from the start when there is room. Each ends by its limit of CPU
time, when its client has gone, or to make room for one that was postponed; what has only become
long takes no room from those that were.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition

from lowu.node.errors import CallAborted

SLICE_S = 0.005
"""A call runs for so long before it asks again."""
SHORT_S = 0.003
"""CPU time after which a call counts as long."""
LONG_MAX = 4
"""Long calls at a time; one more is postponed."""
LONG_LEAST_S = 0.25
"""CPU time that a long call has at least, however long others are postponed."""
CROWDED_S = 3.0
"""After so long a postponed call has long ones ended that have had their least."""
CALL_CPU_S = 5.0
"""CPU time that one call may have, as in geth."""
CALL_S = 20.0
"""How long a call may take altogether: while the chain is busy it would not have its CPU time."""
TURN_POLL_S = 0.02
"""How often a long call that waits for its turn looks whether its client has gone."""
BUSY_SHARE = 0.1
"""Of one core, for all calls together while the chain is busy."""
BURST_S = 0.05
"""CPU time that calls may have at once after a pause."""


class CallPostponed(CallAborted):
    """A call has become a long one, and others come first: begin it again later."""


class CallGone(CallAborted):
    """Nobody waits for a call: its client has closed the connection, or its own end of it."""

    def __init__(self) -> None:
        super().__init__("execution aborted: nobody waits for it")


class CallWatch:
    """Follows one call; made in the thread that runs it."""

    __slots__ = (
        "_gate", "begun_s", "cpu_mark_s", "cpu_s", "is_gone", "is_long", "on_slice", "slice_end_s",
    )  # fmt: skip

    def __init__(self, gate: Gate, is_gone: Callable[[], bool], *, is_long: bool) -> None:
        self._gate = gate
        self.on_slice: Callable[[], None] = lambda: None
        """Called whenever the call asks to go on."""
        self.is_gone = is_gone
        self.is_long = is_long
        self.cpu_s = 0.0
        self.begun_s = time.monotonic()
        self.cpu_mark_s = time.thread_time()
        self.slice_end_s = time.monotonic() + (0 if is_long else SHORT_S)

    def tick(self) -> None:
        """Go on, perhaps after a while.

        Raises:
            CallPostponed: it is a long one, and there are enough, or some wait to be begun again.
            CallAborted: the call has had its time, or nobody waits for it.
        """
        if time.monotonic() >= self.slice_end_s:
            self.on_slice()
            self._gate.wait_for_slice(self)
            self.slice_end_s = time.monotonic() + SLICE_S

    def expect_long(self) -> None:
        """Go on as a long call, when it is its turn; raises as `tick`."""
        self.on_slice()
        self._gate.wait_for_slice(self, is_long=True)
        self.slice_end_s = time.monotonic() + SLICE_S


class Gate:
    """Divides what calls may have. All methods may be called from any thread."""

    def __init__(
        self,
        is_busy: Callable[[], bool] = lambda: False,
        postponed_since: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._is_busy = is_busy
        self._postponed_since = postponed_since
        """When the oldest call was postponed that is to be begun again; None if none is."""
        self._condition = Condition()
        self._long = 0
        self._waiting: set[CallWatch] = set()
        """Long calls that wait for their turn."""
        self._running: CallWatch | None = None
        """The long call that has its turn."""
        self._left_s = self._left_for_long_s = BURST_S
        self._filled_s = time.monotonic()

    def begin(self, is_gone: Callable[[], bool]) -> CallWatch:
        """Return what watches a call that this thread begins now."""
        return CallWatch(self, is_gone, is_long=False)

    def has_room(self) -> bool:
        """Whether one more long call may run."""
        return self._long < LONG_MAX

    def begin_long(self, is_gone: Callable[[], bool]) -> CallWatch | None:
        """Return what watches a call that is known to be a long one; None if there is no room."""
        with self._condition:
            if not self.has_room():
                return None
            self._long += 1
            return CallWatch(self, is_gone, is_long=True)

    def finish(self, watch: CallWatch) -> None:
        """Count what a call has used at last."""
        with self._condition:
            self._count(watch)
            self._long -= watch.is_long
            self._pass_on(watch)

    def is_open(self) -> bool:
        """Whether calls may run just now."""
        with self._condition:
            return self._has_left(0.0)

    def closed_for_s(self) -> float:
        """Return how long calls have to wait until they may run."""
        with self._condition:
            return 0.0 if self._has_left(0.0) else -self._left_s / BUSY_SHARE

    def wait_for_slice(self, watch: CallWatch, *, is_long: bool = False) -> None:
        """Let a call go on when it may; `CallAborted` if it may no more."""
        with self._condition:
            self._count(watch)
            self._pass_on(watch)
            if not watch.is_long and (is_long or watch.cpu_s >= SHORT_S):
                self._make_long(watch)
            if not watch.is_long:
                self._check(watch)
                return
            self._waiting.add(watch)
            try:
                while not self._is_turn_of(watch):
                    self._check(watch)
                    self._condition.wait(TURN_POLL_S)
                self._check(watch)
                self._running = watch
            finally:
                self._waiting.discard(watch)

    def _count(self, watch: CallWatch) -> None:
        now_s = time.thread_time()
        used_s = now_s - watch.cpu_mark_s
        watch.cpu_mark_s = now_s
        watch.cpu_s += used_s
        self._fill()
        self._left_s -= used_s
        if watch.is_long:
            self._left_for_long_s -= used_s

    def _fill(self) -> None:
        now_s = time.monotonic()
        gained_s = (now_s - self._filled_s) * BUSY_SHARE
        self._filled_s = now_s
        if not self._is_busy():
            self._left_s = self._left_for_long_s = BURST_S
            return
        # Short calls do not wait long for what a long one has overdrawn; it does so itself.
        self._left_s = min(BURST_S, max(self._left_s, -BURST_S) + gained_s)
        self._left_for_long_s = min(BURST_S, self._left_for_long_s + gained_s)

    def _has_left(self, reserve_s: float) -> bool:
        self._fill()
        return self._left_s > reserve_s or not self._is_busy()

    def _is_turn_of(self, watch: CallWatch) -> bool:
        """Whether a long call may run now: the one that has had the least comes first."""
        if self._running is not None or any(one.cpu_s < watch.cpu_s for one in self._waiting):
            return False
        has_left = self._has_left(BURST_S / 2)
        return has_left and (self._left_for_long_s > 0 or not self._is_busy())

    def _make_long(self, watch: CallWatch) -> None:
        if not self.has_room() or self._postponed_since() is not None:
            raise CallPostponed("execution aborted: to be begun again")
        watch.is_long = True
        self._long += 1

    def _pass_on(self, watch: CallWatch) -> None:
        if self._running is watch:
            self._running = None
        self._condition.notify_all()

    def _is_crowded(self) -> bool:
        since_s = self._postponed_since()
        return since_s is not None and time.monotonic() - since_s > CROWDED_S

    def _check(self, watch: CallWatch) -> None:
        if watch.is_gone():
            raise CallGone
        if watch.cpu_s >= LONG_LEAST_S and self._is_crowded():
            raise CallAborted("execution aborted: more than a few long calls at a time")
        if watch.cpu_s >= CALL_CPU_S:
            raise CallAborted(f"execution aborted (timeout = {CALL_CPU_S:g}s)")
        if time.monotonic() - watch.begun_s >= CALL_S:
            had = f"{watch.cpu_s:.1f} s of CPU within {CALL_S:g} s"
            raise CallAborted(f"execution aborted ({had}: the node is busy)")
