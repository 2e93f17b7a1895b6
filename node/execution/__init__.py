"""Executing blocks: py-evm's semantics over a flat state. Nothing else touches py-evm.

`FlatState` is what a block reads and writes, `evm` binds py-evm to it, `executor` runs blocks
and calls, `genesis` makes block 0.
"""
