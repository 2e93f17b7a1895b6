"""The times at which a node's latest blocks passed the phases of consensus."""

from itertools import count

from lowu.node import metrics
from lowu.node.metrics import BlockPhase, BlockPhases


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
