"""The cells of the crash matrix: which durable step fails, how, and what the node does then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

from lowu.node.topology.faults.fail_order import (
    TORN_SHARES,
    UNTEARABLE,
    FailMode,
    FailOrder,
    Failpoint,
    Situation,
)

T = TypeVar("T")


class Occasion(StrEnum):
    """What leads a node to the step at which it fails."""

    LEADING = "leading"
    FOLLOWING = "following"
    NEEDED = "needed"
    """It leads, and another node is paused until it is back: without it there is no quorum, so that
    it has to vote again where it has voted."""
    CHANGING = "view change"
    """Another node, which leads, is paused until the others change the view."""
    SYNCING = "sync"
    """The node was down, and fetches what it missed."""
    LOADING = "state"
    """The node has lost its database, and loads the state of the others."""
    FIRST_START = "first start"
    """The network is new, and the node starts for the first time."""
    LOST_TRACE = "lost trace"
    """The trace of the node's last vote is gone when it starts."""
    DAMAGED = "damaged database"
    """The node's database cannot be opened when it starts."""


SITUATIONS = {
    Occasion.LEADING: Situation.LEADING,
    Occasion.FOLLOWING: Situation.FOLLOWING,
    Occasion.NEEDED: Situation.LEADING,
    Occasion.CHANGING: Situation.CHANGING,
    Occasion.SYNCING: Situation.SYNCING,
}
"""Of those occasions on which the node runs already; on the others it fails at its start."""

_COUNTS = {
    Occasion.LEADING: (1, 2, 3, 5, 8, 13, 21),
    Occasion.FOLLOWING: (1, 2, 3, 5, 8, 13, 21),
    Occasion.NEEDED: (1, 2, 3),
    Occasion.SYNCING: (1, 2, 3, 5, 8, 13),
}
"""At which of the steps the node fails; elsewhere at the first."""
_POINTS = {
    Occasion.LEADING: (Failpoint.PROPOSAL, Failpoint.VOTE, Failpoint.TRACE, Failpoint.BLOCK),
    Occasion.FOLLOWING: (Failpoint.PROPOSAL, Failpoint.VOTE, Failpoint.TRACE, Failpoint.BLOCK),
    Occasion.NEEDED: (Failpoint.PROPOSAL, Failpoint.VOTE, Failpoint.TRACE, Failpoint.BLOCK),
    Occasion.CHANGING: (Failpoint.VOTE, Failpoint.TRACE),
    Occasion.SYNCING: (Failpoint.BLOCK,),
    Occasion.LOADING: (
        Failpoint.IMPORT_CHUNK,
        Failpoint.IMPORT_BEGIN,
        Failpoint.IMPORT_MOVE,
        Failpoint.IMPORT_END,
    ),
    Occasion.FIRST_START: (Failpoint.GENESIS, Failpoint.NEW_TRACE, Failpoint.FIRST_START),
    Occasion.LOST_TRACE: (Failpoint.FORGET, Failpoint.NEW_TRACE),
    Occasion.DAMAGED: (Failpoint.SET_ASIDE,),
}
PLACES = (1, 2, 3)
"""In a view change: how far behind the paused leader the node is in turn."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: an order, and how the node comes to it."""

    occasion: Occasion
    order: FailOrder
    place: int = 1

    @property
    def name(self) -> str:
        """What it is called in reports."""
        place = f", {self.place} behind the leader" if self.occasion is Occasion.CHANGING else ""
        return f"{self.occasion}{place}: {self.order}"


def list_cells() -> list[Cell]:
    """Return all cells, those of one occasion together."""
    return [cell for occasion in Occasion for cell in _cells_of(occasion)]


def _cells_of(occasion: Occasion) -> Iterator[Cell]:
    situation = SITUATIONS.get(occasion)
    places = PLACES if occasion is Occasion.CHANGING else (1,)
    for count in _COUNTS.get(occasion, (1,)):
        for point in _POINTS[occasion]:
            for mode in FailMode:
                if mode in TORN_SHARES and point in UNTEARABLE:
                    continue
                for place in places:
                    yield Cell(occasion, FailOrder(point, mode, situation, count), place)


def choose_some(cells: Sequence[T], count: int, seed: int) -> list[T]:
    """Return so many of the cells, drawn by a seed, in their order; all if there are no more."""
    places = list(range(len(cells)))
    chosen = Random(f"cells {seed}").sample(places, min(count, len(cells)))  # noqa: S311
    return [cells[place] for place in sorted(chosen)]
