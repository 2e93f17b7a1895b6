"""One run of an experiment, on a fresh network of processes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import trio

from lowu.contracts.account import Account
from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    Role,
    encode_register_anchor,
)
from lowu.experiments.faults.killed_nodes import wait_for_level
from lowu.experiments.faults.relays import Relays
from lowu.experiments.load.fault_driver import (
    FaultDriver,
    FaultEvent,
    ProcessFaultMaker,
    check_faults,
    find_directions,
    needs_relays,
    plan_faults,
    tell_drawn,
)
from lowu.experiments.load.observed import (
    NodeState,
    Observed,
    Sample,
    list_phase_times,
    measure_spent,
    read_phases,
    read_views,
    take_samples,
    watch_nodes,
)
from lowu.experiments.load.offered.block_watch import SeenBlock
from lowu.experiments.load.offered.dialects import Dialect, EthDialect
from lowu.experiments.load.offered.generator import Generated, GeneratorPlan, GeneratorStatus
from lowu.experiments.load.offered.generator_process import Generators, running_generators
from lowu.experiments.load.offered.journeys import STOCK, stock_anchor
from lowu.experiments.load.offered.mix import Mix
from lowu.experiments.load.offered.steps import Sender
from lowu.experiments.load.offered.workloads import GAS_MAX, deploy
from lowu.experiments.load.outcomes import (
    Ending,
    Records,
    Summary,
    explain_nothing,
    find_hangover,
    list_seconds,
    percentile,
    summarise,
)
from lowu.experiments.load.planned.experiment_file import Experiment, Load
from lowu.experiments.load.planned.fault_tables import PlannedFault
from lowu.node.client import RemoteError, RpcClient
from lowu.node.topology.changes import set_values
from lowu.node.topology.control import Control
from lowu.node.topology.network import READY_S, bring_up, wait_for_block
from lowu.node.topology.plan import Plan, PlannedInstitution, build_plan
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.upkeep.archive import is_archive, load_network

NO_ADDRESSES: Mapping[str, bytes] = {}
NO_NONCES: Mapping[str, int] = {}
HEADWAY_S = 0.5
"""Between the order to begin and the begin, so that all processes are ready."""
GENERATOR, RELAYS = "generator", "relays"
"""The processes besides the nodes', as they are called in results."""
LEVEL_S = 30.0
"""How long nodes may take, after the last fault, until all have the same head."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What a run found."""

    seed: int
    records: Records
    blocks: list[SeenBlock]
    faults: list[FaultEvent]
    summary: Summary
    hangovers_s: list[float]
    """By fault: for how long after its end the p99 stayed above its level before; NaN if it did
    not come back, or there was no level."""
    observed: Observed
    is_healed: bool
    """Whether all nodes had the same head in the end."""
    flaws: list[str]
    """Why the run is not valid; empty if it is."""
    is_complete: bool
    by_workload: dict[str, Summary] = field(default_factory=dict)
    """Of each workload of a mix; empty if there is only one."""
    phase_times: dict[str, list[float]] = field(default_factory=dict)
    """By phase: how long blocks took to it from the one before, in seconds, in order, over all
    nodes and the blocks that were proposed in the measured time."""

    @property
    def is_valid(self) -> bool:
        """Whether its figures can be relied on."""
        return not self.flaws


def network_text(experiment: Experiment, text: str) -> str:
    """Return a network file's text with the experiment's changes; `ConfigError` if they cannot."""
    pairs = [f"{key}={json.dumps(value)}" for key, value in experiment.changes.items()]
    return set_values(text, pairs)


def check(experiment: Experiment, text: str, origin: Path) -> Plan:
    """Return the plan of an experiment's network, if all that it names is there.

    Raises:
        ConfigError: the network cannot be.
        ValueError, UnknownName: a fault or link names what it does not have.
    """
    if is_archive(origin) and experiment.changes:
        raise ValueError(f"{origin}: a saved network keeps its settings; leave out [network]")
    plan = build_plan(parse_spec(network_text(experiment, text), origin))
    check_faults(experiment, plan)
    return plan


