"""What a disk has done to a node is found, told, and mended from the others (N-F8, F30 to F32)."""

import json
import shutil

import pytest
from rocksdict import Options, Rdict

from lowu.node.ledger.storage import seal_record
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.kit import Network, lowu, rpc, wait_until

pytestmark = pytest.mark.timeout(240)
BLOCKS = 24


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path / "nodes")
    plan = load_tree(network.directory)
    for _ in range(BLOCKS):
        raw = "0x" + build_probe(plan).hex()
        assert "result" in rpc(network.url, "eth_sendRawTransactionSync", raw, 20_000)
    network.wait_until_level()
    yield network
    network.close()


def doctor(network, *options):
    done = lowu("doctor", "--json", *options, "--dir", network.directory, check=False)
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    return told["figures"], {item["name"]: item for item in told["nodes"]}


def folder_of(network, name):
    return network.directory / "127.0.0.1" / name


def edit_records(folder, change, kinds=b"S"):
    """Change the first stored record of each kind as a disk would, past the ledger."""
    database = Rdict(str(folder / "data"), Options(raw_mode=True))
    keys = list(database.keys())
    for kind in kinds:
        key = next(key for key in keys if key[0] == kind and any(key[1:]))
        database[key] = change(key, database[key])
    database.close()


def test_damage_is_found_and_mended_from_the_others(network):
    network.order("restart", "node3")  # so that its blocks lie in a table, not in the log
    network.wait_until_level()
    figures, nodes = doctor(network, "--full")
    assert figures["damaged"] == 0 and figures["nodes"] == 4
    assert all(item["records"] > BLOCKS and item["blocks"] > BLOCKS for item in nodes.values())
    for name in ("node1", "node3"):
        network.order("kill", name)
    table = max(
        folder_of(network, "node3").glob("data/*.sst"), key=lambda path: path.stat().st_size
    )
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    edit_records(folder_of(network, "node1"), lambda key, stored: stored[:-1] + b"x")
    (folder_of(network, "node0") / "conf" / "node.pem").chmod(0o644)
    figures, nodes = doctor(network, "--full")
    assert figures["damaged"] == 2 and figures["repaired"] == 0
    assert any("checksum mismatch" in text for text in nodes["node3"]["damage"])
    assert any(": damaged" in text for text in nodes["node1"]["damage"])
    assert nodes["node0"]["is_sound"] and "chmod 600" in nodes["node0"]["warnings"][0]
    figures, nodes = doctor(network, "--repair")
    assert (figures["damaged"], figures["repaired"]) == (0, 2)
    assert "keeps its votes" in nodes["node3"]["repaired"]
    assert (folder_of(network, "node3") / "data.damaged-1").is_dir()
    for name in ("node1", "node3"):
        network.order("start", name)
    network.wait_until_level()
    for node in network.nodes:
        status = json.loads(rpc(node["url"], "getConsensusStatus")["result"])
        assert status["phase"] == "normal" and status["storageDamage"]["reads"] == 0
    assert doctor(network, "--full")[0]["damaged"] == 0


def test_a_running_node_mends_its_blocks_from_the_others(network):
    """N-F8: damage is found without anybody who reads, and mended without a hand."""
    for name in ("node2", "node3"):
        network.order("kill", name)
    config = folder_of(network, "node3") / "config.ini"
    config.write_text(config.read_text().replace("scrub_s=60", "scrub_s=1"))
    edit_records(folder_of(network, "node3"), lambda key, stored: stored[:-1] + b"x", b"HBRNT")
    assert doctor(network, "--full")[0]["damaged"] == 1
    for name in ("node2", "node3"):
        network.order("start", name)
    told = {}

    def is_mended():
        told.update(next(item for item in network.status() if item["name"] == "node3"))
        return told["mended"] and not told["damage"]

    wait_until(is_mended, "node3 has mended its blocks")
    assert told["damaged_reads"] >= 1
    shown = lowu("status", "--dir", network.directory).stdout
    assert "node3: its storage was damaged" in " ".join(shown.split())
    assert doctor(network, "--full")[0]["damaged"] == 0
    assert "mended,height=" in network.log("node3")


def test_a_state_that_differs_and_a_database_that_is_gone(network):
    for name in ("node1", "node2"):
        network.order("kill", name)
    shutil.rmtree(folder_of(network, "node2") / "data")
    edit_records(folder_of(network, "node1"), lambda key, stored: seal_record(key, b"another"))
    _, nodes = doctor(network, "--full")
    assert any("is another one than" in text for text in nodes["node1"]["damage"])
    assert any("is missing" in text for text in nodes["node2"]["damage"])
    figures, nodes = doctor(network, "node1", "--repair")
    assert (figures["nodes"], figures["repaired"]) == (1, 1)
    done = lowu("doctor", "--dir", network.directory, check=False)
    assert done.returncode == 1 and "next: lowu doctor node2 --repair" in done.stdout
    figures, nodes = doctor(network, "--repair")
    assert "has none of its votes" in nodes["node2"]["repaired"]
    assert nodes["node2"]["is_sound"] and nodes["node2"]["height"] >= BLOCKS
    figures, _ = doctor(network, "--repair")  # it has not been started yet
    assert (figures["damaged"], figures["repaired"]) == (0, 0)
    assert not list(folder_of(network, "node2").glob("data.*"))
    for name in ("node1", "node2"):
        network.order("start", name)
    network.wait_until_level()
    assert doctor(network, "--full")[0]["damaged"] == 0
    done = lowu("doctor", "node9", "--dir", network.directory, check=False)
    assert done.returncode == 2 and "no node 'node9'" in done.stderr


def test_files_are_written_anew_and_one_that_cannot_be_mended_stops_nobody(network):
    """A node without its folder could not be brought back; one full of old damage went down."""
    for name in ("node1", "node2", "node3"):
        network.order("kill", name)
    shutil.rmtree(folder_of(network, "node1"))
    conf = folder_of(network, "node2") / "conf"
    (conf / "ssl.key").unlink()
    (conf / "node.pem").write_text("no key")
    config = folder_of(network, "node2") / "config.ini"
    config.write_text(config.read_text().replace("127.0.0.1", "127.0.p.1"))
    (folder_of(network, "node2") / "config.genesis").unlink()
    edit_records(folder_of(network, "node3"), lambda key, stored: stored[:-1] + b"x")
    network.order("start", "node3")
    for number in (1, 2, 3):
        (folder_of(network, "node3") / f"data.damaged-{number}").mkdir()
    told = lowu("start", "node1", "--dir", network.directory, check=False)
    assert told.returncode and "lowu doctor node1 --repair" in told.stderr
    figures, nodes = doctor(network)
    assert figures["damaged"] == 2, "a quick look does not read the state"
    faults = " ".join(nodes["node2"]["faults"])
    assert all(text in faults for text in ("ssl.key", "node.pem", "listen_ip", "config.genesis"))
    figures, nodes = doctor(network, "--repair")
    assert (figures["damaged"], figures["repaired"]) == (1, 2)
    assert "kept beside it already" in nodes["node3"]["not_repaired"]
    assert "result" in rpc(network.nodes[3]["url"], "eth_blockNumber"), "it was not stopped"
    assert (conf / "node.pem.damaged").read_text() == "no key"
    for number in (1, 2, 3):
        (folder_of(network, "node3") / f"data.damaged-{number}").rmdir()
    assert doctor(network, "node3", "--repair")[0]["repaired"] == 1
    for name in ("node1", "node2"):
        network.order("start", name)
    network.wait_until_level()
    assert doctor(network, "--full")[0]["damaged"] == 0
