"""The boundary is cut: X2."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import trio

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    Jurisdiction,
    encode_register_anchor,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.actors.actors import Actors
from lowu.experiments.faults.killed_nodes import wait_for_level
from lowu.experiments.faults.relays import Relays
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.ledger.registry import Registry
from lowu.node.client import TransactionTimeout
from lowu.node.topology.faults.link_shape import list_directions
from lowu.node.topology.network import read_status

ISSUERS = {"szcredit": "cn.ecr/1", "bea-hk": "grp.kyc/1"}
"""One issuer of each side, and the schema that it registers."""
SETTLE_S = 1.0
"""Blocks already agreed on at the cut may still be committed: wait for such a quiet time."""
SETTLE_ROUNDS = 10
"""Most such waits; blocks committed later count against the scenario."""
IMPATIENCE_S = 5.0
LEVEL_S = 60.0
BLOCKS_ASKED = 500
"""Blocks read in one request."""
BOUNDARY = (Jurisdiction.SZ, Jurisdiction.HK)
VIEW_PERIOD_S = 3.0
"""The shortest view time-out, which bounds how many views can pass."""


@dataclass(slots=True)
class _Load:
    """Anchors that one institution registered, one after another."""

    acknowledged: list[bytes] = field(default_factory=list)
    timed_out: list[bytes] = field(default_factory=list)


async def _register(actors: Actors, name: str, load: _Load, timeout_s: float) -> None:
    anchor = secrets.token_bytes(32)
    call = encode_register_anchor(
        anchor, schema=SCHEMAS[ISSUERS[name]].number, key_id=actors.issuers[name].member.key_id
    )
    try:
        await actors.signers[name].send(HASH_REGISTRY_ADDRESS, call, timeout_s)
    except TransactionTimeout:
        load.timed_out.append(anchor)
    else:
        load.acknowledged.append(anchor)


async def _keep_on(actors: Actors, name: str, load: _Load) -> None:
    while True:
        await _register(actors, name, load, IMPATIENCE_S)


async def play_cut(stage: Stage) -> None:
    """Play X2: neither side has a quorum, so nothing is committed, and nothing is lost."""
    actors = stage.actors
    loads = {name: _Load() for name in ISSUERS}
    relays = Relays(actors.plan, stage.folder)
    try:
        await trio.to_thread.run_sync(relays.start)
        for name, load in loads.items():
            await _register(actors, name, load, LEVEL_S)
        crossing = relays.count_passed(*BOUNDARY)
        stage.fact("bytes cross the boundary before the cut", True, crossing > 0)
        await _cut(stage, relays, loads)
        level = await wait_for_level(actors.plan, LEVEL_S)
        stage.fact("all nodes have the same head after the cut", True, level is not None)
        for name, load in loads.items():
            await _register(actors, name, load, LEVEL_S)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(relays.stop)
    stage.fact("registrations that are not there exactly once", 0, await _miss(actors, loads))
    stage.fact("heights at which two nodes have different blocks", 0, await _count_forks(actors))
    for load in loads.values():
        actors.anchors += load.acknowledged
        actors.registrations += len(load.acknowledged) + len(load.timed_out)


async def _cut(stage: Stage, relays: Relays, loads: dict[str, _Load]) -> None:
    """Cut the boundary for a while, and compare what is seen meanwhile."""
    actors = stage.actors
    async with trio.open_nursery() as nursery:
        for name, load in loads.items():
            nursery.start_soon(_keep_on, actors, name, load)
        await trio.sleep(SETTLE_S)
        ends = [actors.plan.find_end(side.name) for side in BOUNDARY]
        with relays.cut(list_directions((ends[0], ends[1]))):
            before = await _settle(actors)
            passed = relays.count_passed(*BOUNDARY)
            await trio.sleep(stage.cut_s)
            statuses = [await read_status(node) for node in actors.plan.nodes]
            crossed = relays.count_passed(*BOUNDARY) - passed
            stage.fact("bytes that crossed during the cut", 0, crossed)
            highest = max(status["height"] for status in statuses)
            stage.fact("highest block of any node at the end of the cut", before, highest)
            sides = [bool(load.timed_out) for load in loads.values()]
            stage.fact("a client of each side saw a time-out", [True, True], sides)
            views = max(status["view"] for status in statuses)
            stage.fact("view changes are bounded", True, views <= 1 + stage.cut_s / VIEW_PERIOD_S)
            nursery.cancel_scope.cancel()


async def _settle(actors: Actors) -> int:
    """Return the highest block of any node, once it has not risen for `SETTLE_S`.

    Nodes behind it may still fetch it from others of their side.
    """
    highest = -1
    for _ in range(SETTLE_ROUNDS):
        await trio.sleep(SETTLE_S)
        before, highest = highest, await _read_highest(actors)
        if highest == before:
            break
    return highest


async def _read_highest(actors: Actors) -> int:
    statuses = [await read_status(node) for node in actors.plan.nodes]
    return max(int(status["height"]) for status in statuses)


async def _miss(actors: Actors, loads: dict[str, _Load]) -> int:
    """Return how many registrations, acknowledged or timed out, are not there exactly once."""
    missing = 0
    for name, load in loads.items():
        registry = Registry(actors.clients[name])
        for anchor in (*load.acknowledged, *load.timed_out):
            record = await registry.get_record(actors.issuers[name].member.org_id, anchor)
            seen = await actors.find_events(name, "AnchorRegistered", anchor, 0)
            missing += record.state is not AnchorState.ACTIVE or len(seen) != 1
    return missing


async def _count_forks(actors: Actors) -> int:
    """Return the number of heights at which nodes have different blocks."""
    hashes: dict[int, set[str]] = {}
    for node in actors.plan.nodes:
        client = next(
            actors.clients[item.spec.id] for item in actors.plan.institutions if item.node is node
        )
        top = (await Registry(client).get_latest_block())["number"]
        for first in range(0, top + 1, BLOCKS_ASKED):
            numbers = range(first, min(first + BLOCKS_ASKED, top + 1))
            params = [[hex(number), False] for number in numbers]
            blocks = await client.call_many("eth_getBlockByNumber", params)
            for number, block in zip(numbers, blocks, strict=True):
                hashes.setdefault(number, set()).add(block["hash"])
    return sum(len(found) > 1 for found in hashes.values())


SCENARIOS = (Scenario("X2", "the boundary is cut", play_cut),)
