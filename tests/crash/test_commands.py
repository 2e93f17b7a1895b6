"""Commands that are killed, or whose disk is full, at a step of their own files."""

import json
import os

import pytest

from lowu.commands.crash.command_cells import CommandTest, list_command_cells
from lowu.commands.crash.file_steps import FileKind, FileSteps, find_kind, parse_order
from tests.command import run_command

CELLS = (
    "up: configuration:before:55",
    "up --set: configuration:torn-half:5",
    "up --set: configuration:error:8",
    "node remove: configuration:before:1",
    "org account: keys:torn-start:2",
    "org account: keys:before:3",
    "issue: store:after:5",
    "erase: store:after:3",
    "erase: store:error:5",
)
"""Drawn by hand, one of each sort; `lowu crash-matrix --provider commands` plays all."""


@pytest.mark.timeout(240)
def test_a_command_given_again_completes_what_it_began(tmp_path):
    cells = {cell.name: cell for cell in list_command_cells()}
    with CommandTest(tmp_path, lambda *on: run_command(on[0], on[1], environment=on[2])) as test:
        played = [test.play(cells[name]) for name in CELLS]
    assert [item.problems for item in played if item.problems] == []
    assert [item.name for item in played if not item.is_reached] == []


def test_an_error_in_a_cell_does_not_lose_the_others(tmp_path):
    """After 28 minutes, one cell found two nodes where it expected one."""
    cell = list_command_cells()[0]

    def play(order):
        raise ValueError("too many values")

    with CommandTest(tmp_path) as test:
        test._plays[cell.command] = play
        assert test.play(cell).problems == ["ValueError: too many values"]


def test_orders_and_kinds():
    assert str(parse_order("store:after:3")) == "store:after:3"
    for text in (
        "",
        "store",
        "store:after",
        "store:after:x",
        "disk:after:1",
        "store:later:1",
        "store:after:0",
    ):
        with pytest.raises(ValueError, match=r"unpack|not a valid|invalid literal|from 1"):
            parse_order(text)
    assert find_kind("/x/nodes/127.0.0.1/node0/.config.ini.tmp") is FileKind.CONFIGURATION
    assert find_kind("/x/conf/ssl.key") is find_kind("/x/desks/.a.key.draft.tmp") is FileKind.KEYS
    assert find_kind("/x/report.json") is None


def test_an_order_that_is_none_is_told(tmp_path):
    environment = {**os.environ, "LOWU_FAIL_FILES": "store:later"}
    done = run_command(["version", "--json"], tmp_path, environment=environment)
    assert done.returncode == 2 and "as store:after:3" in done.stderr
    assert json.loads(done.stdout)["ok"] is False


def test_steps_are_counted_and_the_disk_is_full_at_one(tmp_path):
    steps = FileSteps(parse_order("configuration:error:3"))
    path = str(tmp_path / "config.ini")
    steps.hear("open", (path, None, 0o101))
    steps.hear("open", (str(tmp_path / "other"), None, 0o101))
    steps.hear("open", (7, "wb", 0))  # of the other file
    steps.hear("os.rename", (path, path))
    steps.hear("open", (path, "r", 0))  # only read
    with pytest.raises(OSError, match="No space left"):
        steps.hear("os.remove", (path,))
    steps.hear("os.remove", (path,))  # once
