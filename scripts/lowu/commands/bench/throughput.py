"""``lowu bench throughput``: registrations per second, compared with anvil and eth-tester.

In every round the same signed registrations go to a fresh Lowu network, to anvil (mining at once,
five times a second, and once a second; the best mode counts) and, in smaller number, to eth-tester.
Lowu and anvil receive them through the same method over HTTP; eth-tester, which serves no HTTP,
through a function. A registration counts once it is committed on all nodes and has succeeded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import trio

from lowu.experiments.load.offering import Offered, build_network, count_successes, offer
from lowu.measuring.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.measuring.bench_report import BenchReport, ratios
from lowu.measuring.rivals import (
    ANVIL_MODES,
    Mode,
    build_eth_tester,
    find_anvil,
    is_eth_tester_installed,
    parse_rivals,
    running_anvil,
)
from lowu.node.client import ClientError
from lowu.node.errors import NodeError
from lowu.node.genesis_config import GenesisConfig
from lowu.output import Progress

ETH_TESTER_REGISTRATIONS = 200


@dataclass(slots=True)
class ThroughputMeasurement:
    """All rounds: registrations per second, and CPU µs per registration."""

    lowu: list[float] = field(default_factory=list)
    cpu_entry_us: list[float] = field(default_factory=list)
    """Of the median entry, a replica to which clients send."""
    cpu_follower_us: list[float] = field(default_factory=list)
    """Of the follower, which gets everything by gossip."""
    anvil: list[float] = field(default_factory=list)
    cpu_anvil_us: list[float] = field(default_factory=list)
    anvil_modes: list[str] = field(default_factory=list)
    """The best mining mode."""
    eth_tester: list[float] = field(default_factory=list)


class Bench:
    """One run of the command."""

    def __init__(self, nodes: int, count: int, batch: int, progress: Progress) -> None:
        self._nodes = nodes
        self._batch = batch
        self._progress = progress
        self.found = ThroughputMeasurement()
        plan = plan_load(nodes)
        self.genesis: GenesisConfig = plan.genesis
        progress(f"signing {count} registrations")
        self.issuers = sign_for(plan, count, issuers=max(1, nodes - 1))

    def measure_lowu(self) -> None:
        """Offer everything to a network; its last node gets it by gossip only."""
        with running_network(build_network(self._nodes)) as network:
            entries = network.urls[: max(1, self._nodes - 1)]
            before = list(network.cpu_s().values())
            work = partial(offer, watched=network.urls, batch=self._batch)
            offered = trio.run(work, self.issuers, entries)
            after = list(network.cpu_s().values())
            for url in network.urls:
                # One more: `up` commits a probe.
                _check_successes(url, trio.run(count_successes, url), offered.count + 1)
        costs = [(b - a) / offered.count * 1e6 for a, b in zip(before, after, strict=True)]
        self.found.lowu.append(offered.count / offered.commit_s)
        self.found.cpu_entry_us.append(median(costs[: len(entries)]))
        self.found.cpu_follower_us.append(costs[-1])

    def measure_anvil(self, program: Path, report: BenchReport) -> None:
        """Offer everything to anvil in each mining mode, and keep the fastest."""
        results: list[tuple[float, float, str]] = []
        for mode in ANVIL_MODES:
            try:
                offered, cost_us, text = self._offer_to_anvil(program, mode)
            except (ClientError, NodeError) as error:
                self._progress(f"anvil, {mode.name}: {error}")
                continue
            report.note_version("anvil", text)
            results.append((offered.count / offered.commit_s, cost_us, mode.name))
        if not results:
            raise NodeError("anvil failed under the load in every mining mode")
        best = max(results)
        self.found.anvil.append(best[0])
        self.found.cpu_anvil_us.append(best[1])
        self.found.anvil_modes.append(best[2])

    def _offer_to_anvil(self, program: Path, mode: Mode) -> tuple[Offered, float, str]:
        with running_anvil(program, self.genesis, mode.block_s) as rival:
            before = cpu_s(rival.pid)
            work = partial(
                offer,
                batch=self._batch,
                connections=mode.connections,
                in_flight_max=mode.in_flight_max,
            )
            offered = trio.run(work, self.issuers, [rival.url])
            cost_us = (cpu_s(rival.pid) - before) / offered.count * 1e6
            _check_successes(rival.url, trio.run(count_successes, rival.url), offered.count)
            return offered, cost_us, rival.version

    def measure_eth_tester(self) -> None:
        """Give fewer registrations to eth-tester, one by one."""
        tester = build_eth_tester(self.genesis)
        raws = self.issuers[0].raws[:ETH_TESTER_REGISTRATIONS]
        started = time.monotonic()
        hashes = [tester.send_raw_transaction(raw) for raw in raws]
        self.found.eth_tester.append(len(raws) / (time.monotonic() - started))
        done = sum(tester.get_transaction_receipt(item)["status"] == 1 for item in hashes)
        _check_successes("eth-tester", done, len(raws))


def _check_successes(where: str, found: int, wanted: int) -> None:
    if found < wanted:
        raise NodeError(f"{where}: only {found} of {wanted} transactions succeeded")


def run_throughput(
    nodes: int,
    against: str,
    rounds: int,
    count: int,
    batch: int,
    plot: Path | None,
    *,
    is_json: bool,
) -> None:
    """Measure and print."""
    progress = Progress(is_silent=is_json)
    report = BenchReport(is_json=is_json, plot=plot)
    rivals = parse_rivals(against)
    anvil = find_anvil(progress) if "anvil" in rivals else None
    if "anvil" in rivals and anvil is None:
        report.note_missing("anvil: it is not on the PATH, and npm could not fetch it")
    has_eth_tester = "eth-tester" in rivals and is_eth_tester_installed()
    if "eth-tester" in rivals and not has_eth_tester:
        report.note_missing("eth-tester: install it with `pip install 'lowu[bench]'`")
    bench = Bench(nodes, count, batch, progress)
    found = bench.found
    for number in range(rounds):
        steps = [bench.measure_lowu]
        if anvil is not None:
            steps.append(partial(bench.measure_anvil, anvil, report))
        if has_eth_tester:
            steps.append(bench.measure_eth_tester)
        for step in steps if number % 2 == 0 else steps[::-1]:
            step()
        text = f"Lowu {found.lowu[-1]:.0f} per second"
        if found.anvil:
            text += f", anvil {found.anvil[-1]:.0f} ({found.anvil_modes[-1]})"
        if found.eth_tester:
            text += f", eth-tester {found.eth_tester[-1]:.0f}"
        tell(progress, number, rounds, text)
    if has_eth_tester:
        report.note_version("eth-tester", version("eth-tester"))
    _report(report, found, nodes, count)


def _report(report: BenchReport, found: ThroughputMeasurement, nodes: int, count: int) -> None:
    report.add("registrations_per_second", found.lowu, 0)
    report.add("cpu_us_follower", found.cpu_follower_us, 0)
    report.add("cpu_us_entry", found.cpu_entry_us, 0)
    report.add("anvil_per_second", found.anvil, 0)
    report.add("cpu_us_anvil", found.cpu_anvil_us, 0)
    report.add("eth_tester_per_second", found.eth_tester, 0)
    if found.anvil:
        report.add("ratio_anvil_median", ratios(found.lowu, found.anvil).values, 2)
        costs = ratios(found.cpu_follower_us, found.cpu_anvil_us)
        report.add("ratio_cpu_anvil_median", costs.values, 2)
    if found.eth_tester:
        report.add("ratio_eth_tester_median", ratios(found.lowu, found.eth_tester).values, 1)
    title = (
        f"{count} registrations on {nodes} nodes, committed durably on all; "
        f"median and range of {len(found.lowu)} rounds"
    )
    figures: dict[str, float] = {"nodes": nodes, "registrations": count}
    report.emit(title, figures=figures, anvil_modes=found.anvil_modes)
    report.draw_rounds(
        {
            "registrations_per_second": f"Lowu, {nodes} replicas",
            "anvil_per_second": "anvil",
            "eth_tester_per_second": "eth-tester",
        },
        "registrations per second",
    )
