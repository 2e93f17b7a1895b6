"""What all campaigns of ``lowu simulate`` share: tasks, worker processes, progress, figures."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import click

PROGRESS_S = 1.0
CHUNKS_AHEAD = 1_000
"""Most groups of tasks that are given to the workers at a time."""
NODES_MAX = 31
FINDINGS_SHOWN = 3


def parse_sizes(text: str) -> list[int]:
    """Return the network sizes in ``4,7``."""
    try:
        sizes = [int(item) for item in text.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--nodes {text}: expected numbers such as 4,7") from error
    if not all(1 <= size <= NODES_MAX for size in sizes):
        raise click.UsageError(f"--nodes {text}: each must be 1 to {NODES_MAX}")
    return sizes


def list_tasks(options: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return every seed with its network size; the sizes are used in turn."""
    sizes, first = parse_sizes(options["nodes"]), options["first_seed"]
    return [(first + i, sizes[i % len(sizes)]) for i in range(options["seeds"])]


def run_parallel(run: Any, tasks: Iterable[Any], jobs: int, chunk: int = 4) -> Iterator[Any]:
    """Run a function on tasks in parallel processes (0 jobs: one per core); yield in order."""
    from itertools import islice

    from lowu.experiments.worker_pool import open_worker_pool

    remaining = iter(tasks)
    head = list(islice(remaining, 20))
    count = jobs or os.cpu_count() or 1
    if count == 1 or len(head) < 20:
        yield from map(run, head)
        yield from map(run, remaining)
        return
    with open_worker_pool("fork", count) as pool:
        running = deque(pool.submit(_run_all, run, [task]) for task in head)
        while running:
            while len(running) < CHUNKS_AHEAD and (chunked := list(islice(remaining, chunk))):
                running.append(pool.submit(_run_all, run, chunked))
            yield from running.popleft().result()


def _run_all(run: Any, tasks: list[Any]) -> list[Any]:
    return list(map(run, tasks))


class Stopwatch:
    """Times a campaign, and paces its progress output to once a second."""

    def __init__(self) -> None:
        self._started = self._shown = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def is_due(self) -> bool:
        """Whether progress is due again."""
        now = time.monotonic()
        if now - self._shown < PROGRESS_S:
            return False
        self._shown = now
        return True


class Interruption:
    """Ctrl-C ends a campaign, of which the results so far are told then."""

    is_set = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.is_set = kind is not None and issubclass(kind, KeyboardInterrupt)
        return self.is_set

    def finish(self, *, is_ok: bool) -> None:
        """Exit with 1 if something was found, with 130 if Ctrl-C has ended the campaign."""
        if not is_ok:
            sys.exit(1)
        if self.is_set:
            click.echo("interrupted: these are the results until then", err=True)
            sys.exit(130)


def print_figures(figures: Mapping[str, float], faults: Counter[str] | None = None) -> None:
    """Print the summary of a campaign for a person."""
    for name, value in figures.items():
        click.echo(f"{name.replace('_', ' '):<27} {value}")
    if faults is not None:
        counts = ", ".join(f"{name} {count}" for name, count in faults.most_common())
        click.echo(f"{'faults':<27} {counts}")