def plan_generator(
    experiment: Experiment,
    plan: Plan,
    seed: int,
    addresses: Mapping[str, bytes] = NO_ADDRESSES,
    nonces: Mapping[str, int] = NO_NONCES,
) -> GeneratorPlan:
    """Return what the generator of a run offers.

    The workloads' contracts have `addresses`, by artifact; the accounts have sent as many
    transactions as `nonces` has, by address: if it has none, what `set_up` sends.
    """
    mix = Mix(experiment.load.workload, seed)
    used = STOCK if mix.needs_stock else 0
    senders = tuple(
        Sender(
            item.account_key,
            plan.schemas[item.spec.schemas[0]].number if item.spec.schemas else 0,
            item.org_id,
            int(item.spec.side),
            item.node.url,
            bool(item.spec.schemas),
            bool(item.spec.roles & Role.VERIFIER),
            nonces.get(item.address, used if item.spec.schemas else 0),
        )
        for item in plan.institutions
        if item.spec.schemas or (not mix.is_single and item.spec.roles & Role.VERIFIER)
    )
    if not any(item.is_issuer for item in senders):
        raise ValueError(f"no institution of {plan.spec.settings.name} may register documents")
    mix.check(senders)
    urls = tuple(dict.fromkeys(item.url for item in senders))
    return plan_load(experiment.load, seed, urls, senders, plan.genesis.web3_chain_id, addresses)


def plan_load(
    load: Load,
    seed: int,
    urls: tuple[str, ...],
    senders: tuple[Sender, ...],
    chain_id: int,
    addresses: Mapping[str, bytes] = NO_ADDRESSES,
    dialect: Dialect | None = None,
) -> GeneratorPlan:
    """Return what a generator offers of a load to some nodes; see `GeneratorPlan`."""
    arrivals = load.arrivals
    return GeneratorPlan(
        urls,
        senders,
        chain_id,
        tuple(arrivals.draw(load.offered_s, seed)) if arrivals.is_open else (),
        load.deadline_s,
        load.workload,
        addresses,
        seed,
        0 if arrivals.is_open else arrivals.clients,
        load.offered_s,
        dialect,
        load.is_signed_ahead,
    )


async def set_up(
    experiment: Experiment, plan: Plan, seed: int, client: RpcClient
) -> dict[str, bytes]:
    """Create the contracts of an experiment's workloads, and register what is to be verified.

    Returns the contracts' addresses, by artifact.
    """
    mix = Mix(experiment.load.workload, seed)
    issuers = [item for item in plan.institutions if item.spec.schemas]
    if mix.needs_stock:
        await _register_stock(plan, issuers, client)
    key = Random(f"lowu workload contracts {seed}").randbytes(32)  # noqa: S311  (simulation)
    dialect = EthDialect(plan.genesis.web3_chain_id)
    senders = [item.address for item in issuers]
    return await deploy(client, mix.contracts, senders, Account(key), dialect)


async def _register_stock(
    plan: Plan, issuers: Sequence[PlannedInstitution], client: RpcClient
) -> None:
    """Register the stock of each issuer by the first transactions of its account."""
    last = []
    for item in issuers:
        account = Account(item.account_key)
        schema = plan.schemas[item.spec.schemas[0]].number
        count = await client.call("eth_getTransactionCount", account.address, "pending")
        first = int(count, 16)
        raws = [
            account.sign_transaction(
                to=HASH_REGISTRY_ADDRESS,
                data=encode_register_anchor(stock_anchor(place), schema=schema),
                gas=GAS_MAX,
                nonce=first + place,
                chain_id=plan.genesis.web3_chain_id,
            )[0]
            for place in range(STOCK)
        ]
        answers = await client.call_many(
            "eth_sendRawTransaction", [["0x" + raw.hex()] for raw in raws]
        )
        refused = [answer for answer in answers if isinstance(answer, RemoteError)]
        if refused:
            raise refused[0]
        last.append(answers[-1])
    for digest in last:
        await client.wait_for_receipt(digest)


