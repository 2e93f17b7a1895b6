"""``lowu bench throughput``: registrations a second, against anvil and eth-tester.

In every round the same signed registrations go to a fresh Lowu network, to anvil (mining at
once, and once a second: the better counts) and, fewer of them, to eth-tester. Lowu and anvil
get them through the same method over HTTP; eth-tester, which serves no HTTP, by its function.
A registration counts when it is committed on all nodes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import click
import trio

from experiments.load import Issuer, build_network, offer
from lowu.bench import Spread, describe_machine, print_machine, ratios
from lowu.bench_network import cpu_s, plan_load, running_network, sign_for, tell
from lowu.bench_rivals import (
    build_eth_tester,
    find_anvil,
    load_eth_tester,
    parse_rivals,
    running_anvil,
)
from lowu.cli import emit_json
from lowu.output import Progress, print_table
from lowu.plots import check_plot, draw_lines
from node.config import GenesisConfig

ANVIL_MODES = ((0, 300), (1, 20_000))
"""Seconds a block, 0 for one a transaction, and registrations in flight: mining one at a time it
forgets those that wait when they are many."""
ETH_TESTER_REGISTRATIONS = 200


@dataclass(slots=True)
class Measured:
    """All rounds."""

    lowu: list[float] = field(default_factory=list)
    """Registrations a second."""
    anvil: list[float] = field(default_factory=list)
    eth_tester: list[float] = field(default_factory=list)
    cpu_entry_us: list[float] = field(default_factory=list)
    """CPU a registration of the dearest replica."""
    cpu_follower_us: list[float] = field(default_factory=list)
    """The median replica's."""
    cpu_anvil_us: list[float] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


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
    """Measure, and print."""
    progress = Progress(is_silent=is_json)
    check_plot(plot)
    rivals = parse_rivals(against)
    anvil = find_anvil(progress) if "anvil" in rivals else None
    has_eth_tester = "eth-tester" in rivals and load_eth_tester() is not None
    if "anvil" in rivals and anvil is None:
        progress("without anvil: neither `anvil` nor `npm` is in the PATH")
    if "eth-tester" in rivals and not has_eth_tester:
        progress("without eth-tester: `pip install 'lowu[bench]'` brings it")
    plan = plan_load(nodes)
    progress(f"signing {count} registrations")
    issuers = sign_for(plan, count)
    found = Measured()
    for number in range(rounds):
        _measure_lowu(found, nodes, issuers, batch)
        text = f"Lowu {found.lowu[-1]:.0f} a second"
        if anvil is not None:
            _measure_anvil(found, anvil, plan.genesis, issuers, batch)
            text += f", anvil {found.anvil[-1]:.0f}"
        if has_eth_tester:
            _measure_eth_tester(found, plan.genesis, issuers[0])
            text += f", eth-tester {found.eth_tester[-1]:.0f}"
        tell(progress, number, rounds, text)
    _report(found, nodes, count, is_json=is_json)
    if plot is not None:
        _plot(found, nodes, plot)
        progress(f"plot in {plot}")


def _measure_lowu(found: Measured, nodes: int, issuers: Sequence[Issuer], batch: int) -> None:
    with running_network(build_network(nodes)) as network:
        before = network.cpu_s()
        offered = trio.run(partial(offer, batch=batch), issuers, network.urls)
        after = network.cpu_s()
    costs = [(after[name] - before[name]) / offered.count * 1e6 for name in before]
    found.lowu.append(offered.count / offered.commit_s)
    found.cpu_entry_us.append(max(costs))
    found.cpu_follower_us.append(median(costs))


def _measure_anvil(
    found: Measured,
    program: Path,
    genesis: GenesisConfig,
    issuers: Sequence[Issuer],
    batch: int,
) -> None:
    """Measure both ways of mining, and keep the faster."""
    best = (0.0, 0.0)
    for block_s, in_flight_max in ANVIL_MODES:
        with running_anvil(program, genesis, block_s) as rival:
            found.versions["anvil"] = rival.version
            before = cpu_s(rival.pid)
            work = partial(offer, batch=batch, in_flight_max=in_flight_max)
            offered = trio.run(work, issuers, [rival.url])
            cost_us = (cpu_s(rival.pid) - before) / offered.count * 1e6
            best = max(best, (offered.count / offered.commit_s, cost_us))
    found.anvil.append(best[0])
    found.cpu_anvil_us.append(best[1])


def _measure_eth_tester(found: Measured, genesis: GenesisConfig, issuer: Issuer) -> None:
    from importlib.metadata import version

    found.versions["eth-tester"] = version("eth-tester")
    tester = build_eth_tester(genesis)
    raws = issuer.raws[:ETH_TESTER_REGISTRATIONS]
    started = time.monotonic()
    for raw in raws:
        tester.send_raw_transaction(raw)
    found.eth_tester.append(len(raws) / (time.monotonic() - started))


def _report(found: Measured, nodes: int, count: int, *, is_json: bool) -> None:
    spreads: dict[str, Spread] = {
        "registrations_per_second": Spread(tuple(found.lowu)),
        "cpu_us_follower": Spread(tuple(found.cpu_follower_us)),
        "cpu_us_entry": Spread(tuple(found.cpu_entry_us)),
    }
    if found.anvil:
        spreads["anvil_per_second"] = Spread(tuple(found.anvil))
        spreads["cpu_us_anvil"] = Spread(tuple(found.cpu_anvil_us))
        spreads["ratio_anvil"] = ratios(found.lowu, found.anvil)
        spreads["ratio_cpu_anvil"] = ratios(found.cpu_follower_us, found.cpu_anvil_us)
    if found.eth_tester:
        spreads["eth_tester_per_second"] = Spread(tuple(found.eth_tester))
        spreads["ratio_eth_tester"] = ratios(found.lowu, found.eth_tester)
    machine = {**describe_machine(), **found.versions}
    if is_json:
        figures: dict[str, float] = {"nodes": nodes, "registrations": count}
        for name, spread in spreads.items():
            key = f"{name}_median" if name in ("ratio_anvil", "ratio_eth_tester") else name
            figures[key] = round(spread.median, 3)
        rounds = {name: [round(v, 3) for v in item.values] for name, item in spreads.items()}
        emit_json(True, figures, machine=machine, rounds=rounds)
        return
    rows = [
        (name.replace("_", " "), spread.describe(2 if "ratio" in name else 0))
        for name, spread in spreads.items()
    ]
    title = f"{count} registrations on {nodes} nodes, median and range of {len(found.lowu)} rounds"
    print_table(title, ("figure", "value"), rows)
    click.echo("a registration counts when it is committed, durably, on all nodes of Lowu")
    print_machine(machine)


def _plot(found: Measured, nodes: int, path: Path) -> None:
    series = {
        f"Lowu, {nodes} replicas": found.lowu,
        "anvil": found.anvil,
        "eth-tester": found.eth_tester,
    }
    points = {
        name: [(float(number), value) for number, value in enumerate(values, start=1)]
        for name, values in series.items()
    }
    draw_lines(path, points, "round", "registrations a second")
