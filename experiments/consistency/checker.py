"""Whether histories are possible: writes and fresh reads linearizable, local reads in order.

Anchors do not touch each other, so each has a history of its own, and the whole is linearizable if
each is. One is if its operations can be put in an order in which each comes after all that had
ended before it began, and in which each was told what an ideal ledger would have told it (Wing and
Gong; open operations may come anywhere after their call, or not at all).

Local reads promise less, and that is checked: what a node says never goes back, not even across its
restarts; it includes whatever the node itself has acknowledged; and it is nothing from the future.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lowu.experiments.consistency.recorded import AnchorValue, Operation, OperationKind

ORDERED = (OperationKind.REGISTER, OperationKind.REVOKE, OperationKind.FRESH_READ)
WRITES = {OperationKind.REGISTER: AnchorValue.ACTIVE, OperationKind.REVOKE: AnchorValue.REVOKED}


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A history that cannot be."""

    rule: str
    key: int
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        """Return it with the operations that it is about."""
        lines = "".join(f"\n  {item}" for item in self.operations)
        return f"anchor {self.key}: {self.rule}{lines}"


def check_history(operations: Iterable[Operation]) -> list[Anomaly]:
    """Return everything that cannot be in a history; empty if it is all right."""
    by_key: dict[int, list[Operation]] = defaultdict(list)
    for item in operations:
        by_key[item.key].append(item)
    found = []
    for key, own in by_key.items():
        ordered = [item for item in own if item.kind in ORDERED]
        if not is_linearizable(ordered):
            found.append(Anomaly("no order explains what clients were told", key, tuple(ordered)))
        found += _check_local(key, own)
    return found


def count_stale(operations: Iterable[Operation]) -> int:
    """Return how many local reads missed a write that had been acknowledged before they began."""
    writes: dict[int, list[Operation]] = defaultdict(list)
    reads = []
    for item in operations:
        if item.kind in WRITES and item.value is not None:
            writes[item.key].append(item)
        elif item.kind is OperationKind.LOCAL_READ:
            reads.append(item)
    return sum(
        any(
            write.end_s < read.start_s and _known(write) > _known(read)
            for write in writes[read.key]
        )
        for read in reads
    )


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether the operations on one anchor can be put in an order that explains them."""
    items = sorted(operations, key=lambda item: item.start_s)
    must = sum(1 << place for place, item in enumerate(items) if not math.isinf(item.end_s))
    seen: set[tuple[int, AnchorValue]] = set()
    stack = [(0, AnchorValue.NONE)]
    while stack:
        done, value = stack.pop()
        if done & must == must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        # An operation may be next only if no other one, still to come, had ended before it began.
        horizon = min(item.end_s for place, item in enumerate(items) if not done >> place & 1)
        for place, item in enumerate(items):
            if item.start_s > horizon:
                break
            if not done >> place & 1:
                after = _apply(item, value)
                if after is not None:
                    stack.append((done | 1 << place, after))
    return False


def _apply(item: Operation, value: AnchorValue) -> AnchorValue | None:
    """Return the value after an operation; None if it would have been told something else."""
    written = WRITES.get(item.kind)
    if written is None:
        return value if item.value is value else None
    is_refused = value is not AnchorValue.ACTIVE
    if written is AnchorValue.ACTIVE:
        is_refused = value is AnchorValue.REVOKED
    is_open = item.value is None
    if is_refused:
        return value if item.is_refused or is_open else None
    return None if item.is_refused else written


def _known(item: Operation) -> AnchorValue:
    return AnchorValue.NONE if item.value is None else item.value


def _check_local(key: int, own: Sequence[Operation]) -> list[Anomaly]:
    reads = sorted(
        (item for item in own if item.kind is OperationKind.LOCAL_READ),
        key=lambda item: item.start_s,
    )
    writes = [item for item in own if item.kind in WRITES]
    found = []
    for place, read in enumerate(reads):
        told = _known(read)
        for write in writes:
            is_own = write.node == read.node and write.value is not None
            if is_own and write.end_s < read.start_s and told < _known(write):
                text = "a node has forgotten what it acknowledged"
                found.append(Anomaly(text, key, (write, read)))
        begun = [item.start_s for item in writes if WRITES[item.kind] is told]
        if told is not AnchorValue.NONE and min(begun, default=math.inf) > read.end_s:
            found.append(Anomaly("a value from the future", key, (read,)))
        for later in reads[place + 1 :]:
            is_after = later.node == read.node and later.start_s > read.end_s
            if is_after and _known(later) < told:
                found.append(Anomaly("what a node says went back", key, (read, later)))
    return found
