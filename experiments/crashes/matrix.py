"""The crash matrix: one node fails at one durable step, while the others serve their clients.

After each cell, the same must hold: the node has failed where it was told to; the others have gone
on meanwhile; it starts again without any repair, catches up and votes; it has every acknowledged
registration; all have the same block; and nobody holds proof that anybody has voted twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from lowu.experiments.crashes.cells import Cell, Occasion
from lowu.experiments.crashes.consortium import SNAPSHOT_BLOCKS, Consortium, read_consensus
from lowu.experiments.faults.killed_nodes import SteadyLoad, leader_of, list_missing
from lowu.node.client import ClientError, RemoteError
from lowu.node.topology.faults.fail_order import FailMode
from lowu.node.topology.plan import PlannedNode

REACHED_S = 30.0
"""How long a node may take to the step at which it is to fail."""
STALL_S = 10.0
"""How long the others may take for their next registrations while it is down."""
LEVEL_S = 30.0
"""How long all may take, after it has started again, to one head and to full votes."""
ABSTAINED_BLOCKS = 2 * SNAPSHOT_BLOCKS
"""Blocks after which a node that abstains has to vote: what it may have missed, and two windows."""
POLL_S = 0.05
GO_ON = 3
"""Registrations that the others have to make while the node is down."""
MISSED = 8
"""Blocks that a node misses, besides those of the count; with fewer than `SNAPSHOT_BLOCKS` in all,
also while it starts, it fetches blocks rather than a state."""
LOADS = 2
HIGH = SNAPSHOT_BLOCKS + 2
"""Blocks from which on a node without any loads a state."""


@dataclass(slots=True)
class PlayedCell:
    """What came of a cell."""

    name: str
    victim: str = ""
    problems: list[str] = field(default_factory=list)
    """Why it is not as it must be; empty if it is."""
    is_reached: bool = False
    """Whether the node failed where it was told to."""
    acknowledged: int = 0
    longest_gap_s: float = 0.0
    """The longest time in which no registration was acknowledged."""
    seconds: float = 0.0


async def play_cell(consortium: Consortium, cell: Cell, number: int) -> PlayedCell:
    """Play a cell of a node that runs, or starts again; nodes take turns by the number."""
    played, started = PlayedCell(cell.name), trio.current_time()
    try:
        await _play(consortium, cell, number, played)
    except (ClientError, RemoteError) as error:
        played.problems.append(f"a node does not answer: {error}")
    played.seconds = trio.current_time() - started
    return played


async def play_first_start(consortium: Consortium, cell: Cell, victim: PlannedNode) -> PlayedCell:
    """Play a cell of a node that was to fail at its first start, in a network that has begun."""
    played, started = PlayedCell(cell.name, victim.name), trio.current_time()
    async with _loads(consortium, {victim.name}, played) as loads:
        await _recover(consortium, cell, victim, played, loads)
    await _check(consortium, victim, played, loads)
    played.seconds = trio.current_time() - started
    return played


async def _play(consortium: Consortium, cell: Cell, number: int, played: PlayedCell) -> None:
    nodes = consortium.plan.nodes
    paused: PlannedNode | None = None
    victim = nodes[number % len(nodes)]
    if cell.occasion is Occasion.CHANGING:
        paused = await find_leader(consortium, nodes[0])
        victim = nodes[(nodes.index(paused) + cell.place) % len(nodes)]
    elif cell.occasion is Occasion.NEEDED:
        paused = nodes[(number + 1) % len(nodes)]
    played.victim = victim.name
    avoided = {node.name for node in (victim, paused) if node is not None}
    async with _loads(consortium, avoided, played) as loads:
        order = str(cell.order)
        match cell.occasion:
            case Occasion.LEADING | Occasion.FOLLOWING | Occasion.NEEDED | Occasion.CHANGING:
                await _arm(consortium, victim, order)
            case Occasion.SYNCING:
                await consortium.stop(victim.name)
                await loads.wait_for_blocks(consortium, MISSED + cell.order.count)
                await consortium.start(victim.name, order)
            case Occasion.LOADING:
                await consortium.stop(victim.name)
                await consortium.wipe(victim.name)
                await loads.wait_until_high(consortium, HIGH)
                await consortium.start(victim.name, order)
            case Occasion.LOST_TRACE:
                await consortium.stop(victim.name)
                await consortium.lose_trace(victim.name)
                await consortium.start(victim.name, order)
            case Occasion.DAMAGED:
                await consortium.stop(victim.name)
                await consortium.damage(victim.name)
                await consortium.start(victim.name, order)
            case _:
                raise ValueError(f"{cell.occasion} is for a new network")
        async with AsyncExitStack() as stack:
            if paused is not None:
                await stack.enter_async_context(consortium.paused(paused.name))
            if cell.occasion is Occasion.CHANGING:
                await _wait_until_down(consortium, victim)
                await stack.aclose()
            await _recover(consortium, cell, victim, played, loads)
    await _check(consortium, victim, played, loads)


async def _arm(consortium: Consortium, victim: PlannedNode, order: str) -> None:
    async with consortium.client(victim) as client:
        await client.call("failAt", order)


async def find_leader(consortium: Consortium, asked: PlannedNode) -> PlannedNode:
    """Return the node that leads the next height, as one of them sees it."""
    return leader_of(consortium.plan, await read_consensus(consortium, asked))


async def _wait_until_down(consortium: Consortium, victim: PlannedNode) -> bool:
    async def is_down() -> bool:
        return not await consortium.is_up(victim.name)

    return await holds_within(REACHED_S, is_down)


async def holds_within(seconds: float, ask: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether something holds within some seconds."""
    with trio.move_on_after(seconds):
        while not await ask():  # noqa: ASYNC110  (the answer is in another process)
            await trio.sleep(POLL_S)
        return True
    return False


