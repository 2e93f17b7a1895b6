"""The trace of a run: one line per event, fixed columns, and a running hash.

A run is traced only to be read, or to be compared with another run of the same seed. The hash
covers every event; only the last lines are kept. Runs without a trace are twice as fast, and
any run can be repeated with one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from lowu.consensus.codec import decode_message
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import PrePrepare

if TYPE_CHECKING:
    from lowu.consensus.simulation.simulated_links import Parcel

LINES_KEPT = 2_000


class Trace:
    """Collects events of one run."""

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on
        self._hash = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.count = 0

    def add(self, time_ms: int, instance: int, kind: str, text: str) -> None:
        """Record one event: virtual time, instance (−1 for the network), kind, details."""
        line = f"{time_ms:>9} {instance:>3} {kind:<11} {text}"
        self._hash.update(line.encode())
        self.lines.append(line)
        self.count += 1

    def hexdigest(self) -> str:
        """Return the hash over all events so far."""
        return self._hash.hexdigest()


def describe_parcel(parcel: Parcel) -> tuple[str, str]:
    """Return a parcel's kind and details, for a line of the trace."""
    if isinstance(parcel, bytes):
        try:
            message = decode_message(parcel)
        except InvalidMessage:
            return "bytes", parcel[:16].hex()
        kind, text = describe_parcel(message)
        return kind, f"{text} (bytes)"
    view = getattr(parcel, "view", "-")
    height = getattr(parcel, "height", getattr(parcel, "stable_height", "-"))
    if isinstance(parcel, PrePrepare):
        height = parcel.proposal.height
    digest = getattr(parcel, "digest", b"").hex()[:8]
    return type(
        parcel
    ).__name__, f"by {parcel.sender} view={view} height={height} {digest}".rstrip()
