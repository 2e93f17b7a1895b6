"""Errors of the consensus core.

Two kinds, kept apart as h11 keeps local and remote errors apart::

    ConsensusError
    ├── InvalidMessage       the sender's fault: dropped, counted, never leaves the edge
    │   └── UnknownEpoch     maybe nobody's fault: we or the sender may have missed a change
    └── InvariantViolation   our fault, or more than f faults: the node stops
"""


class ConsensusError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidMessage(ConsensusError):
    """A message or certificate broke a rule of docs/PROTOCOL.md; nothing was changed."""


class UnknownEpoch(InvalidMessage):
    """A message does not verify, but its epoch may be one that we or its sender do not know."""


class InvariantViolation(ConsensusError):
    """A property that must always hold does not; the process must stop."""


def require_invariant(is_held: bool, text: str) -> None:
    """Raise `InvariantViolation` with `text` unless `is_held` (also under ``python -O``)."""
    if not is_held:
        raise InvariantViolation(text)
