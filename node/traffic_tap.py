"""The tap: a copy of all that a node sends and receives, unencrypted.

Off by default. With ``[others] tap=true`` the node appends gateway frames and RPC bodies to
``log/tap.bin``; the demo and the canary tests search it for bytes of documents, to show that
the platform never carries them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Tap:
    """Appends unencrypted bytes to a file; does nothing without a path."""

    def __init__(self, path: Path | None) -> None:
        self._file: BinaryIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0, opener=_open_private)  # noqa: SIM115

    def sent(self, data: bytes) -> None:
        """Copy bytes that this node sends."""
        if self._file is not None:
            self._file.write(data)

    def received(self, data: bytes) -> None:
        """Copy bytes that this node has received."""
        if self._file is not None:
            self._file.write(data)
