"""Contract bytecode compiled to Python, running inside py-evm's objects.

    code       the facts known about one contract's code: jump destinations, its units
    tracer     traces one unit of code symbolically, and writes Python for it
    operations opcodes that are expressions over the stack, and the static gas of others
    stepper    runs uncompiled code, from the same tables and helpers
    runtime    helpers for compiled code: memory, storage, hashing, logs, jumps
    engine     the computation class that runs units, and their bounded cache

A *unit* is a Python function for one entry point of a contract. It covers the straight line
from there, through jumps whose target is known, with short side branches (mostly reverts)
nested; any other branch is an exit to another unit. The EVM stack is a Python list between
units, and local variables within one. A unit that the stack does not fit, and a contract that
has not used enough gas to be worth compiling, are run opcode by opcode (`stepper`).

Results equal py-evm's exactly, including the error of a failing frame: gas is charged in the
interpreter's order, before anything that could fail in another way.
"""
