"""py-evm's frame, with py-evm's opcodes except for one warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from eth.vm.code_stream import CodeStream
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.opcodes import CANCUN_OPCODES
from eth.vm.opcode_values import SELFDESTRUCT

from lowu.node.execution.precompiles.table import PRECOMPILES

OPCODES: Mapping[int, Any] = {
    **CANCUN_OPCODES,
    # py-evm wraps it in a warning. A node that turns warnings into errors must not run differently.
    SELFDESTRUCT: CANCUN_OPCODES[SELFDESTRUCT].__wrapped__,
}


class Watch(Protocol):
    """Watches a client's call, and can stop it; transactions run to completion."""

    def tick(self) -> None:
        """Wait for a turn to continue; raise `CallAborted` to stop the call."""
        ...

    def expect_long(self) -> None:
        """The same, before work that may take long and does not tick meanwhile."""
        ...


class InterpretedComputation(CancunComputation):  # type: ignore[misc]
    """A frame that py-evm's loop runs."""

    opcodes: ClassVar[Mapping[int, Any]] = OPCODES
    _precompiles: ClassVar[Mapping[bytes, Any]] = PRECOMPILES
    is_compiled: ClassVar[bool] = False
    child_gas = 0
    """Gas used by the frames that this one called."""
    destroyed: tuple[bytes, ...] = ()
    """Accounts that frames called by this one have marked for destruction."""

    def add_child_computation(self, child_computation: Any) -> None:
        """Absorb a called frame's effects, and release the frame.

        py-evm keeps all frames of a transaction, with their memory, until the transaction ends.
        """
        super().add_child_computation(child_computation)
        self.children.clear()
        self.child_gas += child_computation.get_gas_used()
        absorb(self, child_computation)


class WatchedComputation(InterpretedComputation):
    """The same for a client's call, which is watched."""

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        super().__init__(state, message, transaction_context)
        self.code = _WatchedStream(message.code)
        self.code.watch = transaction_context.watch


class _WatchedStream(CodeStream):  # type: ignore[misc]
    """Code that ticks the watch before each opcode."""

    watch: Watch

    def __iter__(self) -> Iterator[int]:
        for opcode in super().__iter__():
            self.watch.tick()
            yield opcode


def absorb(parent: Any, child: Any) -> None:
    """Take over the refund, logs and destroyed accounts of a called frame, if it succeeded."""
    error = child._error
    if error is not None:
        # Its traceback keeps the frame, its memory and its callers in a reference cycle.
        error.__traceback__ = error.__context__ = None
        return
    parent._gas_meter.gas_refunded += child._gas_meter.gas_refunded
    if child._log_entries:
        parent._log_entries += child._log_entries
    if child.accounts_to_delete or child.destroyed:
        parent.destroyed += (*child.accounts_to_delete, *child.destroyed)
