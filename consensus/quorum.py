"""Quorum arithmetic, and nothing else (rule R-QUO-1).

For total weight W: f = ⌊(W−1)/3⌋ and quorum = W − f. Any two quorums then share more than f
weight for every W, even where W ≠ 3f+1 (bug B36: celo#117 got n = 5 wrong).
"""

from __future__ import annotations


def compute_fault_threshold(total_weight: int) -> int:
    """Return f, the largest weight that may be faulty."""
    if total_weight < 1:
        raise ValueError(f"total weight must be at least 1, got {total_weight}")
    return (total_weight - 1) // 3


def compute_quorum(total_weight: int) -> int:
    """Return the weight that makes a quorum: W − f."""
    return total_weight - compute_fault_threshold(total_weight)
