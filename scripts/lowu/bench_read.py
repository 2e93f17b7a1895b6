"""``lowu bench read``: verifications a second, one node of Lowu against anvil.

A verification is what a bank asks of its own node: eth_call of getRecord for an anchor. Both
systems hold the same records, and get the same requests over the same connections.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from contracts.registry import HASH_REGISTRY_ADDRESS, encode_get_record
from experiments.light_client import LightClient, render_calls
from experiments.load import Issuer, build_network, offer
from lowu.bench import Spread, describe_machine, print_machine, ratios
from lowu.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.bench_rivals import find_anvil, running_anvil
from lowu.cli import emit_json
from lowu.output import Progress, print_table
from node.client import ClientError
from node.topology.plan import Plan

RECORDS = 400
CONNECTIONS = 8
BATCH = 100
NODES = 4


@dataclass(slots=True)
class Measured:
    """Verifications a second, and CPU µs a verification, round by round."""

    single: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    cpu_single_us: list[float] = field(default_factory=list)
    cpu_batched_us: list[float] = field(default_factory=list)


def run_read(rounds: int, count: int, *, is_json: bool) -> None:
    """Measure, and print."""
    progress = Progress(is_silent=is_json)
    plan = plan_load(NODES)
    anvil = find_anvil(progress)
    issuers = sign_for(plan, RECORDS)
    ours, theirs = Measured(), Measured()
    for number in range(rounds):
        with running_network(build_network(NODES)) as network:
            trio.run(offer, issuers, network.urls)
            _measure(ours, plan, network.urls[0], network.pids["node0"], count)
        text = f"Lowu {ours.single[-1]:.0f} a second, batched {ours.batched[-1]:.0f}"
        if anvil is not None:
            _measure_anvil(theirs, anvil, plan, issuers, count)
            text += f"; anvil {theirs.single[-1]:.0f} and {theirs.batched[-1]:.0f}"
        tell(progress, number, rounds, text)
    _report(ours, theirs, rounds, is_json=is_json)


def _measure_anvil(
    found: Measured, program: Path, plan: Plan, issuers: Sequence[Issuer], count: int
) -> None:
    with running_anvil(program, plan.genesis, 1) as rival:
        trio.run(offer, issuers, [rival.url])
        _measure(found, plan, rival.url, rival.pid, count)


def _measure(found: Measured, plan: Plan, url: str, pid: int, count: int) -> None:
    for batch, speeds, costs in (
        (1, found.single, found.cpu_single_us),
        (BATCH, found.batched, found.cpu_batched_us),
    ):
        bodies = _bodies(plan, count, batch)
        before = cpu_s(pid)
        seconds = trio.run(partial(_read, url, bodies))
        speeds.append(count / seconds)
        costs.append((cpu_s(pid) - before) / count * 1e6)


def _bodies(plan: Plan, count: int, batch: int) -> list[bytes]:
    """Return requests that read `count` records, of all issuers in turn."""
    to = "0x" + HASH_REGISTRY_ADDRESS.hex()
    organisations = [item.org_id for item in plan.institutions]
    each = RECORDS // len(organisations)
    calls = []
    for number in range(count):
        issuer = organisations[number % len(organisations)]
        anchor = (number // len(organisations) % each + 1).to_bytes(32, "big")
        data = "0x" + encode_get_record(issuer, anchor).hex()
        calls.append([{"to": to, "data": data}, "latest"])
    return [
        render_calls("eth_call", calls[start : start + batch])
        for start in range(0, len(calls), batch)
    ]


async def _read(url: str, bodies: Sequence[bytes]) -> float:
    """Send all requests over a few connections; return the seconds it took."""
    remaining = iter(bodies)

    async def work() -> None:
        async with LightClient(url) as client:
            for body in remaining:
                answer = await client.post(body)
                if b'"error"' in answer or b'"result":"0x0000' not in answer:
                    raise ClientError(f"{url} does not verify a record: {answer[:200]!r}")

    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(work)
    return time.monotonic() - started


def _report(ours: Measured, theirs: Measured, rounds: int, *, is_json: bool) -> None:
    spreads = {
        "verifications_per_second": Spread(tuple(ours.single)),
        "verifications_per_second_batched": Spread(tuple(ours.batched)),
        "cpu_us_verification": Spread(tuple(ours.cpu_single_us)),
        "cpu_us_verification_batched": Spread(tuple(ours.cpu_batched_us)),
    }
    if theirs.single:
        spreads |= {
            "anvil_per_second": Spread(tuple(theirs.single)),
            "anvil_per_second_batched": Spread(tuple(theirs.batched)),
            "ratio_anvil": ratios(ours.single, theirs.single),
            "ratio_anvil_batched": ratios(ours.batched, theirs.batched),
        }
    if is_json:
        figures = {name: round(spread.median, 3) for name, spread in spreads.items()}
        emit_json(True, figures, machine=describe_machine())
        return
    rows = [
        (name.replace("_", " "), spread.describe(2 if "ratio" in name else 0))
        for name, spread in spreads.items()
    ]
    print_table(f"one node, median and range of {rounds} rounds", ("figure", "value"), rows)
    print_machine(describe_machine())
