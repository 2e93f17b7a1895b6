"""The times at which a node's latest blocks passed the phases of consensus."""

from itertools import count
from types import SimpleNamespace

import pytest

from lowu.node import metrics
from lowu.node.metrics import BlockPhase, BlockPhases
from lowu.node.rpc.fisco import FiscoMethods
from lowu.node.rpc.rpc_errors import RpcError


def note_all(phases, height):
    for phase in BlockPhase:
        phases.note(height, phase)


def test_each_phase_has_its_first_time():
    ticks = count(1)
    phases = BlockPhases(lambda: float(next(ticks)))
    note_all(phases, 7)
    phases.note(7, BlockPhase.PREPARED)
    phases.note(7, BlockPhase.PROPOSED)
    assert phases.read(0, 10) == [(7, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))]


def test_one_commit_vote_prepares_all_blocks_before_it():
    ticks = count(1)
    phases = BlockPhases(lambda: float(next(ticks)))
    for height in (5, 6, 7):
        phases.note(height, BlockPhase.PROPOSED)
    phases.note(5, BlockPhase.PREPARED)
    phases.note(7, BlockPhase.PREPARED)
    assert [times[1] for _, times in phases.read(5, 10)] == [4.0, 5.0, 5.0]


def test_what_sync_brings_has_no_row_and_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(metrics, "PHASES_KEPT", 3)
    phases = BlockPhases(lambda: 0.5)
    phases.note(1, BlockPhase.DURABLE)
    for height in range(2, 9):
        note_all(phases, height)
    assert [height for height, _ in phases.read(0, 10)] == [6, 7, 8]
    assert [height for height, _ in phases.read(7, 1)] == [7]


def test_a_call_for_phases_costs_no_more_than_its_own_rows():
    """A batch of 200 calls for a thousand blocks each, 15 kB, held a node up for four seconds."""
    phases = BlockPhases(lambda: 0.5)
    for height in (3, 1, 2, *range(4, 2_000)):
        note_all(phases, height)
    methods = FiscoMethods(None, SimpleNamespace(block_phases=phases.read), None)
    answer = methods.getBlockPhases(0)
    assert [row[0] for row in answer] == list(range(1, 51))
    assert methods.getBlockPhases(2, 1)[0][0] == 2
    for params in ((0, 51), (0, -1), (0.0,), (0, True), ("0",)):
        with pytest.raises(RpcError, match="at most 50"):
            methods.getBlockPhases(*params)
