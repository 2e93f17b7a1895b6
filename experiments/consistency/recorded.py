"""Histories: what clients asked of the ledger, when, and what they were told.

The ledger holds one value for each anchor: whether it is registered, and whether it is revoked. An
operation lasts from its call to its answer. One without an answer is open: it may have taken effect
at any time since, or never.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class AnchorValue(IntEnum):
    """What the ledger has of an anchor. It only ever grows."""

    NONE = 0
    ACTIVE = 1
    REVOKED = 2


class OperationKind(StrEnum):
    """What a client did."""

    REGISTER = "register"
    REVOKE = "revoke"
    FRESH_READ = "fresh read"
    """A read that misses nothing acknowledged before it (`institutions/ledger/fresh_reads.py`)."""
    LOCAL_READ = "local read"
    """A read of what one node has committed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a client."""

    kind: OperationKind
    key: int
    """The anchor, by its number in the run."""
    client: str
    node: str
    """The node that was asked last."""
    start_s: float
    end_s: float = math.inf
    """When the answer came; infinite of an open operation."""
    value: AnchorValue | None = None
    """What a read returned, or a write left; None of an open operation."""
    is_refused: bool = False
    """Whether a write was refused, as of what is not active, and changed nothing."""

    def __str__(self) -> str:
        """Return it as a line."""
        end = "open" if math.isinf(self.end_s) else f"{self.end_s:.3f}"
        told = "" if self.value is None else f" -> {self.value.name}"
        refused = " (refused)" if self.is_refused else ""
        who = f"{self.client} at {self.node}"
        return f"{self.start_s:.3f} to {end}: {self.kind} of {self.key} by {who}{told}{refused}"
