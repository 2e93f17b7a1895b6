"""Errors of the consensus core.

Two kinds, kept apart as h11 keeps local and remote errors apart::

    ConsensusError
    ├── InvalidMessage       the sender's fault: dropped, counted, never leaves the edge
    │   └── UnknownEpoch     perhaps nobody's fault: we may not know its validators yet
    └── InvariantViolation   our fault, or more than f faults: the node stops
"""


class ConsensusError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidMessage(ConsensusError):
    """A message or certificate broke a rule of docs/PROTOCOL.md; nothing was changed."""


class UnknownEpoch(InvalidMessage):
    """A message from above our head does not verify: its validators may be others by then."""


class InvariantViolation(ConsensusError):
    """A property that must always hold does not; the process must stop."""


def require_invariant(is_held: bool, text: str) -> None:
    """Raise `InvariantViolation` with `text` unless `is_held` (also under ``python -O``)."""
    if not is_held:
        raise InvariantViolation(text)
