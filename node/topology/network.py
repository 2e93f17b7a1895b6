"""Bringing a network up: it is ready once a quorum has committed a block.

`bring_up` writes the tree if there is none, finds free ports, starts the supervisor and all
nodes, sends a probe transaction and waits until a quorum of validators has committed it in a
block. If that does not happen in time, the error says what is wrong with each node.
"""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from lowu.node.client import ClientError, RemoteError, RpcClient
from lowu.node.config import Engine
from lowu.node.errors import PORT_TAKEN_EXIT, ConfigError, MachineRefuses, NodeError
from lowu.node.limits.json_limits import load_json
from lowu.node.topology.changes import with_chain_id
from lowu.node.topology.control import Control, NotRunning
from lowu.node.topology.plan import Plan, PlannedNode, build_plan, derive_key
from lowu.node.topology.ports import find_free_block, name_ports, reserve_ports
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.tree import (
    is_tree,
    load_tree,
    node_folder,
    write_engine,
    write_ports,
    write_tree,
)

READY_S = 60.0
PORT_ATTEMPTS = 5
POLL_S = 0.02
HOPE_POLL_S = 0.5
FULL_BYTES = 16 * 1024 * 1024
"""A disk with less room is as good as full: the engine takes so much at a time."""


class NotReady(NodeError):
    """The network did not commit a block in time; the text says what is wrong with which node."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Votes:
    """Who votes in a network now."""

    weights: Mapping[str, int]
    """By name of the node."""
    quorum: int

    def weigh(self, names: Iterable[str]) -> int:
        """Return the weight of the validators among some nodes."""
        return sum(self.weights.get(name, 0) for name in names)


@dataclass(frozen=True, slots=True)
class UpResult:
    """Result of bringing a network up."""

    plan: Plan
    first_block_s: float
    """Seconds from the start of `bring_up` until a quorum had committed a block."""
    height: int
    was_running: bool
    votes: Votes


def prepare(
    directory: Path,
    spec_text: str,
    origin: Path,
    report: Callable[[str], None],
    engine: Engine | None = None,
) -> Plan:
    """Return the plan of the network in a folder, writing its tree if it is new."""
    is_new = not is_tree(directory)
    if is_new:
        parse_spec(spec_text, origin)  # whose lines are those of the file
        spec_text = with_chain_id(spec_text)
    plan = build_plan(parse_spec(spec_text, origin)) if is_new else load_tree(directory)
    plan, _ = _move_to_free_ports(plan, directory, report)
    if is_new:
        write_tree(plan, spec_text, directory)
    else:
        write_ports(plan, directory)  # also where relays of a killed test still stand in the files
    if engine is not None:
        write_engine(plan, directory, engine)
    return plan


def _move_to_free_ports(
    plan: Plan, directory: Path, report: Callable[[str], None]
) -> tuple[Plan, bool]:
    ports, taken = find_free_block(plan.ports, len(plan.nodes), directory)
    if not taken:
        return plan, False
    report(
        f"{name_ports(taken)} taken: using p2p {ports.p2p}, rpc {ports.rpc}, "
        f"web3 {ports.web3} and up instead"
    )
    return replace(plan, ports=ports), True


def _start(
    directory: Path,
    spec_text: str,
    origin: Path,
    report: Callable[[str], None],
    engine: Engine | None,
) -> tuple[Plan, bool]:
    """Choose ports and start all nodes; return once they are ready, or have exited.

    Ports are searched for again once the supervisor is up, which takes seconds on a busy machine.
    Another program may still take one before the node opens it: then the whole network moves to
    other ports.
    """
    control = Control(directory)
    with reserve_ports(report):
        if is_tree(directory) and control.is_running():
            return load_tree(directory), True  # another command has just started it
        plan = prepare(directory, spec_text, origin, report, engine)
        report(f"{len(plan.nodes)} nodes planned in {directory}")
        control.start_supervisor()
        for _ in range(PORT_ATTEMPTS):
            plan, has_moved = _move_to_free_ports(plan, directory, report)
            if has_moved:
                write_ports(plan, directory)
            control.order("start", [node.name for node in plan.members])
            # As long as for a block: on a busy machine a node may find its port taken only then.
            states = control.wait_until_settled(within_s=READY_S)
            if all(state["exit_code"] != PORT_TAKEN_EXIT for state in states):
                return plan, False
            control.order("stop")
    raise MachineRefuses(
        f"ports were taken by something else {PORT_ATTEMPTS} times while the nodes started; "
        "stop what takes them, or choose other ports in the network file"
    )


async def bring_up(
    directory: Path,
    spec_text: str,
    origin: Path,
    report: Callable[[str], None] = lambda text: None,
    ready_s: float = READY_S,
    engine: Engine | None = None,
) -> UpResult:
    """Start a network and return once a quorum has committed a block.

    `engine` is written into the configuration of all nodes; None leaves it unchanged.

    Raises:
        ConfigError: the network file, the folder or the ports cannot be used.
        NotReady: a quorum committed no block within `ready_s`.
    """
    started = time.monotonic()
    control = Control(directory)
    was_running = is_tree(directory) and control.is_running()
    if was_running:
        if engine is not None:
            raise ConfigError(
                f"{directory}: its nodes are running; `lowu down --dir {directory}` first, "
                "then they can start with another EVM"
            )
        plan = load_tree(directory)
        members = [node.name for node in plan.members]
        await trio.to_thread.run_sync(control.order, "start", members)
        await trio.to_thread.run_sync(control.wait_until_settled)
    else:
        # Not abandoned on Ctrl-C: the caller must be able to stop whatever it starts.
        plan, was_running = await trio.to_thread.run_sync(
            _start, directory, spec_text, origin, report, engine
        )
    report("nodes started, waiting for a quorum to commit a block")
    height = await wait_for_block(plan, control, directory, ready_s)
    nodes = {node.name: node for node in plan.nodes}
    states: list[dict[str, Any]] = []
    with suppress(NodeError):
        states = await trio.to_thread.run_sync(control.order, "status")
    for state in states:
        if state["pid"] is None and state["name"] not in plan.left:
            report(describe_end(nodes[state["name"]], state["exit_code"], directory))
    votes = await read_votes(plan)
    return UpResult(plan, time.monotonic() - started, height, was_running, votes)


async def wait_for_block(plan: Plan, control: Control, directory: Path, ready_s: float) -> int:
    """Send a probe and wait until a quorum of validators has committed it."""
    reason = f"no block was committed by a quorum within {ready_s:.0f} s"
    height: int | None = None
    with trio.move_on_after(ready_s):
        async with trio.open_nursery() as nursery:

            async def give_up_early() -> None:
                nonlocal reason
                reason = await _wait_until_hopeless(plan, control)
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up_early)
            height = await _wait_for_quorum(plan, await _send_probe(plan))
            nursery.cancel_scope.cancel()
    if height is None:
        lines = await _diagnose(plan, control, directory)
        raise NotReady(f"{reason}:\n" + "\n".join(lines))
    return height


async def _wait_until_hopeless(plan: Plan, control: Control) -> str:
    """Return why no block can come, once the supervisor or a quorum of validators is gone."""
    while True:
        await trio.sleep(HOPE_POLL_S)
        votes = await read_votes(plan)
        try:
            states = await trio.to_thread.run_sync(control.order, "status")
        except NotRunning:
            return "the supervisor has ended"
        except NodeError:
            continue  # it is busy; the time-out bounds this
        running = {item["name"] for item in states if item["pid"] is not None}
        weight = votes.weigh(running)
        if weight < votes.quorum:
            return f"validators of weight {weight} are running, {votes.quorum} are needed"


def build_probe(plan: Plan, data: bytes = b"") -> bytes:
    """Return a signed transaction that shows, once committed, that the network commits blocks.

    Each probe has a new account as its sender. So no node, however far behind, knows it already
    or has another nonce for its sender, and the block that commits it is later than the probe.
    """
    from lowu.contracts.account import Account  # noqa: PLC0415  (imports that few commands need)

    account = Account(derive_key(secrets.randbits(63), "probe"))
    raw, _ = account.sign_transaction(
        to=bytes.fromhex(account.address[2:]),
        data=data,
        gas=21_000 + 16 * len(data),
        nonce=0,
        chain_id=plan.genesis.web3_chain_id,
    )
    return raw


async def _send_probe(plan: Plan) -> str:
    """Send a probe to the first node that accepts one; return its hash."""
    while True:
        for node in plan.members:
            async with RpcClient(node.url, timeout_s=5) as client:
                try:
                    raw = build_probe(plan)
                    sent: str = await client.call("eth_sendRawTransaction", "0x" + raw.hex())
                    return sent
                except (ClientError, RemoteError):
                    continue
        await trio.sleep(POLL_S)


async def _wait_for_quorum(plan: Plan, tx_hash: str) -> int:
    """Return the height of a transaction once a quorum of validators has committed it."""
    reached: dict[str, int] = {}
    votes = await read_votes(plan)
    done = trio.Event()

    async def watch(node: PlannedNode) -> None:
        async with RpcClient(node.url) as client:
            receipt = await client.wait_for_receipt(tx_hash, timeout_s=math.inf)
        reached[node.name] = int(receipt["blockNumber"], 16)
        if votes.weigh(reached) >= votes.quorum:
            done.set()

    async with trio.open_nursery() as nursery:
        for node in plan.nodes:
            if node.name in votes.weights:
                nursery.start_soon(watch, node)
        await done.wait()
        nursery.cancel_scope.cancel()
    return max(reached.values())


async def read_votes(plan: Plan) -> Votes:
    """Return who votes, as the first node that answers has it; without one, as in block 0."""
    names = {node.key.node_id.hex(): node.name for node in plan.nodes}
    for node in plan.members:
        async with RpcClient(node.url, timeout_s=3) as client:
            with suppress(ClientError, RemoteError, ValueError, KeyError):
                status = load_json((await client.call("getConsensusStatus")).encode())
                listed = status["consensusNodeList"]
                weights = {
                    names.get(item["nodeID"], item["nodeID"]): item["weight"] for item in listed
                }
                return Votes(weights, status["minRequiredQuorum"])
    weights = {node.name: node.spec.weight for node in plan.first_nodes if node.spec.is_validator}
    return Votes(weights, plan.genesis.validators.quorum)


async def _diagnose(plan: Plan, control: Control, directory: Path) -> list[str]:
    """Return, for each node, a line that says what is wrong with it."""
    try:
        states = {
            item["name"]: item for item in await trio.to_thread.run_sync(control.order, "status")
        }
    except NotRunning:
        return ["the supervisor is not running"]
    lines = []
    for node in plan.members:
        state = states[node.name]
        if state["pid"] is None:
            lines.append("  " + describe_end(node, state["exit_code"], directory))
        else:
            lines.append(f"  {node.name}: running, {await _describe(node)}")
    return lines


def describe_end(node: PlannedNode, exit_code: int, directory: Path) -> str:
    """Return a line that says that a node's process has exited, and why.

    If its disk is full, the process could not write all of the reason.
    """
    folder = node_folder(directory, node)
    if not folder.is_dir():
        return (
            f"{node.name} cannot run: its folder {folder} is missing; `lowu doctor {node.name} "
            "--repair` makes it again"
        )
    output = folder / "nohup.out"
    last = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    reason = " ".join(last.splitlines()[-1:])
    if exit_code < 0 and reason == "running":
        reason = f"killed by signal {-exit_code} while it was running"
    text = f"{node.name} ended with {exit_code}: {reason}"
    free = shutil.disk_usage(directory).free
    full = os.strerror(errno.ENOSPC)
    if free < FULL_BYTES and full not in text:
        text += f" [the disk of {directory} has {free // 1024} KiB left: {full}; make room on it, "
        text += "then start the node again; what it has committed is not lost]"
    return text


async def _describe(node: PlannedNode) -> str:
    try:
        status = await read_status(node)
    except (ClientError, RemoteError) as error:
        return f"but not answering: {error}"
    state = f"view {status['view']}"
    if status["is_abstaining"]:
        state = (
            f"abstaining: {status['abstain_reason']} (if no quorum votes, `lowu readmit` is a way "
            "on)"
        )
    if status["damage"]:
        state += f", storage damaged: {status['damage']}"
    if status["clock_behind_ms"]:
        state += (
            f", its clock at least {status['clock_behind_ms'] / 1_000:.1f} s behind the others'"
        )
    return (
        f"height {status['height']}, {state}, linked to {status['peers']} nodes; "
        f"see `lowu logs {node.name}`"
    )


async def read_statuses(nodes: Iterable[PlannedNode]) -> dict[str, dict[str, Any]]:
    """Return the status of each node that answers, by name."""
    found: dict[str, dict[str, Any]] = {}

    async def read(node: PlannedNode) -> None:
        with suppress(ClientError, RemoteError):
            found[node.name] = await read_status(node)

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(read, node)
    return found


async def find_highest(nodes: Iterable[PlannedNode]) -> PlannedNode | None:
    """Return the node with the most links and blocks: others may be down, behind, or removed."""
    known = {node.name: node for node in nodes}
    statuses = await read_statuses(known.values())
    if not statuses:
        return None
    return known[
        max(statuses, key=lambda name: (statuses[name]["peers"], statuses[name]["height"]))
    ]


async def read_members(nodes: Iterable[PlannedNode]) -> frozenset[str]:
    """Return the ids of the group's nodes, as the node with the most blocks has them."""
    node = await find_highest(nodes)
    if node is not None:
        with suppress(ClientError, RemoteError):
            async with RpcClient(node.url, timeout_s=3) as client:
                sealers = await client.call("getSealerList", "", "")
                observers = await client.call("getObserverList", "", "")
            return frozenset([*(item["nodeID"] for item in sealers), *observers])
    return frozenset()


