"""Crashes of real processes: at chosen steps, and at random."""

import pytest

from tests.network.kit import lowu, lowu_json


@pytest.mark.timeout(180)
def test_cells_on_processes():
    found = lowu_json("crash-matrix", "--cells", 8, "--seed", 1, timeout=170)
    figures = found["figures"]
    assert figures["cells"] == figures["reached"] == 8 and figures["violations"] == 0, found
    assert figures["acknowledged"] > 8


@pytest.mark.timeout(180)
def test_kills_at_random():
    found = lowu_json("crash-test", "--kills", 20, timeout=170)
    figures = found["figures"]
    assert figures["kills"] == 20 and figures["acknowledged"] > 20, found
    assert figures["lost"] == figures["equivocations"] == figures["manual_repairs"] == 0, found
    assert figures["longest_stall_seconds"] <= 10 and found["problems"] == []


def test_what_cannot_be_played_is_said(tmp_path):
    done = lowu("crash-test", "--keep", tmp_path, check=False)
    assert done.returncode == 2 and "makes a new folder" in done.stderr
    done = lowu("crash-matrix", "--only", "nothing of that name", check=False)
    assert done.returncode == 2 and "--list lists them" in done.stderr
    listed = lowu("crash-matrix", "--list", "--only", "sync").stdout.splitlines()
    assert len(listed) == 42 and listed[0] == "sync: block:before:syncing"
