"""Contract bytecode compiled to Python, running inside py-evm's objects.

    code       what is known of one contract's code: jump destinations, its units
    tracer     traces one unit of code, symbolically, and writes Python for it
    operations opcodes that are expressions over the stack, and the gas of all
    stepper    runs what is not compiled, from the same tables and helpers
    runtime    what compiled code calls: memory, storage, hashing, logs, jumps
    engine     the computation class that runs units, and the bounded cache of them

A *unit* is a Python function for one entry point of a contract. It covers the straight line
from there, through jumps whose target is known, with short side branches (mostly reverts)
nested; what it leaves open is an exit to another unit. The EVM stack is a Python list between
units, and local variables within one. A unit that its stack does not fit, and a contract that
has not used enough gas to be worth compiling, are run opcode by opcode (`stepper`).

Equality with py-evm is exact, including which error a failing frame ends with: gas is charged
before anything that could fail in another way, in the order of the interpreter.
"""
