"""Files: what others give is read within bounds, and what is ours nobody else can read.

Documents, salts, keys of consents and secrets of requests stand in files. They are made readable
for their owner only, in folders that only their owner may enter, whatever the umask.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from institutions.package.forms import FormError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
OTHERS = 0o077
"""What anybody but the owner may do with a file."""


def read_given(path: Path, size_max: int, *, may_be_link: bool = True) -> bytes:
    """Return what is in a file that somebody has named, or put there.

    Raises:
        FormError: it is no plain file (a device would be read without end, a pipe waited for),
            larger than `size_max` bytes, or cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags if may_be_link else flags | os.O_NOFOLLOW)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FormError(f"{path.name}: not a plain file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(size_max + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FormError(f"{path.name}: cannot be read ({error.strerror})") from error
    if len(data) > size_max:
        raise FormError(f"{path.name}: larger than {size_max} bytes")
    return data


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only."""
    if not path.is_dir():
        if path.parent != path:
            make_private_folder(path.parent)
        path.mkdir(PRIVATE_FOLDER, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file for its owner only, whole or not at all; `OSError` says why not.

    A new file takes the place of an old one, as that may be readable for others. What is no
    plain file, such as /dev/stdout, is written to as it is.
    """
    target = Path(os.path.realpath(path))
    is_device = path.absolute().parts[1:2] in (("dev",), ("proc",))
    if is_device or (target.exists() and not target.is_file()):
        with path.open("wb") as device:
            device.write(data)
        return
    descriptor, staging = tempfile.mkstemp(prefix=".lowu-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(staging, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(staging)
        raise


def claim_private(path: Path) -> None:
    """Make an empty file for its owner only; one that is there already becomes that.

    For what somebody else then opens by name, such as SQLite: what it puts beside the file gets
    the same permissions.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, PRIVATE_FILE))
    except FileExistsError:
        mode = path.stat().st_mode
        if mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
