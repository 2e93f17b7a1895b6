"""What one run did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run did."""

    heights: int
    inputs: int
    view_max: int
    virtual_ms: int
    recovery_ms: int
    """Virtual time from the healing until every correct node has committed everything."""
    faults: Counter[str]
    """How often each kind of fault struck."""
    coverage: Counter[tuple[str, str]]
    """How often each kind of input met a replica in each phase."""
    trace_hash: str
    """Empty for a run without a trace."""
