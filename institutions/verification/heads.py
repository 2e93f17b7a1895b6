"""The highest block that a receiver has seen: what a node says must not lie before it.

A node that is cut off, or shows an old state on purpose, is behind it or has not had a block for
long (TUF's checks against rollback and freezing; docs/PACKAGE.md).
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping, Sequence
from dataclasses import astuple, dataclass, replace

from lowu.institutions.verification.judging import LedgerView

AGE_MAX_S = 10 * 60
"""A latest block that is older than this may not be the latest of the chain."""


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A block that was the latest when it was seen."""

    height: int
    block_hash: str


def encode_head(head: SeenHead) -> bytes:
    """Return the stored form."""
    return json.dumps(astuple(head)).encode()


def decode_head(data: bytes) -> SeenHead:
    """Return the head in a stored form."""
    return SeenHead(*json.loads(data))


def judge_age(view: LedgerView, seen: SeenHead | None, use: int, clock_s: int) -> LedgerView:
    """Return a node's answers with why something may have changed since, if it may have.

    `seen` is the highest block seen before. With `use`, the answers are those of that block, so
    that only whether the node has it counts.
    """
    rollback = _find_rollback(view, max(use, 0 if seen is None else seen.height), seen)
    age_s = clock_s - view.block_time_s
    is_idle = not rollback and not use and age_s > AGE_MAX_S
    idle = f"the latest block of {view.node} is {age_s // 60} minutes old" if is_idle else ""
    return replace(
        view,
        now_s=max(clock_s, view.block_time_s),
        staleness=rollback or idle,
        is_idle=is_idle,
    )


def _find_rollback(view: LedgerView, height: int, seen: SeenHead | None) -> str:
    if view.height < height:
        return (
            f"{view.node} is at block {view.height}, but a node has shown a block {height}; if it "
            "lied, ask nodes of two sides"
        )
    if seen is not None and view.height == seen.height and view.block_hash != seen.block_hash:
        return f"{view.node} has another block {view.height} than was seen before"
    return ""


def note_head(
    heads: MutableMapping[bytes, SeenHead],
    key: bytes,
    views: Sequence[LedgerView | None],
    clock_s: int,
) -> None:
    """Keep the highest block that every node asked has: one that lies does not raise it alone.

    Where nodes of several sides go on without a block that one node has shown, it was a lie.
    """
    known = [view for view in views if view is not None]
    if not known or len(known) < len(views):
        return
    lowest = min(known, key=lambda view: view.height)
    seen = heads.get(key)
    is_ahead = lowest.block_time_s > clock_s + AGE_MAX_S
    is_live = all(clock_s - view.block_time_s <= AGE_MAX_S for view in known)
    is_refuted = len(known) > 1 and is_live
    if not is_ahead and (seen is None or lowest.height > seen.height or is_refuted):
        heads[key] = SeenHead(lowest.height, lowest.block_hash)
