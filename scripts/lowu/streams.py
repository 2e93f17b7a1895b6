"""Standard output and error of the command, and what happens when it cannot write to them.

A result that cannot be written is a failure, reported in one line. Progress and errors that cannot
be written do not make the command fail.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

PIPE_CLOSED_EXIT = 141
"""What shells report for a program killed by SIGPIPE: its reader has closed the pipe."""


class OutputLost(Exception):
    """A result could not be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the result could not be written to standard output ({error.strerror})")
        self.is_pipe_closed = error.errno == errno.EPIPE


class _Output(io.FileIO):
    """Standard output."""

    def write(self, data: Any) -> int:
        """Write; raise `OutputLost`, distinct from every other error, if the system refuses."""
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLost(error) from error


class _Error(io.FileIO):
    """Standard error: what cannot be written there is dropped."""

    def write(self, data: Any) -> int:
        """Write, or drop."""
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def open_streams() -> str:
    """Make the standard streams safe to write to; return what is wrong with them, or "".

    If a standard descriptor is closed at the start, the next file or socket would take its number
    and receive what is meant for the stream.
    """
    is_output_open = _is_open(1)
    for descriptor in range(3):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115  (for as long as the process runs)
    sys.stdout = _wrap(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _wrap(_Error(2, "w", closefd=False), sys.stderr)
    if is_output_open:
        return ""
    return "standard output is closed; redirect it to /dev/null to discard the result"


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _wrap(raw: io.FileIO, old: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", None),
        errors=getattr(old, "errors", None),
        line_buffering=raw.isatty(),
        write_through=raw.fileno() == 2,
    )


def give_up_output() -> None:
    """Discard what standard output still buffers, now and when the process exits."""
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 1)
    os.close(target)
