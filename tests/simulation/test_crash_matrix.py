"""Cells of the crash matrix in virtual time, and controls: each check finds what it is for."""

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowu.commands.crash.virtual_consortium import open_in_virtual_time, play_in_virtual_time
from lowu.experiments.crashes import matrix
from lowu.experiments.crashes.campaign import prepare_text
from lowu.experiments.crashes.cells import Cell, Occasion, choose_some, list_cells
from lowu.experiments.crashes.matrix import list_broken_promises, play_cell
from lowu.experiments.faults.killed_nodes import SteadyLoad
from lowu.node.ledger.votes import VoteRecords
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.faults.fail_order import FailMode, Failpoint, parse_order
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec
from lowu.options import read_network

TEXT = read_network("dev-4")[0]
PLAN = build_plan(parse_spec(prepare_text(TEXT), Path("crashes")))
IN_MEMORY = [cell for cell in list_cells() if cell.occasion is not Occasion.DAMAGED]


def test_the_matrix_has_each_step_and_each_way_to_fail():
    cells = list_cells()
    assert len(cells) >= 480 and len({cell.name for cell in cells}) == len(cells)
    assert {cell.order.point for cell in cells} == set(Failpoint)
    assert {cell.order.mode for cell in cells} == set(FailMode)
    assert {cell.occasion for cell in cells} == set(Occasion)


@pytest.mark.parametrize("draw", range(4))
def test_cells_in_virtual_time(draw):
    cells, found = choose_some(IN_MEMORY, 8, draw), []
    play_in_virtual_time(TEXT, cells, found.append, draw)
    assert {item.name: item.problems for item in found} == {cell.name: [] for cell in cells}
    assert all(item.is_reached and item.acknowledged for item in found)


def test_cells_of_a_state_that_is_loaded():
    """The steps of it, of a node that has lost everything but the trace of its votes."""
    cells = [
        Cell(Occasion.LOADING, parse_order(text))
        for text in (
            "import-chunk:before",
            "import-begin:after",
            "import-move:error",
            "import-end:before",
        )
    ]
    found = []
    play_in_virtual_time(TEXT, cells, found.append)
    assert [item.problems for item in found] == [[]] * 4
    assert all(item.is_reached for item in found)


def play(cell, prepare=None):
    """Play one cell in virtual time, after something has been done to the consortium."""

    async def main():
        async with open_in_virtual_time(PLAN, {}) as consortium:
            if prepare is not None:
                await prepare(consortium)
            return await play_cell(consortium, cell, 1)

    return run_virtual(0, main)


def test_a_step_that_is_never_made_is_told(monkeypatch):
    monkeypatch.setattr(matrix, "REACHED_S", 1.0)
    played = play(Cell(Occasion.FOLLOWING, parse_order("forget:before")))
    assert not played.is_reached and played.problems == ["the node did not fail within 1 s"]


def test_others_that_stand_still_are_told():
    async def stop_another(consortium):
        await consortium.stop("node3")

    played = play(Cell(Occasion.FOLLOWING, parse_order("vote:before")), stop_another)
    assert "the others committed nothing for 10 s" in played.problems


def test_votes_for_two_blocks_are_told():
    async def lie(consortium):
        async with consortium.client(consortium.plan.nodes[3]) as client:
            await client.call("setLies", ["equivocate"])

    played = play(Cell(Occasion.FOLLOWING, parse_order("vote:before:following:9")), lie)
    assert any("has proof of two votes" in problem for problem in played.problems)


def test_votes_that_are_not_durable_are_told(monkeypatch):
    def save(votes, records, head):
        votes._settled, votes.lost = head, ""

    monkeypatch.setattr(VoteRecords, "save", save)
    played = play(Cell(Occasion.FOLLOWING, parse_order("block:before:following")))
    assert any(problem.startswith("P14") for problem in played.problems)


@pytest.mark.parametrize(("blocks", "is_told"), [(0, True), (128, False)])
def test_a_node_that_abstains_is_given_blocks_rather_than_time(monkeypatch, blocks, is_told):
    """On a slow machine, the blocks that it has to wait for took longer than all its time."""
    monkeypatch.setattr(matrix, "LEVEL_S", 0.1)
    monkeypatch.setattr(matrix, "ABSTAINED_BLOCKS", blocks)
    played = play(Cell(Occasion.LOST_TRACE, parse_order("new-trace:before")))
    told = [problem for problem in played.problems if "does not vote" in problem]
    assert bool(told) is is_told
    assert not told or "abstaining" in told[0]


@pytest.mark.parametrize(("helps", "told"), [(True, ""), (False, "5 blocks on")])
def test_a_node_that_left_a_view_alone_has_to_vote_once_it_is_needed(monkeypatch, helps, told):
    """R-VC-4: 358 blocks went by in the others' view, whose leaders passed it over."""
    paused, heights = [], iter(range(3, 10**6))

    @asynccontextmanager
    async def pause(name):
        paused.append(name)
        yield

    async def read(consortium, node):
        is_normal = bool(paused) and helps
        height = min(next(heights), 8)
        return {"phase": "normal" if is_normal else "changing", "blockNumber": height}

    monkeypatch.setattr(matrix, "read_consensus", read)
    consortium = SimpleNamespace(plan=PLAN, paused=pause)
    found = run_virtual(0, partial(matrix.why_not_voting, consortium, PLAN.nodes[0]))
    assert told in found and bool(told) is bool(found) and paused == [PLAN.nodes[1].name]


def test_what_was_acknowledged_and_is_not_there_is_told():
    load = SteadyLoad(next(item for item in PLAN.institutions if item.spec.schemas))
    load.acknowledged.append(bytes(range(32)))

    async def main():
        async with open_in_virtual_time(PLAN, {}) as consortium:
            return await list_broken_promises(consortium, consortium.plan.nodes, [load])

    lost, proofs = run_virtual(0, partial(main))
    assert len(lost) == 4 and bytes(range(32)).hex() in lost[0] and proofs == []
