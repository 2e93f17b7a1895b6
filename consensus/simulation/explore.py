"""Running many seeds: in order, over several sizes of network, with totals.

A violation is kept with its seed, the command that repeats it, and the end of its trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from consensus.errors import ConsensusError
from consensus.simulation.checkers import Violation
from consensus.simulation.world import RunResult, World

TRACE_LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """A seed that broke a property."""

    seed: int
    nodes: int
    text: str
    trace: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that runs this seed again."""
        return f"lowu simulate --seeds 1 --first-seed {self.seed} --nodes {self.nodes} --trace"


@dataclass(slots=True)
class Totals:
    """What a campaign did so far."""

    seeds: int = 0
    blocks: int = 0
    inputs: int = 0
    view_changes: int = 0
    virtual_ms: int = 0
    recovery_ms_max: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, result: RunResult) -> None:
        """Count a run without findings."""
        self.seeds += 1
        self.blocks += result.heights
        self.inputs += result.inputs
        self.view_changes += result.view_max
        self.virtual_ms += result.virtual_ms
        self.recovery_ms_max = max(self.recovery_ms_max, result.recovery_ms)


def run_seed(seed: int, nodes: int) -> RunResult | Finding:
    """Run one seed; return its result, or what it broke."""
    world = World(seed, nodes)
    try:
        return world.run()
    except (Violation, ConsensusError, KeyError, IndexError) as error:
        text = f"{type(error).__name__}: {error}"
        return Finding(seed, nodes, text, tuple(world.trace.lines))


def campaign(
    seeds: Iterable[int],
    sizes: Sequence[int],
    run: Callable[[int, int], RunResult | Finding] = run_seed,
) -> Iterator[Totals]:
    """Run seeds, sizes in turn, yielding the running totals after each."""
    totals = Totals()
    for position, seed in enumerate(seeds):
        found = run(seed, sizes[position % len(sizes)])
        if isinstance(found, Finding):
            totals.seeds += 1
            totals.findings.append(found)
        else:
            totals.add(found)
        yield totals