async def read_status(node: PlannedNode) -> dict[str, Any]:
    """Return the status that a node reports."""
    async with RpcClient(node.url, timeout_s=3) as client:
        consensus = load_json((await client.call("getConsensusStatus")).encode())
        try:  # for exactly that block: "latest" may be a later one by now
            block = await client.call("eth_getBlockByHash", "0x" + consensus["hash"], False)
        except RemoteError:  # the node cannot read its own head: the rest of the status shows it
            block = {}
        peers = int(await client.call("net_peerCount"), 16)
        pending = await client.call("getPendingTxSize")
    is_abstaining = consensus["phase"] == "abstaining"
    damage = consensus["storageDamage"]
    return {
        "height": consensus["blockNumber"],
        "hash": "0x" + consensus["hash"],
        "state_root": (block or {}).get("stateRoot", ""),
        "view": consensus["view"],
        "is_changing_view": consensus["phase"] == "changing",
        "is_abstaining": is_abstaining,
        "abstain_reason": consensus["abstainReason"] if is_abstaining else "",
        "damaged_reads": damage["reads"],
        "damage": damage["first"],
        "mended": damage["mended"],
        "clock_behind_ms": consensus.get("clockBehindMs", 0),
        "is_validator": consensus["isConsensusNode"],
        "quorum": consensus["minRequiredQuorum"],
        "weights": {item["nodeID"]: item["weight"] for item in consensus["consensusNodeList"]},
        "leader": consensus["leaderIndex"],
        "index": consensus["index"],
        "peers": peers,
        "pending": pending,
    }
