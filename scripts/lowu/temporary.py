"""Temporary networks that a command starts, stops and removes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowu.node.topology.control import Control


@contextmanager
def temporary_network_folder(purpose: str) -> Iterator[Path]:
    """Yield a folder for a network; at the end, stop its nodes and remove it."""
    parent = Path(tempfile.mkdtemp(prefix=f"lowu-{purpose}-"))
    folder = parent / "nodes"
    try:
        yield folder
    finally:
        try:
            Control(folder).down()
        finally:
            shutil.rmtree(parent, ignore_errors=True)
