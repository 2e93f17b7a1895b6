"""Disk errors in words: the failure, its place, and what to do next.

The engine reports errors as text only. There are three kinds: errors of the environment (no
space, no permission, another process), which leave the data intact; damage, where moving the data
away helps but costs the node its votes; and unknown errors, which are passed on unchanged.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from lowu.node.errors import ConfigError, DamagedData, StorageError

_ADVICE = {
    errno.ENOSPC: "make room on it",
    errno.EDQUOT: "raise the quota or make room",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "mount it writable; a disk with faults may have been mounted read-only",
    errno.EACCES: "give the user that runs the node access to the folder and its files",
    errno.EPERM: "give the user that runs the node access to the folder and its files",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit on open files",
    errno.EIO: "the disk itself fails: check the kernel's log, and copy the folder while you can",
}
"""Errors of the environment, with remedies. The data may be intact: it must stay where it is."""
KEEP = "then start the node again. Leave its data where it is: it holds what the node has signed"
MOVE_AWAY = (
    "To go on without the damaged data, move the node's data folder away and leave last_vote where "
    "it is: the node then fetches the chain from the others. Its votes go with the data, so that a "
    "validator abstains until the chain has outgrown what it may have signed (R-WIPE-1)"
)
"""Advice for the operator of a node that damage has stopped, and for no other: only then is
moving data the remedy."""
_LOCKED = "lock hold by current process", "While lock file"
_DAMAGE = re.compile(
    r"Corruption|checksum mismatch|No such file or directory|does not exist \(create_if_missing"
)


def describe_os_error(error: OSError) -> str:
    """Return the system's message, and what to do next."""
    said = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0)
    return f"{said}; {advice}, {KEEP}" if advice else said


def _find_advice(text: str) -> str:
    """Return the remedy for an error of the environment; "" if the text is not one."""
    for number, advice in _ADVICE.items():
        if os.strerror(number) in text:
            return f"{advice}, {KEEP}"
    return ""


def explain_open_error(path: Path, error: Exception) -> ConfigError | DamagedData:
    """Return why a database cannot be opened."""
    text = " ".join(str(error).split())
    if any(sign in text for sign in _LOCKED):
        return ConfigError(
            f"{path}: the database is open in another process. Is another process using this "
            "node's folder? Stop it; nothing is damaged"
        )
    if advice := _find_advice(text):
        return ConfigError(f"{path}: the database cannot be opened ({text}); {advice}")
    if _DAMAGE.search(text):
        return DamagedData(f"{path}: the database is damaged ({text})")
    return ConfigError(f"{path}: the database cannot be opened ({text})")


def explain_read_error(path: Path, error: Exception) -> StorageError:
    """Return why a record cannot be read."""
    text = " ".join(str(error).split())
    if advice := _find_advice(text):
        return StorageError(f"{path}: the database cannot be read ({text}); {advice}")
    if _DAMAGE.search(text):
        return DamagedData(f"{path}: the database is damaged ({text})")
    return StorageError(f"{path}: the database cannot be read ({text})")


def explain_write_error(path: Path, error: Exception) -> StorageError:
    """Return why a write may not be durable."""
    text = " ".join(str(error).split())
    if advice := _find_advice(text):
        return StorageError(f"{path}: a write could not be made durable ({text}); {advice}")
    if _DAMAGE.search(text):
        return DamagedData(
            f"{path}: a write could not be made durable: the database is damaged ({text})"
        )
    return StorageError(f"{path}: a write could not be made durable ({text}); {KEEP}")