# --- load, and what must hold -------------------------------------------------------------------


class _Loads:
    """Registrations of some issuers, through nodes that do not fail."""

    def __init__(self, loads: Sequence[SteadyLoad], asked: PlannedNode) -> None:
        self.loads = loads
        self._asked = asked

    async def wait_for_blocks(self, consortium: Consortium, count: int) -> None:
        """Return once the chain has `count` more blocks."""
        height = (await read_consensus(consortium, self._asked))["blockNumber"]
        await self.wait_until_high(consortium, height + count)

    async def wait_until_high(self, consortium: Consortium, height: int) -> None:
        """Return once the chain has a block of this height."""
        while (await read_consensus(consortium, self._asked))["blockNumber"] < height:
            await self.wait_for(1)

    async def wait_for(self, count: int) -> None:
        """Return once one of the issuers has had `count` more acknowledgements."""
        async with trio.open_nursery() as nursery:

            async def wait(load: SteadyLoad) -> None:
                await load.wait_for(count)
                nursery.cancel_scope.cancel()

            for load in self.loads:
                nursery.start_soon(wait, load)


@asynccontextmanager
async def _loads(
    consortium: Consortium, avoided: set[str], played: PlayedCell
) -> AsyncIterator[_Loads]:
    issuers = [item for item in consortium.plan.institutions if item.spec.schemas][:LOADS]
    asked = [node for node in consortium.plan.nodes if node.name not in avoided]
    loads = [SteadyLoad(issuer) for issuer in issuers]
    async with trio.open_nursery() as nursery:

        async def register(load: SteadyLoad, node: PlannedNode) -> None:
            async with consortium.client(node) as client:
                await load.run(client)

        for place, load in enumerate(loads):
            nursery.start_soon(register, load, asked[place % len(asked)])
        yield _Loads(loads, asked[0])
        nursery.cancel_scope.cancel()
    played.acknowledged = sum(len(load.acknowledged) for load in loads)
    played.longest_gap_s = max(load.longest_gap_s for load in loads)


