"""Telling a node that never ran from one that has lost its data (rule R-WIPE-1).

The tool that creates a node's folder puts a marker file into it. The node's first start removes
the marker once its new database is durable. A start with neither database nor marker means that
the node has lost its votes: as a validator it abstains until the chain has outgrown them.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from lowu.node.config import NodeConfig
from lowu.node.errors import ConfigError

NAME = "first_start"
TEXT = (
    "This node has never run. Its first start removes this file. Without it, a validator whose\n"
    "data folder is gone fetches the chain, but votes only two windows above what the others\n"
    "have committed. Recreate it only if the whole chain starts over, with all data removed.\n"
)

log = logging.getLogger("INITIALIZER")


def marker_path(folder: Path) -> Path:
    """Return the path of a node's marker."""
    return folder / NAME


def is_first_start(config: NodeConfig) -> bool:
    """Whether the marker says that this node has never run."""
    return marker_path(config.folder).exists()


def end_first_start(config: NodeConfig) -> None:
    """Remove the marker durably, after the database was written.

    Raises:
        ConfigError: it cannot be removed, so a later loss of the data would go unnoticed.
    """
    marker = marker_path(config.folder)
    try:
        marker.unlink(missing_ok=True)
        folder = os.open(config.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{marker}: cannot be removed ({error.strerror}); make the folder writable for the node"
        ) from error
