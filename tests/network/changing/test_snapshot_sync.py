"""A node whose disk is gone takes the state of its peers, over TLS and onto RocksDB (F22)."""

import json
import shutil

import pytest

from lowu.consensus.invariants import check_agreement
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.kit import Network, height_of, rpc, wait_until

PERIOD = 20
BLOCKS = 2 * PERIOD + 5


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path / "nodes", settings=[f"snapshot_blocks={PERIOD}"])
    yield network
    network.close()


def add_blocks(network, count, url=None):
    plan = load_tree(network.directory)
    for _ in range(count):
        raw = "0x" + build_probe(plan).hex()
        answer = rpc(url or network.url, "eth_sendRawTransactionSync", raw, 20_000)
        assert "result" in answer, answer


@pytest.mark.timeout(180)
def test_a_disk_that_is_gone_is_filled_with_a_state(network):
    add_blocks(network, BLOCKS)
    network.wait_until_level()
    lost = network.nodes[3]
    network.order("kill", lost["name"])
    folder = network.directory / "127.0.0.1" / lost["name"]
    shutil.rmtree(folder / "data")
    network.order("start", lost["name"])
    wait_until(lambda: height_of(lost["url"]) >= BLOCKS, "it has all blocks")
    assert "loading a state,height=40" in network.log(lost["name"])
    told = rpc(lost["url"], "eth_getBlockByNumber", "0x1", False)["error"]
    assert told["code"] == 4444 and "begin with 41" in told["message"]
    add_blocks(network, 3)
    network.wait_until_level()
    roots = {
        rpc(node["url"], "eth_getBlockByNumber", hex(BLOCKS), False)["result"]["stateRoot"]
        for node in network.nodes
    }
    assert len(roots) == 1
    # Killed again, it opens what it has taken over.
    network.order("kill", lost["name"])
    network.order("start", lost["name"])
    network.wait_until_level()
    status = json.loads(rpc(lost["url"], "getConsensusStatus")["result"])
    assert status["storageDamage"]["reads"] == 0
    network.nodes = network.nodes[:3]
    check_agreement(network.chains())
