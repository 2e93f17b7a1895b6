"""One replica's notes of leaders that failed it, and what it asks of its peers (R-LEAD-4).

The notes decide nothing by themselves: they go into the replica's VIEW-CHANGEs, and a NEW-VIEW
passes over only leaders that more than f weight names (`leaders`). They are lost in a restart,
and cleared when an epoch begins.
"""

from __future__ import annotations

from collections.abc import Collection

from lowu.consensus.leaders import ROUNDS_MAX, rounds_to_heights
from lowu.consensus.state import Failure, ReplicaState
from lowu.consensus.types import Height, NodeIndex

ROUNDS_MIN = 4
"""The rounds of turns that a leader loses for its first failure."""


def current_leader(state: ReplicaState, height: Height) -> NodeIndex:
    """Return the leader of `height` in the view entered."""
    return state.validators.leader(height, state.view, state.passed_over)


def is_suspect(state: ReplicaState, index: NodeIndex) -> bool:
    """Whether this replica asks to pass a validator over."""
    failure = state.failures.get(index)
    return failure is not None and failure.until > state.stable.height


def list_suspects(state: ReplicaState) -> tuple[tuple[NodeIndex, Height], ...]:
    """Return the failed leaders that a VIEW-CHANGE must name, ascending by index."""
    failures = sorted(state.failures.items())
    return tuple((index, item.until) for index, item in failures if is_suspect(state, index))


def note_failures(state: ReplicaState, leaders: Collection[NodeIndex]) -> None:
    """Note that leaders failed: ask to pass them over, twice as long each time, up to a cap."""
    for index in leaders:
        if index == state.index:
            continue
        known = state.failures.get(index)
        count = 1 if known is None else known.count + 1
        rounds = min(ROUNDS_MAX, ROUNDS_MIN << min(count - 1, ROUNDS_MAX))
        until = state.stable.height + rounds_to_heights(state.validators, rounds)
        state.failures[index] = Failure(count, until)


def note_success(state: ReplicaState, proposer: NodeIndex) -> None:
    """Take back one failure of a validator whose block became stable."""
    known = state.failures.get(proposer)
    if known is None:
        return
    if known.count > 1:
        state.failures[proposer] = Failure(known.count - 1, known.until)
    elif not is_suspect(state, proposer):
        del state.failures[proposer]
