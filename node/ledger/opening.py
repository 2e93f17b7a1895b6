"""Opening a node's chain, or beginning it anew beside a damaged one.

A log that is damaged beyond what a crash leaves is read up to the damage, with a loud word: the
vote records and their trace then tell exactly whether something is lost that may have left. Any
other damage costs the database: it is kept aside for whoever wants to look at it, the chain is
fetched from the other nodes, and a validator abstains until the chain has outgrown what it may
have signed (R-WIPE-1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from node.errors import ConfigError, DamagedData
from node.ledger.disk_errors import describe_os_error
from node.ledger.ledger import Ledger
from node.ledger.rocks import RocksStorage
from node.ledger.schema import height_key
from node.ledger.storage import Storage
from node.ledger.trace import sync_folder
from node.limits.descriptors import ROCKSDB_FILES

KEPT_MAX = 3
"""Damaged databases that are kept aside; with more, the disk would fill up."""
RECENT_BLOCKS = 8_192
"""Blocks below the head that are looked for at the start: more than the engine writes between
two files (16 MiB; a block with its votes takes 3 KB and more). If it loses one of its files
without noticing, the gap is among them."""

log = logging.getLogger("STORAGE")


def open_chain(
    path: Path, build: Callable[[Storage, str], Ledger], files_max: int = ROCKSDB_FILES[1]
) -> Ledger:
    """Open the database of a node; set it aside and begin anew if it is damaged.

    `build` makes the ledger of a storage, and is told why votes may be lost.

    Raises:
        ConfigError: it cannot be opened, or one damaged database too many would be kept.
    """
    try:
        return _open(path, build, files_max)
    except DamagedData as error:
        damage = str(error)
    try:
        ledger = _open(path, build, files_max, is_salvage=True)
    except DamagedData as error:
        damage = str(error)
    else:
        log.error("log of the database damaged, opened up to the damage,reason=%s", damage)
        ledger.damage.note(damage)
        return ledger
    kept = _set_aside(path)
    log.error("database damaged,reason=%s,kept=%s", damage, kept)
    return _open(path, build, files_max, f"{damage}, and is kept in {kept.name}")


def _open(
    path: Path,
    build: Callable[[Storage, str], Ledger],
    files_max: int,
    lost: str = "",
    *,
    is_salvage: bool = False,
) -> Ledger:
    storage = RocksStorage(path, files_max, is_salvage=is_salvage)
    try:
        ledger = build(storage, lost)
        _check_recent_blocks(storage, ledger.head.number)
    except BaseException:
        storage.close()
        raise
    return ledger


def _check_recent_blocks(storage: RocksStorage, head: int) -> None:
    """Refuse a chain with a gap: a part of the state is missing, too."""
    first = max(0, head - RECENT_BLOCKS)
    keys = storage.keys(height_key(b"H", first), height_key(b"H", head + 1))
    numbers = [int.from_bytes(key[1:], "big") for key in keys]
    for below, above in pairwise([first - 1, *numbers, head + 1]):
        if above != below + 1:
            missing = f"{below + 1} to {above - 1}"
            raise DamagedData(f"the database is damaged (it lacks blocks {missing})")


def _set_aside(path: Path) -> Path:
    """Move a database out of the way, durably; return where it is."""
    for number in range(1, KEPT_MAX + 1):
        kept = path.with_name(f"{path.name}.damaged-{number}")
        if kept.exists():
            continue
        try:
            path.rename(kept)
            sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(
                f"{path}: the database is damaged and cannot be moved aside: "
                f"{describe_os_error(error)}"
            ) from error
        return kept
    raise ConfigError(
        f"{path}: the database is damaged, and {KEPT_MAX} damaged ones are kept beside it "
        f"already. Look after the disk; move {path.name}.damaged-* elsewhere, then start the "
        "node again"
    )
