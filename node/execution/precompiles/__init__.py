"""The ten precompiled contracts of Cancun, 0x01 to 0x0a, with bounded costs.

The EVM calls `table`, which takes the gas, then runs the work. The other modules are pure
functions from input bytes to output bytes; `BadInput` means a failed call.
`node/simulation/evm/precompile_costs.py` measures their costs; ADR 11 gives the reasons.
"""
