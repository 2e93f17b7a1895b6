"""``lowu bench read``: verifications per second of one Lowu node, compared with anvil.

A verification is a bank's query to its own node: eth_call of getRecord for an anchor. Both systems
hold the same records and receive the same requests over the same number of connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from lowu.contracts.registry import HASH_REGISTRY_ADDRESS, encode_get_record
from lowu.experiments.actors.light_client import LightClient, render_calls
from lowu.experiments.load.offering import build_network, offer
from lowu.measuring.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.measuring.bench_report import BenchReport, ratios
from lowu.measuring.rivals import find_anvil, parse_rivals, running_anvil
from lowu.node.client import ClientError
from lowu.node.topology.plan import Plan
from lowu.output import Progress

RECORDS = 400
CONNECTIONS = 8
BATCH = 100
NODES = 4
WARM_UP = 10
READ_S = 120.0
_UNKNOWN = b'"result":"0x' + b"0" * 64 * 16
"""getRecord's answer for a record that does not exist: sixteen words of zeros."""


@dataclass(slots=True)
class ReadMeasurement:
    """Measurements of one system, round by round."""

    single_per_s: list[float] = field(default_factory=list)
    batched_per_s: list[float] = field(default_factory=list)
    cpu_single_us: list[float] = field(default_factory=list)
    cpu_batched_us: list[float] = field(default_factory=list)


def run_read(against: str, rounds: int, count: int, plot: Path | None, *, is_json: bool) -> None:
    """Measure and print."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    plan = plan_load(NODES)
    anvil = find_anvil(progress) if "anvil" in parse_rivals(against) else None
    if against and anvil is None:
        report.note_missing("anvil: it is not on the PATH, and npm could not fetch it")
    issuers = sign_for(plan, RECORDS)
    ours, theirs = ReadMeasurement(), ReadMeasurement()

    def measure_lowu() -> None:
        with running_network(build_network(NODES)) as network:
            trio.run(offer, issuers, network.urls)
            _measure(ours, plan, network.urls[0], network.pids["node0"], count)

    def measure_anvil() -> None:
        if anvil is not None:
            with running_anvil(anvil, plan.genesis, 0.2) as rival:
                report.note_version("anvil", rival.version)
                trio.run(offer, issuers, [rival.url])
                _measure(theirs, plan, rival.url, rival.pid, count)

    steps: list[Callable[[], None]] = [measure_lowu, measure_anvil]
    for number in range(rounds):
        for step in steps if number % 2 == 0 else steps[::-1]:
            step()
        text = f"Lowu {ours.single_per_s[-1]:.0f} per second, batched {ours.batched_per_s[-1]:.0f}"
        if theirs.single_per_s:
            text += f"; anvil {theirs.single_per_s[-1]:.0f}, {theirs.batched_per_s[-1]:.0f}"
        tell(progress, number, rounds, text)
    _report(report, ours, theirs, rounds)


def _measure(found: ReadMeasurement, plan: Plan, url: str, pid: int, count: int) -> None:
    trio.run(_read, url, _bodies(plan, WARM_UP * BATCH, BATCH))
    for batch, speeds, costs in (
        (1, found.single_per_s, found.cpu_single_us),
        (BATCH, found.batched_per_s, found.cpu_batched_us),
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
                wanted = body.count(b"eth_call")
                if answer.count(b'"result":"0x') != wanted or _UNKNOWN in answer:
                    raise ClientError(f"{url} did not verify a record: {answer[:200]!r}")

    started = time.monotonic()
    with trio.move_on_after(READ_S) as limit:
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(work)
    if limit.cancelled_caught:
        raise ClientError(f"{url}: {len(bodies)} requests were not answered in {READ_S:.0f} s")
    return time.monotonic() - started


def _report(
    report: BenchReport, ours: ReadMeasurement, theirs: ReadMeasurement, rounds: int
) -> None:
    report.add("verifications_per_second", ours.single_per_s, 0)
    report.add("verifications_per_second_batched", ours.batched_per_s, 0)
    report.add("cpu_us_verification", ours.cpu_single_us, 0)
    report.add("cpu_us_verification_batched", ours.cpu_batched_us, 0)
    report.add("anvil_per_second", theirs.single_per_s, 0)
    report.add("anvil_per_second_batched", theirs.batched_per_s, 0)
    report.add("cpu_us_anvil", theirs.cpu_single_us, 0)
    report.add("cpu_us_anvil_batched", theirs.cpu_batched_us, 0)
    if theirs.single_per_s:
        single = ratios(ours.single_per_s, theirs.single_per_s)
        batched = ratios(ours.batched_per_s, theirs.batched_per_s)
        report.add("ratio_anvil_median", single.values, 2)
        report.add("ratio_anvil_batched_median", batched.values, 2)
    report.emit(f"Verifications by one node, median and range of {rounds} rounds")
    names = {"verifications_per_second": "Lowu, one node", "anvil_per_second": "anvil"}
    report.draw_rounds(names, "verifications per second")