async def run_once(
    experiment: Experiment,
    text: str,
    origin: Path,
    folder: Path,
    number: int = 0,
    *,
    tell: Callable[[str], None] = lambda text: None,
    watch: Callable[[GeneratorStatus], None] = lambda status: None,
    watch_all: Callable[[list[NodeState]], None] | None = None,
) -> LoadRun:
    """Bring a network up in a folder, offer the load, and return what became of it.

    `watch_all` is told the states of the nodes every second. The network is left running: who made
    the folder stops it. An interruption (`Cancelled` or
    `KeyboardInterrupt`) ends the load; what was found until then is in `interrupted`.
    """
    seed = experiment.seed + number
    is_saved = is_archive(origin)
    if is_saved:
        await trio.to_thread.run_sync(load_network, origin, folder)
    up = await bring_up(folder, network_text(experiment, text), origin)
    plan = up.plan
    faults = plan_faults(experiment, plan, seed)
    if told := tell_drawn(experiment, faults):
        tell(told)
    async with _relays(experiment, plan, faults, folder, seed) as relays:
        async with RpcClient(plan.nodes[0].url) as client:
            drawn = seed + await _find_salt(client) if is_saved else seed
            addresses = await set_up(experiment, plan, drawn, client)
            nonces = await _read_nonces(plan, client)
        offered = plan_generator(experiment, plan, drawn, addresses, nonces)
        with running_generators(offered, experiment.load.generators, number) as generator:
            tell("signing what is due")
            await trio.to_thread.run_sync(generator.wait_until_signed, abandon_on_cancel=True)
            maker = ProcessFaultMaker(plan, folder, relays)
            async with trio.open_nursery() as nursery:
                if watch_all is not None:
                    nursery.start_soon(watch_nodes, plan, folder, watch_all)
                found = await _offer(
                    experiment, plan, faults, folder, maker, generator, seed, tell, watch
                )
                nursery.cancel_scope.cancel()
            return found


async def _find_salt(client: RpcClient) -> int:
    """Return a number by which what a seed draws differs from what it drew before in a network.

    The same anchors again would cost nothing, and the same contracts are there. It follows from the
    chain, so the same load of the same saved network is the same.
    """
    block = await client.call("eth_getBlockByNumber", "latest", False)
    return int(block["stateRoot"][2:14], 16)


async def _read_nonces(plan: Plan, client: RpcClient) -> dict[str, int]:
    """Return how many transactions each institution's account has sent, by its address."""
    addresses = [item.address for item in plan.institutions]
    answers = await client.call_many(
        "eth_getTransactionCount", [[address, "pending"] for address in addresses]
    )
    return {
        address: int(answer, 16)
        for address, answer in zip(addresses, answers, strict=True)
        if not isinstance(answer, RemoteError)
    }


async def _offer(
    experiment: Experiment,
    plan: Plan,
    faults: tuple[PlannedFault, ...],
    folder: Path,
    maker: ProcessFaultMaker,
    generator: Generators,
    seed: int,
    tell: Callable[[str], None],
    watch: Callable[[GeneratorStatus], None],
) -> LoadRun:
    before = await measure_spent(plan, folder)
    views_before = await read_views(plan)
    begin_s = time.monotonic() + HEADWAY_S
    generator.begin(begin_s, watch)
    relays, driver = maker.relays, FaultDriver(plan, maker, seed, tell)
    if relays is not None:
        relays.origin_s = begin_s
    end_s = begin_s + experiment.load.offered_s
    collected: list[Generated] = []
    samples: list[Sample] = []

    async def collect() -> None:
        collected.append(await trio.to_thread.run_sync(generator.collect, abandon_on_cancel=True))

    is_complete = True
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_samples, folder, begin_s, samples)
            async with trio.open_nursery() as work:
                work.start_soon(collect)
                work.start_soon(driver.run, faults, begin_s, end_s)
            nursery.cancel_scope.cancel()
    except* KeyboardInterrupt:
        is_complete = False
        generator.stop()
        with trio.CancelScope(shield=True):
            await collect()
    after = await measure_spent(plan, folder)
    is_healed = is_complete and await wait_for_level(plan, LEVEL_S) is not None
    views_after = await read_views(plan)
    found = collected[0]
    first = found.blocks[0].height if found.blocks else 0
    return conclude(
        experiment, seed, found, driver.events,
        observed=Observed(
            {
                **after.since(before),
                GENERATOR: found.cpu_s,
                **({RELAYS: after.own_s - before.own_s} if relays is not None else {}),
            },
            after.parts_since(before),
            samples,
            await read_phases(plan, begin_s, first),
        ),
        view_changes=max(0, views_after - views_before),
        is_healed=is_healed, is_complete=is_complete,
    )  # fmt: skip


