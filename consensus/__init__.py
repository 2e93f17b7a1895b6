"""How nodes agree: the PBFT replica of Lowu as a pure state machine.

The package imports nothing but the standard library and msgpack (in `codec` and `records`),
reads no clock, draws no random numbers and does no I/O. `docs/PROTOCOL.md` is normative; rule
ids such as R-COM-1 in docstrings and tests refer to it.
"""
