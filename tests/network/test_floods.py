"""Idle clients and strangers do a node no lasting harm (N-F5, N-F6)."""

import json
import resource
import secrets
import socket
import subprocess
import sys

import psutil
import pytest

from lowu.node.limits.descriptors import raise_limit
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.flood import FIRST_WORDS, flood
from tests.network.kit import Network, links_of, lowu, lowu_json, rpc, wait_until

ONE_NODE = (
    '[network]\nname = "one"\nseed = 1\np2p_port = 31000\nrpc_port = 32000\nweb3_port = 33000\n'
    "allow_one_side_quorum = true\n"
    '[[institution]]\nid = "a"\nside = "SZ"\n[[node]]\ninstitution = "a"\n'
)


@pytest.mark.parametrize("words", FIRST_WORDS)
def test_strangers_on_every_p2p_port_keep_no_node_out(network, words):
    """N-F6: a node restarts while each port has a hundred connections that send nothing more."""
    raise_limit()
    ports = [node["p2p_port"] for node in network.nodes]
    with flood(ports, 100, FIRST_WORDS[words]):
        network.order("restart", "node1")
        wait_until(lambda: links_of(network.nodes[1]["url"]) == 3, "linked to all", 30)
        assert Network(network.directory).up_result["ok"], "and blocks are committed"


def test_a_thousand_idle_clients_cost_nobody_a_node(tmp_path):
    """N-F5: 1,024 descriptors, idle sockets on the RPC port, load that makes RocksDB open files."""
    raise_limit()
    (tmp_path / "one.toml").write_text(ONE_NODE)
    directory, limit = tmp_path / "nodes", 1_024
    command = [sys.executable, "-m", "lowu", "up", str(tmp_path / "one.toml"), "--dir", directory]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    try:
        (node,) = lowu_json("status", "--dir", directory)["nodes"]
        process = psutil.Process(node["pid"])
        idle = []
        for _ in range(1_000):
            link = socket.create_connection(("127.0.0.1", node["rpc_port"]), timeout=20)
            idle.append(link)
        plan = load_tree(directory)
        for _ in range(160):
            raw = "0x" + build_probe(plan, secrets.token_bytes(250_000)).hex()
            sent = rpc(node["url"], "eth_sendRawTransactionSync", raw)
            assert "result" in sent, sent
        assert process.num_fds() < limit
        (now,) = lowu_json("status", "--dir", directory)["nodes"]
        assert now["pid"] == node["pid"] and now["height"] > node["height"]
        for link in idle:
            link.close()
    finally:
        lowu("down", "--dir", directory)


def test_too_few_descriptors_are_told_at_the_start(tmp_path):
    """N-F5: the message says how many the node needs, and how to get them."""
    (tmp_path / "one.toml").write_text(ONE_NODE)
    done = subprocess.run(
        [sys.executable, "-m", "lowu", "up", str(tmp_path / "one.toml"), "--dir", tmp_path / "n"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)),
    )
    lowu("down", "--dir", tmp_path / "n")
    assert done.returncode == 4
    assert "may open 200 files and sockets" in done.stderr and "ulimit -Hn" in done.stderr


def test_strangers_for_some_seconds():
    """The campaign takes an hour; this checks that it runs and reports its findings."""
    done = lowu("attack", "strangers", "--minutes", "0.1", "--json", check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"], told
    figures = told["figures"]
    assert figures["deaths"] == figures["disagreements"] == 0
    assert figures["blocks"] > 0 and figures["transactions"] > 0 and figures["calls"] > 0
