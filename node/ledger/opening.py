"""Opening a node's chain, or starting over beside a damaged one.

If the write-ahead log is damaged beyond what a crash can leave, the node reads it up to the
damage and logs an error: the vote records and their trace then tell exactly whether any vote that
may have been sent is lost. After any other damage the node keeps the database aside for
inspection and fetches the chain from the other nodes; a validator abstains until the chain has
outgrown what it may have signed (R-WIPE-1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from lowu.node.errors import ConfigError, DamagedData
from lowu.node.ledger import schema
from lowu.node.ledger.disk_errors import describe_os_error
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.schema import height_key
from lowu.node.ledger.storage import Storage
from lowu.node.ledger.vote_trace import sync_folder
from lowu.node.limits.descriptors import ROCKSDB_FILES

KEPT_MAX = 3
"""Most damaged databases kept aside; more would fill up the disk."""
RECENT_BLOCKS = 8_192
"""Number of blocks below the head that a start looks for: more than the engine writes to one
file (16 MiB; a block with its votes takes 3 KB or more). If the engine has lost a file without
noticing, the gap is among them."""

log = logging.getLogger("STORAGE")


def _make(step: Callable[[], None]) -> None:
    step()


def open_chain(
    path: Path,
    build: Callable[[Storage, str], Ledger],
    files_max: int = ROCKSDB_FILES[1],
    make_step: Callable[[Callable[[], None]], None] = _make,
) -> Ledger:
    """Open a node's database; if it is damaged, set it aside and start with an empty one.

    `build` makes the ledger from the storage and the reason why votes may be lost; `make_step`
    makes the durable step of moving a database out of the way, which it may let fail.

    Raises:
        ConfigError: it cannot be opened, or `KEPT_MAX` damaged databases are kept already.
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
    kept = set_aside(path, make_step)
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
    """Refuse a chain with a gap, since part of the state is missing too.

    Below a state that was loaded there are few headers; an older Lowu did not write how few.
    """
    lowest = storage.get(schema.KEY_LOADED) or storage.get(schema.KEY_BASE) or b""
    first = max(int.from_bytes(lowest, "big"), head - RECENT_BLOCKS)
    keys = storage.keys(height_key(b"H", first), height_key(b"H", head + 1))
    numbers = [int.from_bytes(key[1:], "big") for key in keys]
    for below, above in pairwise([first - 1, *numbers, head + 1]):
        if above != below + 1:
            missing = f"{below + 1} to {above - 1}"
            raise DamagedData(f"the database is damaged (it lacks blocks {missing})")


def set_aside(path: Path, make_step: Callable[[Callable[[], None]], None] = _make) -> Path:
    """Move a database out of the way, durably; return where it is.

    Raises:
        ConfigError: it cannot be moved, or `KEPT_MAX` are kept already.
    """
    kept = find_place_aside(path)

    def move() -> None:
        path.rename(kept)
        sync_folder(path.parent)

    try:
        make_step(move)
    except OSError as error:
        raise ConfigError(
            f"{path}: the database is damaged and cannot be moved aside: {describe_os_error(error)}"
        ) from error
    return kept


def find_place_aside(path: Path) -> Path:
    """Return where a database can be moved; `ConfigError` if `KEPT_MAX` are kept already."""
    for number in range(1, KEPT_MAX + 1):
        kept = path.with_name(f"{path.name}.damaged-{number}")
        if not kept.exists():
            return kept
    raise ConfigError(
        f"{path}: {KEPT_MAX} damaged databases are kept beside it already, and it would be another "
        f"one. Check the disk; move {path.name}.damaged-* elsewhere, then try again"
    )
