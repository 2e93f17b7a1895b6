"""A whole network is saved to a file, and another one goes on from it."""

import hashlib
import io
import json
import tarfile

import pytest

from lowu import VirtualNetwork, running_network
from lowu.node.errors import ConfigError
from lowu.node.ledger import schema
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.kit import Network, lowu, lowu_json, rpc

pytestmark = pytest.mark.timeout(240)


def add_block(network):
    raw = "0x" + build_probe(load_tree(network.directory)).hex()
    assert "result" in rpc(network.nodes[0]["url"], "eth_sendRawTransactionSync", raw, 20_000)


def test_a_network_goes_on_from_a_file(network, tmp_path):
    for _ in range(3):
        add_block(network)
    network.wait_until_level()
    height = max(network.heights())
    path = tmp_path / "saved.tar.gz"
    told = lowu_json("snapshot", "save", path, "--dir", network.directory)
    assert told["was_running"] and told["nodes"] == 4
    assert path.stat().st_mode & 0o777 == 0o600
    add_block(network)  # it goes on
    copy = tmp_path / "copy"
    told = lowu_json("snapshot", "load", path, "--dir", copy)
    assert told["network"] == "dev-4"
    assert (copy / "127.0.0.1" / "node0" / "conf").stat().st_mode & 0o777 == 0o700
    other = Network(copy)  # beside the first, on ports of its own
    try:
        chains = [item["url"] for item in (network.nodes[0], other.nodes[0])]
        (first, second) = (rpc(url, "eth_getBlockByNumber", hex(height), False) for url in chains)
        assert first["result"]["hash"] == second["result"]["hash"]
        add_block(other)
        for node in other.nodes:
            status = json.loads(rpc(node["url"], "getConsensusStatus")["result"])
            assert status["phase"] == "normal", "no vote is lost"
    finally:
        other.close()
    # A test begins from it too: this is the one of its height, however often it is run.
    with running_network(str(path)) as running:

        async def act(actors, faults):
            return int(await actors.clients["webank"].call("eth_blockNumber"), 16)

        assert height <= running.play(act) <= height + 2
    with pytest.raises(ConfigError, match="lowu_processes"):
        VirtualNetwork(str(path))
    refused = (
        (("save", path, "--dir", network.directory), "exists already"),
        (("save", tmp_path / "no" / "x", "--dir", network.directory), "does not exist"),
        (("save", network.directory / "x", "--dir", network.directory), "own folder"),
        (("save", tmp_path / "y", "--dir", tmp_path / "nothing"), "no network here"),
        (("load", path, "--dir", copy), "is not empty"),
        (("load", tmp_path / "none", "--dir", tmp_path / "z"), "does not exist"),
    )
    for arguments, text in refused:
        done = lowu("snapshot", *arguments, check=False)
        assert done.returncode and text in done.stderr, done.stderr


EXPERIMENT = """
[experiment]
name = "again"
network = "{path}"
repetitions = 1

[load]
workload = "register"
arrival = {{ kind = "constant", rate = 20 }}
warm_up_s = 0
duration_s = 1
deadline_s = 30
lag_bound_ms = 20000

[expect]
uncommitted = 0
"""


def test_an_experiment_begins_from_a_file(network, tmp_path):
    """Its accounts have sent transactions before, and its anchors are none that are there."""
    lowu("sample", "cn.ecr/1", "--output", "report.json", cwd=tmp_path)
    issue = ("issue", "report.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    lowu(*issue, "--dir", network.directory, cwd=tmp_path)
    path = tmp_path / "saved.tar.gz"
    lowu("snapshot", "save", path, "--dir", network.directory)
    file = tmp_path / "again.toml"
    file.write_text(EXPERIMENT.format(path=path))
    told = lowu_json("experiment", "run", file, "--out", tmp_path / "results", cwd=tmp_path)
    (point,) = told["points"]
    assert [item["figures"]["committed"] for item in point["runs"]] == [20]
    manifest = json.loads((tmp_path / "results" / "manifest.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["networks_sha256"] == {str(path): digest}
    for more, text in (
        ("", "a saved network goes on as processes only"),
        ("[network]\npool_limit = 5\n", "a saved network keeps its settings"),
    ):
        file.write_text(EXPERIMENT.format(path=path) + more)
        run = ("experiment", "run", file, "--provider", "local" if more else "sim")
        done = lowu(*run, cwd=tmp_path, check=False)
        assert done.returncode == 2 and text in done.stderr


def test_what_is_no_snapshot_is_refused_and_leaves_nothing(tmp_path):
    names = ("empty", "cut", "foreign", "outside", "linked")
    empty, cut, foreign, outside, linked = (tmp_path / name for name in names)
    for path, name, kind in (
        (outside, "../outside-of-it", tarfile.REGTYPE),
        (linked, "nodes", tarfile.SYMTYPE),
    ):
        manifest = {
            "network": "x",
            "chain_id": 1,
            "nodes": 1,
            "format": schema.FORMATS[-1].decode(),
        }
        text = json.dumps({**manifest, "written_by": "x", "written_s": 1}).encode()
        with tarfile.open(path, "w:gz") as archive:
            for entry in (tarfile.TarInfo("lowu-snapshot.json"), tarfile.TarInfo(name)):
                entry.size = len(text)
                if entry.name == name:
                    entry.type, entry.linkname, entry.size = kind, "/etc", 0
                archive.addfile(entry, io.BytesIO(text[: entry.size]))
    empty.write_bytes(b"")
    with tarfile.open(foreign, "w:gz") as archive:
        archive.add(__file__, "lowu-snapshot.json")
    cut.write_bytes(foreign.read_bytes()[:200])
    for path in (empty, cut, foreign, outside, linked):
        done = lowu("snapshot", "load", path, "--dir", tmp_path / "new", check=False)
        assert done.returncode == 2 and "snapshot" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists() and len(list(tmp_path.iterdir())) == 5
