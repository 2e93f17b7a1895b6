"""The CPU cost of the opcodes that are most expensive for their gas: loops of one operation.

Each loop runs as on a node, cold and hot. Cold means that none of it is compiled at first, as when
a stranger's contract is first called; it earns its compilation during the run. The bound of ADR 5
is 200 ms of CPU a million gas; `lowu.node.simulation.evm.precompile_costs` covers the precompiles,
and has the reference loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.evm import Evm
from lowu.node.simulation.evm.differential import CONTEXT, state_of
from lowu.node.simulation.evm.precompile_costs import (
    collection_paused,
    measure_by_yardstick,
    take_least,
)
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program

GAS = 500_000
ROUNDS = 3
_STOPS = ADDRESSES[1].hex()
"""A contract that stops at once."""
_FAILS = ADDRESSES[2].hex()
"""A contract that reverts."""


def _loop(body: str, before: str = "", times: int = 20) -> bytes:
    """Return code that repeats `body` until its gas runs out."""
    start = bytes.fromhex(before)
    return start + b"\x5b" + bytes.fromhex(body) * times + bytes([0x60, len(start), 0x56])


LOOPS: Mapping[str, bytes] = MappingProxyType(
    {
        "JUMP": _loop("", times=0),
        "JUMPDEST": _loop("5b", times=500),
        "PUSH0, POP": _loop("5f50", times=100),
        "ADD": _loop("600301", "6001"),
        "MULMOD": _loop("7f" + "ff" * 31 + "fb" + "81800950", "7f80" + "00" * 30 + "03"),
        "SDIV": _loop("6003810550", "7f" + "ff" * 31 + "f7"),
        "EXP": _loop("7f" + "ff" * 32 + "7f" + "ff" * 32 + "0a50", times=5),
        "KECCAK256 of nothing": _loop("5f5f2050"),
        "KECCAK256 of a word": _loop("60205f2050"),
        "BALANCE, warm": _loop("303150"),
        "EXTCODECOPY, warm": _loop("5f5f5f303c"),
        "EXTCODEHASH, warm": _loop("303f50"),
        "BLOCKHASH": _loop("60034050"),
        "COINBASE": _loop("4150"),
        "SELFBALANCE": _loop("4750"),
        "MLOAD": _loop("5f5150"),
        "MSTORE": _loop("5f5f52"),
        "CALLDATACOPY": _loop("60205f5f37"),
        "RETURNDATACOPY": _loop("5f5f5f3e"),
        "MCOPY": _loop("60205f5f5e"),
        "SLOAD, warm": _loop("805450", "5f"),
        "SLOAD, cold": _loop("80546001018054500190", "5f", times=5),
        "SSTORE, warm": _loop("805f55", "6005"),
        "TLOAD": _loop("5f5c50"),
        "TSTORE of new slots": _loop("80815d600101", "5f"),
        "LOG0": _loop("5f5fa0"),
        "CALL of a contract": _loop(f"5f5f5f5f5f73{_STOPS}5af150"),
        "STATICCALL that reverts": _loop(f"5f5f5f5f73{_FAILS}5afa50"),
        "CALLCODE": _loop(f"5f5f5f5f5f73{_STOPS}5af250"),
        "CALL of nobody": _loop("5f5f5f5f5f61eeee5af150"),
        "CALL with value to itself": _loop("5f5f5f5f6001305af150", times=2),
        "STATICCALL with 256 kB of input": _loop(
            f"5f5f620400005f73{_STOPS}5afa50", "60016203ffe052"
        ),
        "IDENTITY": _loop("5f5f5f5f5f60045af150"),
        "SHA256": _loop("5f5f5f5f5f60025af150"),
        "CREATE": _loop("5f5f5ff050"),
        "CREATE2 of 2 kB": _loop("806108005f5ff550600101", "5f", times=5),
    }
)


@dataclass(frozen=True, slots=True)
class OpcodeCost:
    """CPU ms a million gas, and reference-loop steps a gas: cold and hot."""

    what: str
    cold_ms: float
    hot_ms: float
    cold_steps: float
    hot_steps: float


def measure_loop(what: str, code: bytes | None = None) -> OpcodeCost:
    """Return a loop's cost: the minimum over several rounds, as other load only adds to it.

    The reference loop runs right before and right after each run.
    """
    run = partial(_run, code or LOOPS[what])
    cold, hot = [], []
    usual = CompiledComputation.cache
    try:
        with collection_paused():
            for _ in range(ROUNDS):
                CompiledComputation.cache = CodeCache()
                cold.append(measure_by_yardstick(run))
                CompiledComputation.cache = CodeCache(gas_an_operation=0)
                run()
                hot.append(measure_by_yardstick(run))
    finally:
        CompiledComputation.cache = usual
    (cold_ms, cold_steps), (hot_ms, hot_steps) = take_least(cold), take_least(hot)
    return OpcodeCost(what, cold_ms, hot_ms, cold_steps, hot_steps)


def _run(code: bytes) -> float:
    """Run a loop until its gas is used up; return milliseconds of CPU a million gas."""
    program = Program((code, b"\0", bytes.fromhex("5f5ffd")), (), b"", 0, GAS)
    evm = Evm(state_of(program), CONTEXT)
    started = time.thread_time()
    outcome = evm.call(SENDER, ADDRESSES[0], 0, b"", GAS)
    return (time.thread_time() - started) * 1e9 / outcome.gas_used
