"""Nodes of each kind die, and come back: X8."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import trio

from lowu.experiments.actors.actors import Actors
from lowu.experiments.faults.killed_nodes import (
    find_leader,
    kill_node,
    start_node,
    wait_for_level,
    wait_until_leading,
)
from lowu.experiments.scenarios.presenting import ACME_USCC
from lowu.experiments.scenarios.registering import (
    ISSUERS,
    RegisteredLoad,
    count_forks,
    count_wrong,
    keep_registering,
)
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import build_enterprise_report
from lowu.node.client import ClientError, RemoteError
from lowu.node.topology.network import read_status
from lowu.node.topology.plan import PlannedNode
from lowu.node.topology.tree import node_folder

GO_ON = 3
"""Registrations that must be acknowledged while a node is down."""
STALL_S = 10.0
BACK_S = 60.0
"""How long a node may take until it is level again, and votes if it is a validator."""
POLL_S = 0.1


async def play_crashes(stage: Stage) -> None:
    """Play X8: nodes of each kind are killed under load, and one of them loses its disk."""
    actors = stage.actors
    document = build_enterprise_report(338, actors.now_s(), ACME_USCC)
    issued = await actors.issue("szcredit", document, "acme-sz", "nova")
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    sealed = actors.holders["acme-sz"].present(doc_id, request, receipt)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    stage.verdict("a presentation before the crashes", "ACCEPT", report)
    loads = {name: RegisteredLoad() for name in ISSUERS}
    async with trio.open_nursery() as nursery:
        for name, load in loads.items():
            nursery.start_soon(keep_registering, actors, name, load)
        for kind in ("the leader", "a follower", "an observer", "the verifier's node", "lost disk"):
            await _crash(stage, kind, await _choose(actors, kind), loads)
        nursery.cancel_scope.cancel()
    level = await wait_for_level(actors.plan, BACK_S)
    stage.fact("all nodes have the same head afterwards", True, level is not None)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    stage.verdict("the same presentation again", "REJECT REPLAYED", report)
    stage.fact("registrations that are not there exactly once", 0, await count_wrong(actors, loads))
    stage.fact("heights at which two nodes have different blocks", 0, await count_forks(actors))
    for load in loads.values():
        actors.anchors += load.acknowledged
        actors.registrations += len(load.acknowledged) + len(load.timed_out)


async def _choose(actors: Actors, kind: str) -> PlannedNode:
    """Return the node that is to die; the nodes that registrations go through are left alone."""
    plan = actors.plan
    nodes = {item.spec.id: item.node for item in plan.institutions}
    spared = {nodes[name].name for name in ISSUERS} | {plan.nodes[0].name}
    if kind == "an observer":
        return next(node for node in plan.nodes if not node.spec.is_validator)
    if kind == "the verifier's node":
        return nodes["nova"]
    voting = frozenset(n.name for n in plan.nodes if n.spec.is_validator and n.name not in spared)
    if kind == "the leader":
        return await wait_until_leading(plan, voting)
    leader = await find_leader(plan)
    return next(node for node in plan.nodes if node.name in voting - {leader.name})


async def _crash(
    stage: Stage, kind: str, node: PlannedNode, loads: Mapping[str, RegisteredLoad]
) -> None:
    """Kill a node, and start it again once the others have gone on without it."""
    await kill_node(stage.folder, node)
    if kind == "lost disk":
        data = node_folder(stage.folder, node) / "data"
        await trio.to_thread.run_sync(shutil.rmtree, data)
    before = _count(loads)
    with trio.move_on_after(STALL_S):
        while _count(loads) < before + GO_ON:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
    has_gone_on = _count(loads) >= before + GO_ON
    stage.fact(f"{kind}: registrations go on without it", True, has_gone_on)
    await start_node(stage.folder, node)
    stage.fact(f"{kind}: it is back, and votes as before", True, await _is_back(stage, node))


def _count(loads: Mapping[str, RegisteredLoad]) -> int:
    return sum(len(load.acknowledged) for load in loads.values())


async def _is_back(stage: Stage, node: PlannedNode) -> bool:
    """Wait until a node has the height that another one has now, and votes if it is to."""
    wanted = (await read_status(stage.actors.plan.nodes[0]))["height"]
    with trio.move_on_after(BACK_S):
        while True:
            try:
                status = await read_status(node)
            except (ClientError, RemoteError):
                status = {"height": -1, "is_abstaining": True}
            if status["height"] >= wanted and not status["is_abstaining"]:
                return True
            await trio.sleep(POLL_S)
    return False


SCENARIOS = (Scenario("X8", "nodes of each kind die, and one disk is gone", play_crashes),)
