"""One node as a process: the entry point of a supervisor's child, and its exit codes.

Exit codes: 0 stopped on request, 1 the node had to stop, 3 the configuration or environment
cannot be used, 5 a port is taken (the network then moves to other ports). The last line of
``nohup.out`` says why.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from lowu.node.app import build_node, run_node
from lowu.node.config import load_genesis, load_node_config
from lowu.node.errors import PORT_TAKEN_EXIT, ConfigError, DamagedData, PortTaken, root_causes
from lowu.node.ledger.disk_errors import MOVE_AWAY
from lowu.node.logs import start_file_log

THREAD_STACK_BYTES = 64 * 1024 * 1024
"""Calls may nest 1,024 deep, each with several Python frames: too many for default stacks."""
TRIM_S = 60.0
"""Between two times that memory is given back, which takes some milliseconds in another thread."""
log = logging.getLogger("INITIALIZER")


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _stop_with_parent(parent_pipe: int, scope: trio.CancelScope) -> None:
    """Stop when the supervisor, which holds the only writing end of the pipe, is gone."""
    await trio.lowlevel.wait_readable(parent_pipe)
    log.warning("supervisor gone, stopping")
    scope.cancel()


async def _give_memory_back() -> None:
    """Return unused memory to the system from time to time, where the C library can (glibc).

    By itself it keeps what lies between pieces in use: 30 MB and more after 100,000 registrations.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await trio.sleep(TRIM_S)
        await trio.to_thread.run_sync(trim, 0)


async def _run(folder: Path, parent_pipe: int | None, on_ready: Callable[[], None]) -> None:
    node = build_node(
        load_genesis(folder / "config.genesis"), load_node_config(folder, folder.name)
    )
    try:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, scope)
                nursery.start_soon(_give_memory_back)
                if parent_pipe is not None:
                    nursery.start_soon(_stop_with_parent, parent_pipe, scope)
                await run_node(node, on_ready)
    finally:
        node.ledger.close()


def node_main(
    folder: Path, parent_pipe: int | None = None, on_ready: Callable[[], None] = lambda: None
) -> int:
    """Run the node of a folder until it stops; return the exit code.

    `on_ready` is called once its ports are open.
    """

    def say_ready() -> None:
        print("running", flush=True)
        on_ready()

    try:
        level = load_node_config(folder, folder.name).log_level
        start_file_log(folder / "log", level)
        threading.stack_size(THREAD_STACK_BYTES)
        trio.run(_run, folder, parent_pipe, say_ready)
    except BaseException as error:  # the process exits here: report the cause, in one place
        causes = root_causes(error)
        with suppress(OSError):  # the disk on which the output is may be full too
            for cause in causes:
                print(describe_cause(cause), file=sys.stderr, flush=True)
        if all(isinstance(cause, ConfigError) for cause in causes):
            return PORT_TAKEN_EXIT if isinstance(causes[0], PortTaken) else 3
        log.critical("stopped by an error", exc_info=error)
        return 1
    log.info("stopped")
    logging.shutdown()
    return 0


def describe_cause(cause: BaseException) -> str:
    """Return the cause of a node's exit in one line, with advice if it is damage."""
    advice = f". {MOVE_AWAY}" if isinstance(cause, DamagedData) else ""
    return f"{type(cause).__name__}: {cause}{advice}"


def redirect_output(folder: Path) -> None:
    """Send stdout and stderr of this process to ``nohup.out`` in a folder."""
    target = os.open(folder / "nohup.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


if __name__ == "__main__":
    sys.exit(node_main(Path(sys.argv[1]).resolve()))
