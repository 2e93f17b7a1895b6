"""The trace of a run: one line an event, fixed columns, and a running hash.

The hash covers every event, the lines kept are the last ones: enough to read what led to a
violation, and to compare two runs of one seed.
"""

from __future__ import annotations

import hashlib
from collections import deque

LINES_KEPT = 400


class Trace:
    """Collects events of one run."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.count = 0

    def add(self, time_ms: int, node: int, kind: str, text: str) -> None:
        """Record one event: virtual time, node (−1 for the network), kind, details."""
        line = f"{time_ms:>9} {node:>3} {kind:<10} {text}"
        self._hash.update(line.encode())
        self.lines.append(line)
        self.count += 1

    def hexdigest(self) -> str:
        """Return the hash over all events so far."""
        return self._hash.hexdigest()
