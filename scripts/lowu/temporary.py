"""Networks that a command starts for itself, and leaves no trace of."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowu.node.topology.control import Control


@contextmanager
def temporary_network_folder(purpose: str) -> Iterator[Path]:
    """Give a folder for a network; in the end its nodes are stopped, and it is removed."""
    parent = Path(tempfile.mkdtemp(prefix=f"lowu-{purpose}-"))
    folder = parent / "nodes"
    try:
        yield folder
    finally:
        try:
            Control(folder).down()
        finally:
            shutil.rmtree(parent, ignore_errors=True)