def conclude(
    experiment: Experiment,
    seed: int,
    found: Generated,
    faults: list[FaultEvent],
    *,
    observed: Observed,
    view_changes: int,
    is_healed: bool,
    is_complete: bool,
) -> LoadRun:
    """Return the run with its figures, and why it is not valid."""
    load = experiment.load
    judge = partial(
        summarise,
        found.records,
        warm_up_s=load.warm_up_s,
        duration_s=load.duration_s,
        deadline_s=load.deadline_s,
    )
    summary = judge()
    by_workload = {
        name: judge(kind=kind)
        for kind, name in enumerate(found.records.names)
        if len(found.records.names) > 1
    }
    times = list_phase_times(observed.phases, lambda at_s: load.warm_up_s <= at_s < load.offered_s)
    phase_times = {name: sorted(item) for name, item in times.items() if item}
    figures = summary.figures
    figures["view_changes"] = float(view_changes)
    figures["blocks"] = float(sum(0 <= item.at_s < load.offered_s for item in found.blocks))
    struck = [f"{item.kind} {', '.join(item.nodes)}" for item in faults]
    summary = replace(summary, cause=explain_nothing(figures, found.refusal, struck))
    seconds = list_seconds(found.records, load.deadline_s)
    hangovers = [
        find_hangover(seconds, begins_s=item.begins_s, ends_s=item.ends_s) for item in faults
    ]
    flaws = []
    if load.arrivals.is_open and figures["generator_lag_ms_max"] > load.lag_bound_ms:
        flaws.append(
            f"the generator lagged {figures['generator_lag_ms_max']:.0f} ms behind its schedule, "
            f"more than lag_bound_ms = {load.lag_bound_ms:.0f}: the machine is too busy for it"
        )
    if found.unread:
        flaws.append(
            f"the receipts of {found.unread} committed transactions could not be read: any of them "
            "may have failed"
        )
    if not is_complete:
        flaws.append("the run was interrupted")
    elif not is_healed:
        flaws.append(f"the nodes had not the same head {LEVEL_S:.0f} s after the end")
    return LoadRun(
        seed, found.records, found.blocks, faults, summary, hangovers, observed, is_healed, flaws,
        is_complete, by_workload, phase_times,
    )  # fmt: skip


@asynccontextmanager
async def _relays(
    experiment: Experiment,
    plan: Plan,
    faults: tuple[PlannedFault, ...],
    folder: Path,
    seed: int,
) -> AsyncIterator[Relays | None]:
    if not needs_relays(experiment, faults):
        yield None
        return
    relays = Relays(plan, folder, seed)
    with ExitStack() as stack:
        for link in experiment.links:
            ways = find_directions(plan, link.between, is_one_way=link.is_one_way)
            stack.enter_context(relays.shaped(ways, link.shape))
        try:
            await trio.to_thread.run_sync(relays.start)
            await wait_for_block(plan, Control(folder), folder, READY_S)
            yield relays
        finally:
            relays.stop(is_restarting=False)


def describe_run(result: LoadRun) -> dict[str, Any]:
    """Return a run's figures as a JSON value; NaN is null."""
    return {
        "seed": result.seed,
        "valid": result.is_valid,
        "complete": result.is_complete,
        "healed": result.is_healed,
        "flaws": result.flaws,
        **_describe_summary(result.summary),
        "workloads": {name: _describe_summary(item) for name, item in result.by_workload.items()},
        "faults": [
            {**{key: _plain(value) for key, value in asdict(item).items()}, "hangover_s": _plain(h)}
            for item, h in zip(result.faults, result.hangovers_s, strict=True)
        ],
        "cpu_s": {name: round(value, 3) for name, value in result.observed.cpu_s.items()},
        "cpu_parts_s": {
            node: {name: round(value, 3) for name, value in parts.items()}
            for node, parts in result.observed.parts_s.items()
        },
        "phases_ms": {
            name: {
                "p50": _plain(percentile(times, 0.5) * 1_000),
                "p99": _plain(percentile(times, 0.99) * 1_000),
            }
            for name, times in result.phase_times.items()
        },
        "endings": {
            item.name: sum(value == item for value in result.records.outcome) for item in Ending
        },
    }


def _describe_summary(summary: Summary) -> dict[str, Any]:
    return {
        "figures": {name: _plain(value) for name, value in summary.figures.items()},
        "at_least": sorted(summary.is_bounded),
        "cause": summary.cause,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 3)
    return list(value) if isinstance(value, tuple) else value
