"""Errors of a node, by whose fault they are. Each knows with what a command ends that meets it.

NodeError
├── ConfigError       the operator's: what, where, and what to do next
│   └── MachineRefuses    the machine's: a port, a folder, a process
│       └── PortTaken
├── CallAborted       a call of a contract that has had its time
├── BadInput          a peer's or a client's: refused, nothing changed
│   └── InvalidTransaction
└── FatalError        this node cannot go on; the process stops
    ├── StorageError      the disk's: a write or read that failed
    │   └── DamagedData       what was written cannot be read back
    └── EngineMismatch    ours: two EVM engines disagree
"""

from __future__ import annotations

from typing import ClassVar

PORT_TAKEN_EXIT = 5
"""Exit code of a node's process after `PortTaken`; the network then moves to other ports."""


class NodeError(Exception):
    """Root of every error that a node raises on purpose."""

    exit_code: ClassVar[int] = 1
    """Of a command that ends with it: 1 failed, 2 usage or file, 3 environment, 4 not ready."""


class ConfigError(NodeError):
    """A configuration cannot be used; the text says where and what to do next."""

    exit_code = 2


class MachineRefuses(ConfigError):
    """The machine does not give what is needed: ports, a folder to write to, a process."""

    exit_code = 3


class PortTaken(MachineRefuses):
    """A port of this node is used by something else."""


class BadInput(NodeError):
    """Something from outside is malformed or breaks a rule."""


class CallAborted(NodeError):
    """A call of a contract was ended before it was over."""


class InvalidTransaction(BadInput):
    """A transaction that must not enter the pool or a block."""

    def __init__(self, reason: str, *, code: int = -32003) -> None:
        super().__init__(reason)
        self.code = code


class FatalError(NodeError):
    """Going on could harm: the node stops."""


class StorageError(FatalError):
    """The disk does not do what it should: the text says which file, and what to do next."""


class DamagedData(StorageError):
    """What was written is missing or has changed.

    Fatal where the node itself needs it; a request of a client or peer for it is refused.
    """


class EngineMismatch(FatalError):
    """The compiled and the interpreted EVM differ on a message (``evm=both``)."""


def raise_if_fatal(error: Exception) -> None:
    """Raise a `FatalError` again that a task ended with, alone or in a group.

    For the boundary around one connection: whatever a peer or client provokes costs that
    connection, but a node whose disk fails must stop.
    """
    group = error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
    fatal, _ = group.split(FatalError)
    if fatal is not None:
        raise fatal


def root_causes(error: BaseException) -> list[BaseException]:
    """Return the errors in a group of groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for item in error.exceptions for cause in root_causes(item)]
    return [error]
