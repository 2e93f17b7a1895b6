"""Telling a node that never ran from one that has lost its data (rule R-WIPE-1).

Whoever makes a node's folder puts a marker into it. The node's first start consumes it, once
its new database is durable. A start without database and without marker has lost what the node
signed: as a validator it abstains until the chain has outgrown that.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from node.config import NodeConfig
from node.errors import ConfigError

NAME = "first_start"
TEXT = (
    "This node has never run. Its first start removes this file. Without it, a validator whose\n"
    "data folder is gone fetches the chain, but votes only two windows above what the others\n"
    "have committed. Write it again only if the whole chain begins anew, with no data anywhere.\n"
)

log = logging.getLogger("INITIALIZER")


def marker_path(folder: Path) -> Path:
    """Return where the marker of a node is."""
    return folder / NAME


def is_first_start(config: NodeConfig) -> bool:
    """Whether the marker says that this node has never run."""
    return marker_path(config.folder).exists()


def end_first_start(config: NodeConfig) -> None:
    """Remove the marker for good, after the database was written.

    Raises:
        ConfigError: it cannot be removed; a later loss of the data would go unnoticed.
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
