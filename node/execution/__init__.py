"""Executing blocks: py-evm's semantics over a flat state. Nothing else touches py-evm.

`flat_state` is the state that blocks read and write, `evm` binds py-evm to it, `executor` runs
blocks and calls, `genesis` builds block 0.
"""

from lowu.node.execution.postponed import postpone_bls_precompiles

postpone_bls_precompiles()
