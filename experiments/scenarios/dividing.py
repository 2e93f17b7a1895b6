"""The boundary is cut: X2."""

from __future__ import annotations

import trio

from lowu.contracts.registry import (
    Jurisdiction,
)
from lowu.experiments.actors.actors import Actors
from lowu.experiments.faults.killed_nodes import wait_for_level
from lowu.experiments.faults.relays import Relays
from lowu.experiments.scenarios.registering import (
    ISSUERS,
    RegisteredLoad,
    count_forks,
    count_wrong,
    keep_registering,
    register_one,
)
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.node.topology.faults.link_shape import list_directions
from lowu.node.topology.network import read_status

SETTLE_S = 1.0
"""Blocks already agreed on at the cut may still be committed: wait for such a quiet time."""
SETTLE_ROUNDS = 10
"""Most such waits; blocks committed later count against the scenario."""
LEVEL_S = 60.0
BOUNDARY = (Jurisdiction.SZ, Jurisdiction.HK)
VIEW_PERIOD_S = 3.0
"""The shortest view time-out, which bounds how many views can pass."""


async def play_cut(stage: Stage) -> None:
    """Play X2: neither side has a quorum, so nothing is committed, and nothing is lost."""
    actors = stage.actors
    loads = {name: RegisteredLoad() for name in ISSUERS}
    relays = Relays(actors.plan, stage.folder)
    try:
        await trio.to_thread.run_sync(relays.start)
        for name, load in loads.items():
            await register_one(actors, name, load, LEVEL_S)
        crossing = relays.count_passed(*BOUNDARY)
        stage.fact("bytes cross the boundary before the cut", True, crossing > 0)
        await _cut(stage, relays, loads)
        level = await wait_for_level(actors.plan, LEVEL_S)
        stage.fact("all nodes have the same head after the cut", True, level is not None)
        for name, load in loads.items():
            await register_one(actors, name, load, LEVEL_S)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(relays.stop)
    stage.fact("registrations that are not there exactly once", 0, await count_wrong(actors, loads))
    stage.fact("heights at which two nodes have different blocks", 0, await count_forks(actors))
    for load in loads.values():
        actors.anchors += load.acknowledged
        actors.registrations += len(load.acknowledged) + len(load.timed_out)


async def _cut(stage: Stage, relays: Relays, loads: dict[str, RegisteredLoad]) -> None:
    """Cut the boundary for a while, and compare what is seen meanwhile."""
    actors = stage.actors
    async with trio.open_nursery() as nursery:
        for name, load in loads.items():
            nursery.start_soon(keep_registering, actors, name, load)
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


SCENARIOS = (Scenario("X2", "the boundary is cut", play_cut),)
