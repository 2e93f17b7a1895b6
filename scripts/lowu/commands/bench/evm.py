"""``lowu bench evm``: the compiled engine against py-evm's interpreter.

Each case sends similar messages to the same contract. In every round both engines run the same
messages on equal states, one engine after the other, and the CPU time of the process is measured;
outcomes and writes must be equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from lowu.cli import emit_json
from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    Role,
    encode_get_record,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.measuring.bench_report import Spread, describe_machine, print_machine, ratios
from lowu.node.config import Engine
from lowu.node.execution.compiler.engine import CodeCache, CompiledComputation
from lowu.node.execution.evm import BlockContext, Evm, Outcome
from lowu.node.execution.flat_state import EmptyState, LayeredState, WriteSet
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import GenesisConfig, OrgEntry, SchemaEntry
from lowu.output import Progress, print_table

ISSUER = b"\x15" * 20
OTHER = b"\x0e" * 20
GAS = 20_000_000
ROUND_S = 0.25
"""CPU time that the interpreter spends in one round, roughly."""
CONTEXT = BlockContext(1, 1_700_000_000, 30_000_000, 20_200, lambda number: None)


@dataclass(frozen=True, slots=True)
class Case:
    """A message that is sent repeatedly, slightly different each time."""

    name: str
    to: bytes
    data: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class EvmMeasurement:
    """One case after all rounds. Times are CPU µs per message."""

    case: Case
    gas: int
    interpreted: Spread
    compiled: Spread
    speedup: Spread
    compile_ms: float
    """Extra time of the first message, compared with later ones."""


def build_state() -> tuple[WriteSet, list[Case]]:
    """Return a state with the registry and the workloads deployed, and the cases."""
    org = OrgEntry(1, "bench", 1, int(Role.ISSUER), "0x" + ISSUER.hex(), "11" * 64, (1,))
    node_id = "01" * 64
    genesis = GenesisConfig(
        "bench", "group0", 20_200, 0, 30_000_000, 1_000, 1, ((node_id, 1),), (),
        "0x" + "99" * 20, (org,), (SchemaEntry.of(SCHEMAS["cn.ecr/1"]),),
    )  # fmt: skip
    base = build_genesis(genesis).writes
    evm = Evm(LayeredState(EmptyState(), base), CONTEXT)
    token, loops, bank = (bytes([0xA0 + number]) * 20 for number in range(3))
    artifacts = {name: load_artifact(name) for name in ("Token", "Loops", "SmallBank")}
    deployments = (
        (token, artifacts["Token"].encode_deploy(["uint256"], [10**24])),
        (loops, artifacts["Loops"].bytecode),
        (bank, artifacts["SmallBank"].bytecode),
    )
    for address, code in deployments:
        evm.create_at(ISSUER, address, code, GAS)
    deposit = artifacts["SmallBank"].functions["depositChecking"]
    for customer in range(10):
        evm.call(ISSUER, bank, 0, deposit.encode_call(customer, 10**9), GAS)

    def call(contract: str, function: str, *arguments: Any) -> Callable[[int], bytes]:
        return lambda i: (
            artifacts[contract]
            .functions[function]
            .encode_call(*(item(i) if callable(item) else item for item in arguments))
        )

    cases = [
        Case("register_anchor", HASH_REGISTRY_ADDRESS, _register),
        Case("get_record", HASH_REGISTRY_ADDRESS, lambda i: encode_get_record(1, _anchor(i))),
        Case(
            "token_transfer", token, call("Token", "transfer", "0x" + OTHER.hex(), lambda i: i + 1)
        ),
        Case("small_bank", bank, call("SmallBank", "sendPayment", 1, lambda i: 2 + i % 8, 5)),
        Case("hashing", loops, call("Loops", "hashing", 100)),
        Case("storing", loops, call("Loops", "storing", 20)),
        Case("sorting", loops, call("Loops", "sorting", 30)),
        Case("powers", loops, call("Loops", "powers", 100)),
    ]
    return {**base, **evm.writes()}, cases


def _anchor(number: int) -> bytes:
    return (number + 1).to_bytes(32, "big")


def _register(number: int) -> bytes:
    return encode_register_anchor(_anchor(number), schema=1)


def _run(
    writes: WriteSet, case: Case, engine: Engine, count: int
) -> tuple[float, tuple[list[Outcome], WriteSet]]:
    """Run messages on a fresh state; return CPU µs per message, and all outcomes and writes."""
    evm = Evm(LayeredState(EmptyState(), writes), replace(CONTEXT, engine=engine))
    messages = [case.data(number) for number in range(count)]
    started = time.process_time()
    outcomes = [evm.call(ISSUER, case.to, 0, data, GAS) for data in messages]
    elapsed_s = time.process_time() - started
    return elapsed_s / count * 1e6, (outcomes, evm.writes())


def measure(writes: WriteSet, case: Case, rounds: int) -> EvmMeasurement:
    """Run a case in both engines, round by round.

    Raises:
        RuntimeError: the engines differ, or the message fails.
    """
    run = partial(_run, writes, case)
    slow_us, (outcomes, _) = run(Engine.INTERPRETED, 3)
    if any(outcome.status != 0 for outcome in outcomes):
        raise RuntimeError(f"{case.name} fails: {outcomes[0].status.name}")
    CompiledComputation.cache = CodeCache(gas_an_operation=0, join_every=1)
    first_us, _ = run(Engine.COMPILED, 1)
    count = max(3, min(2_000, int(ROUND_S * 1e6 / slow_us)))
    run(Engine.COMPILED, count)
    interpreted, compiled = [], []
    for _ in range(rounds):
        slow, expected = run(Engine.INTERPRETED, count)
        fast, found = run(Engine.COMPILED, count)
        if found != expected:
            raise RuntimeError(f"{case.name}: the engines differ")
        interpreted.append(slow)
        compiled.append(fast)
    return EvmMeasurement(
        case,
        outcomes[0].gas_used,
        Spread(tuple(interpreted)),
        Spread(tuple(compiled)),
        ratios(interpreted, compiled),
        max(0.0, (first_us - min(compiled)) / 1000),
    )


def run_bench_evm(rounds: int, only: str, *, is_json: bool) -> None:
    """Measure all cases, or those named, and print them."""
    progress = Progress(is_silent=is_json)
    writes, cases = build_state()
    names = [name for name in only.split(",") if name]
    for name in names:
        if name not in {case.name for case in cases}:
            known = ", ".join(case.name for case in cases)
            raise click.UsageError(f"--only {name}: no such case; there are {known}")
    found = []
    for case in cases:
        if not names or case.name in names:
            found.append(measure(writes, case, rounds))
            progress(f"{case.name}: {found[-1].speedup.describe()} times as fast")
    figures = {
        "rounds": rounds,
        **{f"speedup_{item.case.name}": round(item.speedup.median, 2) for item in found},
        "speedup_min": round(min(item.speedup.median for item in found), 2),
    }
    machine = describe_machine()
    if is_json:
        emit_json(True, figures, machine=machine, cases=[_describe(item) for item in found])
        return
    print_table(
        f"CPU time per message, median and range of {rounds} paired rounds",
        ("case", "gas", "interpreted µs", "compiled µs", "times as fast", "compile ms"),
        [
            (
                item.case.name,
                item.gas,
                item.interpreted.describe(0),
                item.compiled.describe(0),
                item.speedup.describe(),
                f"{item.compile_ms:.0f}",
            )
            for item in found
        ],
    )
    print_machine(machine)


def _describe(item: EvmMeasurement) -> dict[str, Any]:
    return {
        "case": item.case.name,
        "gas": item.gas,
        "interpreted_us": [round(value, 1) for value in item.interpreted.values],
        "compiled_us": [round(value, 1) for value in item.compiled.values],
        "speedups": [round(value, 2) for value in item.speedup.values],
        "compile_ms": round(item.compile_ms, 1),
    }
