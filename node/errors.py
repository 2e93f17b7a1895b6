"""Errors of a node, by whose fault they are. Each has the exit code of a command that it fails.

NodeError
├── ConfigError       the operator's: the problem, its place, and the remedy
│   └── MachineRefuses    the machine's: a port, a folder, a process
│       └── PortTaken
├── CallAborted       a contract call that has used up its time
├── BadInput          a peer's or a client's: refused, nothing changed
│   ├── InvalidTransaction
│   │   └── StateLoading      nothing can be said before a snapshot is loaded
│   ├── BlockNotKept      a block below those that the node has
│   └── StateNotKept      a past block whose state is gone
└── FatalError        this node cannot continue; the process stops
    ├── StorageError      the disk's: a write or read that failed
    │   └── DamagedData       written data cannot be read back
    └── EngineMismatch    ours: two EVM engines disagree
"""

from __future__ import annotations

from typing import ClassVar

PORT_TAKEN_EXIT = 5
"""Exit code of a node's process after `PortTaken`; the network then moves to other ports."""


class NodeError(Exception):
    """Root of every error that a node raises on purpose."""

    exit_code: ClassVar[int] = 1
    """Exit code of a command: 1 failed, 2 usage or file, 3 environment, 4 not ready."""


class ConfigError(NodeError):
    """A configuration cannot be used; the text says where and what to do next."""

    exit_code = 2


class MachineRefuses(ConfigError):
    """The machine does not provide what is needed: ports, a writable folder, a process."""

    exit_code = 3


class PortTaken(MachineRefuses):
    """Another program uses a port of this node."""


class BadInput(NodeError):
    """Input from a peer or a client is malformed or breaks a rule."""


class LinkLost(BadInput):
    """A peer cannot be asked, or could not answer, for want of a link: its own fault or not."""


class CallAborted(NodeError):
    """A contract call was stopped before it had finished."""


class InvalidTransaction(BadInput):
    """A transaction that must not enter the pool or a block."""

    def __init__(self, reason: str, *, code: int = -32003) -> None:
        super().__init__(reason)
        self.code = code


class StateLoading(InvalidTransaction):
    """The state is being replaced by a snapshot: no read or transaction can be judged now."""

    def __init__(self) -> None:
        super().__init__(
            "the node loads a snapshot of the state; try again in a moment", code=-32000
        )


class BlockNotKept(BadInput):
    """A block that this node never had, or has dropped."""

    def __init__(self, number: int, base: int) -> None:
        super().__init__(
            f"block {number} is not kept: the blocks of this node begin with {base}; ask another "
            "node"
        )


class StateNotKept(BadInput):
    """The state after a block is not kept, or not known yet."""

    def __init__(self, number: int, lowest: int, highest: int) -> None:
        super().__init__(
            f"state of block {number} is not kept; this node has that of blocks {lowest} to "
            f"{highest} (history_blocks in [network] says how many it keeps)"
        )


class FatalError(NodeError):
    """Continuing could do harm: the node stops."""


class StorageError(FatalError):
    """The disk fails: the text says which file, and what to do next."""


class DamagedData(StorageError):
    """Stored data is missing or has changed.

    Fatal if the node itself needs the data; a client's or peer's request for it is refused.
    """


class EngineMismatch(FatalError):
    """The compiled and the interpreted EVM differ on a message (``evm=both``)."""


def raise_if_fatal(error: Exception) -> None:
    """Raise the fatal errors in an error, which may be a group, if there are any.

    For the handler around one connection: an error that a peer or client provokes closes that
    connection only, but a node whose disk fails must stop.
    """
    group = error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
    fatal, _ = group.split(FatalError)
    if fatal is not None:
        raise fatal


def root_causes(error: BaseException) -> list[BaseException]:
    """Return the errors in nested groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for item in error.exceptions for cause in root_causes(item)]
    return [error]
