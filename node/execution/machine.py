"""py-evm's frame, with its own opcodes but for a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.opcodes import CANCUN_OPCODES
from eth.vm.opcode_values import SELFDESTRUCT

OPCODES: Mapping[int, Any] = {
    **CANCUN_OPCODES,
    # py-evm wraps it into a warning. A node whose warnings are errors must not run differently.
    SELFDESTRUCT: CANCUN_OPCODES[SELFDESTRUCT].__wrapped__,
}


class InterpretedComputation(CancunComputation):  # type: ignore[misc]
    """A frame that py-evm's loop runs."""

    opcodes: ClassVar[Mapping[int, Any]] = OPCODES
