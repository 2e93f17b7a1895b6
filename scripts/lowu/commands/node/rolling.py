"""``lowu restart --all``: every node in turn, while the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from lowu.node.errors import ConfigError, NodeError
from lowu.node.topology.control import Control
from lowu.node.topology.network import NotReady, describe_end, read_members, read_statuses
from lowu.node.topology.plan import Plan, PlannedNode

READY_S = 120.0
"""Longest time until a restarted node is level and votes again."""
POLL_S = 0.05


async def restart_all(
    directory: Path,
    plan: Plan,
    report: Callable[[str], None],
    *,
    is_forced: bool,
    python: str = "",
) -> dict[str, float]:
    """Restart each running node once the one before is level again; return seconds by name.

    With `python`, that interpreter runs them from then on, with its Lowu.

    Raises:
        ConfigError: without one of them there is no quorum, so that the chain would stand.
        NotReady: a node does not come back; the others are left as they are.
    """
    control = Control(directory)
    states = await trio.to_thread.run_sync(control.order, "status")
    running = {item["name"] for item in states if item["pid"] is not None}
    nodes = [node for node in plan.nodes if node.name in running]
    for node in plan.members:
        if node.name not in running:
            report(f"{node.name} ({node.spec.institution}) does not run: left as it is")
    members = await read_members(nodes)
    others = {node.name for node in nodes if node.key.node_id.hex() not in members}
    if not is_forced:
        await _check(plan, nodes)
    took: dict[str, float] = {}
    for node in nodes:
        started = time.monotonic()
        await trio.to_thread.run_sync(control.order, "restart", [node.name], "", python)
        linked = [item for item in nodes if item.name not in others]
        await _wait_until_back(directory, control, node, [] if node.name in others else linked)
        took[node.name] = time.monotonic() - started
        report(f"{node.name} ({node.spec.institution}) is back after {took[node.name]:.1f} s")
    return took


async def _check(plan: Plan, nodes: Sequence[PlannedNode]) -> None:
    statuses = await read_statuses(nodes)
    if not statuses:
        raise NotReady("no node answers; `lowu status` shows them")
    highest = max(statuses.values(), key=lambda item: int(item["height"]))
    voting = {
        node.key.node_id.hex()
        for node in nodes
        if node.name in statuses and not statuses[node.name]["is_abstaining"]
    }
    weights: Mapping[str, int] = highest["weights"]
    names = {node.key.node_id.hex(): node.name for node in plan.nodes}
    missing = [names.get(key, key[:16]) for key in weights if key not in voting]
    spare = sum(weights.get(key, 0) for key in voting) - highest["quorum"]
    if spare < 0:
        raise ConfigError(
            f"no block can be committed now: {', '.join(missing)} do not vote. Start those that do "
            "not run (`lowu status` shows them), or give --force to restart the others all the same"
        )
    needed = [names.get(key, key[:16]) for key in voting if weights.get(key, 0) > spare]
    if needed:
        verb = "does" if len(missing) == 1 else "do"
        why = (
            f"{', '.join(missing)} {verb} not vote now" if missing else "it has no fault tolerance"
        )
        raise ConfigError(
            f"without {', '.join(sorted(needed))} no block can be committed, as {why}; give "
            "--force to restart all the same"
        )


async def _wait_until_back(
    directory: Path, control: Control, node: PlannedNode, nodes: Sequence[PlannedNode]
) -> None:
    """Wait until a node has what the others have, is linked to them, and votes if it may."""
    with trio.move_on_after(READY_S):
        while True:
            (state,) = await trio.to_thread.run_sync(control.order, "status", [node.name])
            if state["pid"] is None:
                raise NodeError(describe_end(node, state["exit_code"], directory))
            statuses = await read_statuses(nodes)
            if not nodes or _is_back(statuses.pop(node.name, None), statuses):
                return  # one that is not of the group has nobody to be level with
            await trio.sleep(POLL_S)
    raise NotReady(f"{node.name} is not level and voting after {READY_S:.0f} s; see `lowu logs`")


def _is_back(own: Mapping[str, Any] | None, others: Mapping[str, Mapping[str, Any]]) -> bool:
    if own is None or own["is_changing_view"]:
        return False
    if own["peers"] < len(others):
        return False
    return bool(own["height"] >= max((item["height"] for item in others.values()), default=0) - 1)
