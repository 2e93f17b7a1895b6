"""Validators whose storage was damaged while they were down, in real processes (N-F3, N-F8)."""

import json
import os
import shutil
from pathlib import Path

import pytest

from lowu.consensus.invariants import check_agreement
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.kit import Network, lowu, lowu_json, rpc, wait_until

ROOT = Path(__file__).resolve().parents[2]
VICTIM = "node3"


@pytest.fixture
def small(tmp_path):
    """A dev-4 network with a window of 2, so that a validator abstains for a few blocks only, and
    with short time-outs, as the abstaining validator leads some of these blocks."""
    text = (ROOT / "configs" / "networks" / "dev-4.toml").read_text()
    spec = tmp_path / "small.toml"
    settings = "[network]\npipeline_size = 2\nconsensus_timeout_ms = 500\n"
    spec.write_text(text.replace("[network]\n", settings, 1))
    network = Network(tmp_path / "nodes", spec)
    yield network
    network.close()


class Probes:
    """Transactions sent one after another through node0, which stays up."""

    def __init__(self, network):
        self._network = network
        self._plan = load_tree(network.directory)

    def commit(self, count=1):
        """Return once `count` more blocks are committed."""
        for _ in range(count):
            raw = "0x" + build_probe(self._plan).hex()
            tx_hash = rpc(self._network.url, "eth_sendRawTransaction", raw)["result"]
            wait_until(lambda tx=tx_hash: self._has_receipt(tx), "a probe is committed")

    def _has_receipt(self, tx_hash):
        return rpc(self._network.url, "eth_getTransactionReceipt", tx_hash)["result"] is not None

    def commit_with_the_victim(self):
        """Return once the victim has voted for the newest block.

        A victim that lags behind fetches blocks, and can lose them without losing a vote.
        """
        while True:
            self.commit()
            wait_until(lambda: is_level(self._network), "all have the block")
            blocks = [line for line in self._network.log(VICTIM).splitlines() if "[METRIC]" in line]
            if blocks[-1].endswith("synced=false"):
                return


def state_of(network, name=VICTIM):
    url = next(item["url"] for item in network.nodes if item["name"] == name)
    return json.loads(rpc(url, "getConsensusStatus")["result"])


def data_of(network):
    return network.directory / "127.0.0.1" / VICTIM / "data"


def heights(network):
    return [int(rpc(item["url"], "eth_blockNumber")["result"], 16) for item in network.nodes]


def is_level(network):
    return len(set(heights(network))) == 1


def evidence(network):
    return [rpc(node["url"], "getConsensusEvidence")["result"] for node in network.nodes]


def test_validators_without_a_quorum_are_readmitted_only_if_that_is_asked_for(network):
    """N-C2: two of four had lost their votes, and the chain stood for good."""
    wiped = ("node0", "node1")
    early = lowu("readmit", "--dir", network.directory, check=False)
    assert early.returncode == 2 and "there is nobody to readmit" in early.stderr
    for name in wiped:
        network.order("stop", name)
        folder = network.directory / "127.0.0.1" / name
        shutil.rmtree(folder / "data")
        (folder / "last_vote").unlink()
    silent = lowu("readmit", "--accept-lost-votes", "--dir", network.directory, check=False)
    assert silent.returncode == 2 and "node0, node1: no answer" in silent.stderr
    for name in wiped:
        network.order("start", name)
    wait_until(lambda: is_level(network), "they have the chain")
    asked = lowu("readmit", "--dir", network.directory, check=False)
    assert asked.returncode == 2 and "two blocks may be decided" in asked.stderr
    told = lowu_json("readmit", "--accept-lost-votes", "--dir", network.directory)
    assert told["nodes"] == list(wiped)
    before = max(heights(network))
    network.wait_until_level()
    lowu("contract", "deploy", "Token", "5", "--by", "webank", "--dir", network.directory)
    wait_until(lambda: is_level(network) and max(heights(network)) > before, "it goes on")
    check_agreement(network.chains())


def check_it_abstains_and_comes_back(network, probes, reason):
    """Check that the victim says why, the others go on, and it gets its chain back and votes."""
    network.order("start", VICTIM)
    state = state_of(network)
    assert state["phase"] == "abstaining" and reason in state["abstainReason"], state
    told = lowu("status", "--dir", network.directory).stdout
    assert "(abstaining)" in told and "abstains, because its votes may be lost" in told.replace(
        "\n", " "
    )
    assert "abstaining: " in network.log(VICTIM) and reason in network.log(VICTIM)
    probes.commit(2)
    wait_until(lambda: is_level(network), "it has its chain back")
    probes.commit(8)
    wait_until(lambda: state_of(network)["phase"] != "abstaining", "it votes again")
    assert state_of(network)["abstainReason"] == ""
    # Its vote is needed now: of four validators, one of the others is down.
    network.order("kill", "node2")
    probes.commit(2)
    network.order("start", "node2")
    wait_until(lambda: is_level(network), "all are level")
    assert evidence(network) == [[], [], [], []]
    check_agreement(network.chains())


@pytest.mark.timeout(180)
def test_a_log_that_was_cut(small):
    """N-F3: kill the node, cut 3,000 bytes off its log, start it."""
    probes = Probes(small)
    probes.commit(4)
    probes.commit_with_the_victim()
    small.order("kill", VICTIM)
    log = max(data_of(small).glob("*.log"))
    os.truncate(log, log.stat().st_size - 3_000)
    check_it_abstains_and_comes_back(small, probes, "its database lacks the last")


@pytest.mark.timeout(180)
def test_a_table_with_a_flipped_byte(small):
    """N-F8: at its start the node finds the damage, sets the data aside, fetches the chain."""
    probes = Probes(small)
    probes.commit(5)
    small.order("kill", VICTIM)
    small.order("start", VICTIM)  # the log becomes a table
    probes.commit()
    small.order("kill", VICTIM)
    table = max(data_of(small).glob("*.sst"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    for at in range(0, len(data) - 2_000, 1_000):  # every table block, wherever the votes are
        data[at] ^= 1
    table.write_bytes(bytes(data))
    check_it_abstains_and_comes_back(small, probes, "is kept in data.damaged-1")
    assert data_of(small).with_name("data.damaged-1").is_dir()


@pytest.mark.timeout(120)
def test_kills_alone_make_nobody_abstain(small):
    """N-F3, the other half: a node killed repeatedly while voting continues to vote."""
    probes = Probes(small)
    for _ in range(3):
        probes.commit(2)
        small.order("kill", VICTIM)
        small.order("start", VICTIM)
        assert state_of(small)["phase"] != "abstaining"
    assert "votes may be lost" not in small.log(VICTIM)