async def _recover(
    consortium: Consortium, cell: Cell, victim: PlannedNode, played: PlayedCell, loads: _Loads
) -> None:
    """Check that the node has failed, start it again, and check what must hold."""
    played.is_reached = await _wait_until_down(consortium, victim)
    if not played.is_reached:
        played.problems.append(f"the node did not fail within {REACHED_S:.0f} s")
        await _arm(consortium, victim, "")
        return
    words = await consortium.find_last_words(victim.name)
    is_told = f"as ordered ({cell.order})" in words
    if cell.order.mode in (FailMode.ERROR, FailMode.LATE_ERROR) and not is_told:
        played.problems.append(f"the node did not say why it ended: {words!r}")
    is_needed = cell.occasion is Occasion.NEEDED
    if is_needed:
        await consortium.start(victim.name)
    with trio.move_on_after(STALL_S) as limit:
        await loads.wait_for(GO_ON)
    if limit.cancelled_caught:
        played.problems.append(f"the others committed nothing for {STALL_S:.0f} s")
    if not is_needed:
        await consortium.start(victim.name)
    if problem := await why_not_voting(consortium, victim):
        played.problems.append(problem)


async def why_not_voting(consortium: Consortium, node: PlannedNode) -> str:
    """Wait until a node takes part in consensus and is up to date; return "", or why it does not.

    A node that abstains waits for blocks (R-WIPE-1), so its time begins anew with each block, up to
    `ABSTAINED_BLOCKS`. One that has asked for a later view may not vote before it (R-VC-4), and the
    others need none as long as they go on without it; so then another node is paused.
    """
    heights: list[int] = []
    phase = "it does not answer"
    deadline_s = trio.current_time() + LEVEL_S
    while trio.current_time() < deadline_s:
        with suppress(ClientError, RemoteError):
            state = await read_consensus(consortium, node)
            phase, height = state["phase"], state["blockNumber"]
            if phase == "normal":
                return ""
            if height not in heights:
                heights.append(height)
                if phase == "abstaining" and len(heights) <= ABSTAINED_BLOCKS:
                    deadline_s = trio.current_time() + LEVEL_S
        await trio.sleep(POLL_S)
    if phase == "changing":
        other = next(item for item in consortium.plan.nodes if item is not node)
        async with consortium.paused(other.name):
            if await holds_within(LEVEL_S, partial(_is_voting, consortium, node)):
                return ""
    seen = f"{phase}, {heights[-1] - heights[0]} blocks on" if heights else phase
    return f"the node does not vote {LEVEL_S:.0f} s after its start: {seen}"


async def _is_voting(consortium: Consortium, node: PlannedNode) -> bool:
    with suppress(ClientError, RemoteError):
        return bool((await read_consensus(consortium, node))["phase"] == "normal")
    return False


async def _check(
    consortium: Consortium, victim: PlannedNode, played: PlayedCell, loads: _Loads
) -> None:
    lost, proofs = await list_broken_promises(consortium, [victim], loads.loads)
    played.problems += [*lost, *proofs, *consortium.take_violations()]


async def list_broken_promises(
    consortium: Consortium, asked: Sequence[PlannedNode], loads: Sequence[SteadyLoad]
) -> tuple[list[str], list[str]]:
    """Return what some nodes lack of what was acknowledged, and all proofs of two votes.

    There must be no load any more. If the nodes do not come to the same block, that is all that is
    told.
    """
    if not await holds_within(LEVEL_S, partial(_are_level, consortium)):
        return [f"the nodes have not the same block within {LEVEL_S:.0f} s"], []
    lost, proofs = [], []
    for node in asked:
        async with consortium.client(node) as client:
            for load in loads:
                missing = await list_missing(client, load.issuer, load.acknowledged)
                lost += [f"{node.name} lacks the acknowledged {item.hex()}" for item in missing]
    for node in consortium.plan.nodes:
        async with consortium.client(node) as client:
            found = await client.call("getConsensusEvidence")
            proofs += [f"{node.name} has proof of two votes: {item}" for item in found]
    return lost, proofs


async def _are_level(consortium: Consortium) -> bool:
    try:
        states = [await read_consensus(consortium, node) for node in consortium.plan.nodes]
    except (ClientError, RemoteError):
        return False
    return len({state["hash"] for state in states}) == 1
