"""Files: bounded reading of files from others, and private files that only their owner can read.

Documents, salts, consent keys and request secrets are kept in files. Only their owner can read
them, in folders that only the owner may enter, whatever the umask.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lowu.institutions.package.forms import FormError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
OTHERS = 0o077
"""The permission bits of everybody but the owner."""


def read_given(path: Path, size_max: int, *, may_be_link: bool = True) -> bytes:
    """Return the content of a file that somebody else named or put there.

    Raises:
        FormError: it is not a regular file (reading a device might never end, a pipe might
            block), is larger than `size_max` bytes, or cannot be read.
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
    """Make a folder and its missing parents, accessible to their owner only."""
    if not path.is_dir():
        if path.parent != path:
            make_private_folder(path.parent)
        path.mkdir(PRIVATE_FOLDER, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; `OSError` says why not.

    A new file replaces an old one, as others may be able to read the old one. A path that is not
    a regular file, such as /dev/stdout, is written to directly.
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
    """Make an empty file that only its owner can read; restrict an existing file to its owner.

    For libraries that open the file by name, such as SQLite, which gives the files beside it
    the same permissions.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        os.close(os.open(path, flags, PRIVATE_FILE))
    except FileExistsError:
        mode = path.stat().st_mode
        if mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)


@contextmanager
def hold_lock(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file, which is made if there is none and stays; one process has it.

    While another process holds it, `on_wait` is called and this one waits; without `on_wait` that
    is a `BlockingIOError`.
    """
    claim_private(path)
    with path.open("r+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is None:
                raise
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
