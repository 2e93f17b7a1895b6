"""Which leaders are passed over for a while (rules R-LEAD-2 and R-LEAD-3).

Each replica notes which leaders failed it and names them in its VIEW-CHANGEs, each with the
height up to which it asks to pass that leader over. The NEW-VIEW decides for its view: it
passes over a validator that more than f weight of its VIEW-CHANGEs name, up to the highest
height that they agree on, and never more than f weight of validators at once. So all replicas
in a view compute the same leaders from the same signed messages; a replica's own notes decide
only what it asks for (docs/adr/0014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lowu.consensus.messages import ViewChange
from lowu.consensus.types import Height, NodeIndex, View
from lowu.consensus.validators import ValidatorSet

ROUNDS_MAX = 64
"""The most rounds of turns that a leader loses before it is tried again."""


def rounds_to_heights(validators: ValidatorSet, rounds: int) -> int:
    """Return the number of heights in which each validator has `rounds` turns."""
    return rounds * len(validators) * validators.leader_period


def select_passed_over(
    validators: ValidatorSet, view_changes: Iterable[ViewChange], opener: NodeIndex
) -> dict[NodeIndex, Height]:
    """Derive from a view's VIEW-CHANGEs the leaders it passes over, and up to which height.

    It never passes over its opener, which is alive and leads the first height (docs/adr/0007).
    """
    named: dict[NodeIndex, list[tuple[Height, NodeIndex]]] = {}
    for change in view_changes:
        for index, until in change.passed_over:
            named.setdefault(index, []).append((until, change.sender))
    agreed = [
        (_agreed_height(validators, claims), index)
        for index, claims in named.items()
        if index != opener
    ]
    chosen: dict[NodeIndex, Height] = {}
    for until, index in sorted(agreed, key=lambda item: (-item[0], item[1])):
        is_within = validators.weight_of([*chosen, index]) <= validators.fault_threshold
        if until > 0 and is_within:
            chosen[index] = until
    return chosen


def _agreed_height(validators: ValidatorSet, claims: Iterable[tuple[Height, NodeIndex]]) -> Height:
    """Return the highest height that more than f weight claims or exceeds; 0 if none."""
    senders: set[NodeIndex] = set()
    for until, sender in sorted(claims, reverse=True):
        senders.add(sender)
        if validators.has_honest(senders):
            return until
    return 0


def find_opener(
    validators: ValidatorSet, changes: Mapping[NodeIndex, ViewChange], view: View
) -> NodeIndex | None:
    """Return the validator that could have opened `view` with these VIEW-CHANGEs, if any."""
    asked = {index: item for index, item in changes.items() if item.view == view}
    if not validators.has_quorum(asked):
        return None
    top = max(item.stable.height for item in asked.values())
    return validators.leader(top + 1, view)
