"""How a run stands: a view that is drawn anew on a terminal, and plain lines anywhere else."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lowu.contracts.named import printable
from lowu.experiments.load.observed import NodeState
from lowu.experiments.load.offered.generator import GeneratorStatus
from lowu.experiments.load.outcomes import percentile
from lowu.output import Progress

TOLD_MAX = 6
"""Lines of what has happened that are kept on the view."""
TREND_MAX = 60
"""Seconds whose p99 the view draws."""
BARS = "▁▂▃▄▅▆▇█"
DRAWN_A_SECOND = 4
LOAD_HEADS = (
    "due/s", "done/s", "due", "done", "waiting", "block", "p50 ms", "p99 ms", "lag ms"
)  # fmt: skip


class RunView(Protocol):
    """Shows how a run stands."""

    watches_nodes: bool
    """Whether it shows the nodes too."""

    def tell(self, text: str) -> None:
        """Show a step."""
        ...

    def note(self, status: GeneratorStatus) -> None:
        """Show how the load stands."""
        ...

    def note_nodes(self, states: list[NodeState]) -> None:
        """Show how the nodes are."""
        ...

    def shown(self) -> AbstractContextManager[None]:
        """Return a context in which it is shown."""
        ...


class PlainView:
    """A line for each step, and for each second of a load; nothing in JSON mode."""

    watches_nodes = False

    def __init__(self, *, is_silent: bool) -> None:
        self._progress = Progress(is_silent=is_silent)

    def tell(self, text: str) -> None:
        """Show a step."""
        self._progress(text)

    def note(self, status: GeneratorStatus) -> None:
        """Show how the load stands."""
        recent = sorted(status.recent_ms)
        p99 = f", p99 {percentile(recent, 0.99):.0f} ms" if recent else ""
        self._progress(
            f"{status.at_s:5.0f} s  due {status.due}, done {status.done}, "
            f"waiting {status.due - status.ended}{p99}, block {status.height}, "
            f"lag {status.lag_ms_max:.0f} ms"
        )

    def note_nodes(self, states: list[NodeState]) -> None:
        """Show nothing: lines are for the load."""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while in the context."""
        yield


class LiveView:
    """A view that is drawn anew as long as it is shown. Any thread may tell."""

    watches_nodes = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._told: deque[str] = deque(maxlen=TOLD_MAX)
        self._trend: deque[float] = deque(maxlen=TREND_MAX)
        self._before: GeneratorStatus | None = None
        self._status: GeneratorStatus | None = None
        self._nodes: list[NodeState] = []
        self._live: Live | None = None

    def tell(self, text: str) -> None:
        """Show a step."""
        with self._lock:
            self._told.append(printable(text))
        self._draw()

    def note(self, status: GeneratorStatus) -> None:
        """Show how the load stands."""
        with self._lock:
            if self._status is not None and status.at_s < self._status.at_s:  # another run
                self._status = None
                self._trend.clear()
            self._before, self._status = self._status, status
            if status.recent_ms:
                self._trend.append(percentile(sorted(status.recent_ms), 0.99))
        self._draw()

    def note_nodes(self, states: list[NodeState]) -> None:
        """Show how the nodes are."""
        with self._lock:
            self._nodes = states
        self._draw()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while in the context."""
        with Live(console=self._console, refresh_per_second=DRAWN_A_SECOND, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live, self._nodes = None, []

    def _draw(self) -> None:
        live = self._live
        if live is not None:
            live.update(self.render())

    def render(self) -> Group:
        """Return what is shown now."""
        with self._lock:
            parts: list[Table | Text] = [Text(line) for line in self._told]
            if self._status is not None:
                parts.append(_draw_load(self._status, self._before, self._trend))
            if self._nodes:
                parts.append(_draw_nodes(self._nodes))
        return Group(*parts)


def _draw_load(
    status: GeneratorStatus, before: GeneratorStatus | None, trend: Sequence[float]
) -> Table:
    recent = sorted(status.recent_ms)
    table = Table(title=Text(f"{status.at_s:.0f} s"), title_justify="left", header_style="bold")
    for head in (
        "due/s",
        "done/s",
        "due",
        "done",
        "waiting",
        "block",
        "p50 ms",
        "p99 ms",
        "lag ms",
    ):
        table.add_column(head, justify="right")
    elapsed_s = status.at_s - before.at_s if before is not None else status.at_s
    rates = [
        (now - (0 if before is None else then)) / max(elapsed_s, 1e-9)
        for now, then in (
            (status.due, before.due if before else 0),
            (status.done, before.done if before else 0),
        )
    ]
    table.add_row(
        f"{rates[0]:.0f}",
        f"{rates[1]:.0f}",
        f"{status.due}",
        f"{status.done}",
        f"{status.due - status.ended}",
        f"{status.height}",
        f"{percentile(recent, 0.5):.0f}" if recent else "-",
        f"{percentile(recent, 0.99):.0f}" if recent else "-",
        f"{status.lag_ms_max:.0f}",
    )
    if trend:
        table.caption = f"p99 {draw_trend(trend)} up to {max(trend):,.0f} ms"
        table.caption_justify = "left"
    return table


def draw_trend(values: Sequence[float]) -> str:
    """Return a bar for each value, as high as its share of the largest."""
    most = max(values, default=0.0)
    steps = len(BARS) - 1
    return "".join(BARS[round(value / most * steps) if most > 0 else 0] for value in values)


def _draw_nodes(states: Sequence[NodeState]) -> Table:
    table = Table(header_style="bold")
    table.add_column("node")
    for head in ("height", "view", "CPU %", "MiB"):
        table.add_column(head, justify="right")
    for item in states:
        if not item.is_up:
            table.add_row(item.name, "down", "", "", "", style="red")
            continue
        is_silent = item.height < 0
        table.add_row(
            item.name,
            "silent" if is_silent else str(item.height),
            "" if is_silent else str(item.view),
            f"{item.cores * 100:.0f}",
            f"{item.memory_bytes >> 20}",
            style="yellow" if is_silent else None,
        )
    return table


def choose_view(*, is_silent: bool) -> RunView:
    """Return the view for where errors are printed to: drawn on a terminal, else plain."""
    if not is_silent and sys.stderr.isatty():
        return LiveView(Console(stderr=True))
    return PlainView(is_silent=is_silent)
