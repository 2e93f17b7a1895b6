"""What `lowu crash-matrix` prints, and exits with, when something does not hold."""

import json
import sys

import pytest

from lowu import cli
from lowu.commands.crash import matrix_run
from lowu.experiments.crashes.matrix import PlayedCell


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command with a stand-in for the playing of cells; return code and output."""
    monkeypatch.setattr(matrix_run.logging, "disable", lambda level: None)

    def run(play, *arguments):
        monkeypatch.setattr(matrix_run, "play_in_virtual_time", play)
        options = ["crash-matrix", "--provider", "sim", "--cells", "2", *arguments]
        monkeypatch.setattr(sys, "argv", ["lowu", *options])
        return cli._run(), capsys.readouterr().out

    return run


def test_a_violation_is_shown_and_fails_the_command(run):
    def play(text, cells, note, seed):
        note(PlayedCell(cells[0].name, "node1", is_reached=True))
        note(PlayedCell(cells[1].name, "node2", ["the node lacks it"], is_reached=True))

    code, shown = run(play)
    assert code == 1 and "1 with violations" in shown and "node2: the node lacks it" in shown
    code, shown = run(play, "--json")
    found = json.loads(shown)
    assert code == 1 and not found["ok"] and found["figures"]["violations"] == 1
    assert [item["problems"] for item in found["violations"]] == [["the node lacks it"]]


def test_the_list_is_of_what_would_be_played(run):
    played = []

    def play(text, cells, note, seed):
        played.extend(cell.name for cell in cells)
        for cell in cells:
            note(PlayedCell(cell.name, "node1", is_reached=True))

    _, shown = run(play, "--list", "--seed", "3")
    assert not played
    run(play, "--seed", "3")
    assert shown.splitlines() == played and len(played) == 2


def test_a_history_is_refused_a_file_before_it_is_recorded(monkeypatch, capsys, tmp_path):
    (tmp_path / "old").write_text("kept")
    for path, text in ((tmp_path / "old", "exists already"), (tmp_path / "no" / "h", "no folder")):
        monkeypatch.setattr(sys, "argv", ["lowu", "consistency", "--save", str(path)])
        assert cli._run() == 2 and text in capsys.readouterr().err
    assert (tmp_path / "old").read_text() == "kept"


def test_a_cell_that_is_not_reached_fails_the_command(run):
    def play(text, cells, note, seed):
        for cell in cells:
            note(PlayedCell(cell.name, "node1"))

    code, shown = run(play)
    assert code == 1 and "2 cells, 0 reached, 0 with violations" in shown


def test_what_was_played_before_an_interruption_is_shown(run):
    def play(text, cells, note, seed):
        note(PlayedCell(cells[0].name, "node1", is_reached=True))
        raise KeyboardInterrupt

    code, shown = run(play)
    assert code == 130 and "1 cells, 1 reached, 0 with violations" in shown
