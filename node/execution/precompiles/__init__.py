"""The ten precompiled contracts of Cancun, 0x01 to 0x0a, with bounded costs.

`table` is what the EVM calls: gas first, then the work. The other modules are pure functions
from input bytes to output bytes; `BadInput` is a failed call. What each costs is measured in
`node/simulation/evm/precompile_costs.py`; ADR 11 says what was chosen and why.
"""
