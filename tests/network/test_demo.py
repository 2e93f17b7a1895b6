"""The demo, end to end, as a user runs it."""

import json

from tests.network.kit import lowu, processes_of


def test_demo(tmp_path):
    done = lowu("demo", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["nodes"] == 9
    assert result["leader_killed"] and result["recovered"]
    assert result["canary_hits"] == 0 and result["canary_control_found"]
    assert len(set(result["state_roots"])) == 1 and len(result["heights"]) == 9
    assert result["acknowledged"] >= 8 and result["acknowledged_missing"] == 0
    got = {item["scenario"]: item["got"] for item in result["verdicts"]}
    assert len(got) == 8 and all(item["is_as_expected"] for item in result["verdicts"])
    assert list(got.values()).count("ACCEPT") == 4
    assert {"seconds", "first_block_seconds"} <= result["figures"].keys()
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_demo_refuses_a_folder_with_a_network(tmp_path):
    lowu("build-chain", "-l", "127.0.0.1:1", "-o", tmp_path / "nodes")
    done = lowu("demo", "--dir", tmp_path / "nodes", check=False)
    assert done.returncode == 2
    assert "holds a network already" in done.stderr
    assert processes_of(tmp_path / "nodes") == []
