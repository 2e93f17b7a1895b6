"""A running network of processes grows, shrinks and is refused what would stop it (E14, F22)."""

import json
import shutil

import pytest
import trio

from lowu.commands.node.deciding import decide
from lowu.consensus.invariants import check_agreement
from lowu.contracts.group import consensus_function
from lowu.contracts.registry import CONSENSUS_ADDRESS
from lowu.node.topology.tree import load_tree
from lowu.node.topology.upkeep.growth import plan_node
from lowu.office import Office
from tests.network.kit import Network, lowu, lowu_json, rpc, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path / "nodes", "seed-7")
    yield network
    network.close()


def node(network, *arguments, **options):
    return lowu_json("node", *arguments, "--dir", network.directory, **options)


def refuse(network, *arguments):
    """Run `lowu node …`, which fails; return what it says."""
    done = lowu("node", *arguments, "--json", "--dir", network.directory, check=False)
    assert done.returncode != 0, done.stdout
    return json.loads(done.stdout)["error"]["message"]


def consensus(url):
    return json.loads(rpc(url, "getConsensusStatus")["result"])


def test_a_setting_is_voted_on_and_holds_on_all_nodes(network):
    done = lowu_json("config", "set", "tx_count_limit", "77", "--dir", network.directory)
    assert len(done["voters"]) == 3
    for item in network.nodes:
        found = rpc(item["url"], "getSystemConfigByKey", "group0", "", "tx_count_limit")["result"]
        assert found == {"value": "77", "blockNumber": done["height"] + 1}
    listed = lowu_json("config", "list", "--dir", network.directory)["settings"]
    assert [item["value"] for item in listed] == [77, 1, 30_000_000]
    for key, value, text in (
        ("tx_count_limit", "77", "already"),
        ("tx_gas_limit", "100000", "is from 3,000,000 to 100,000,000"),
        ("block_limit", "5", "is not one of"),
    ):
        answer = lowu("config", "set", key, value, "--dir", network.directory, check=False)
        assert answer.returncode != 0 and text in answer.stderr
    unknown = rpc(network.nodes[0]["url"], "getSystemConfigByKey", "group0", "", "x")["error"]
    assert "tx_gas_limit" in unknown["message"]


def test_seven_become_eight_and_seven_again(network):
    # As if an earlier command had been cut short: the ledger has a node that the network has not.
    office = Office(network.directory)
    owner = office.find("fusion")
    new = plan_node(network.directory, "fusion", owner.spec.side)
    call = consensus_function("addObserverOf").encode_call(owner.org_id, new.key.node_id.hex())
    trio.run(decide, office, [(CONSENSUS_ADDRESS, call)])
    found = node(network, "add", "fusion", "--validator")
    assert (found["node"], len(found["voters"])) == ("node9", 3)
    network.nodes = lowu_json("up", "--dir", network.directory)["nodes"]
    assert [item["kind"] for item in network.nodes].count("validator") == 8
    urls = {item["name"]: item["url"] for item in network.nodes}
    for url in urls.values():
        status = consensus(url)
        assert (status["consensusNodesNum"], status["minRequiredQuorum"]) == (8, 6)
    assert consensus(urls["node9"])["isConsensusNode"]
    # Two of eight may fail; the newcomer's vote counts.
    for name in ("node0", "node4"):
        network.order("kill", name)
    before = max(height for height in network.heights() if height is not None)
    lowu("sample", "cn.ecr/1", "--output", "report.json", cwd=network.directory.parent)
    issue = ("issue", "report.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    lowu(*issue, "--dir", "nodes", cwd=network.directory.parent, timeout=60)
    assert max(height for height in network.heights() if height is not None) > before
    for name in ("node0", "node4"):
        network.order("start", name)
    network.wait_until_level()
    # Of one side there would be a quorum: refused before anything is proposed.
    told = refuse(network, "weight", "node9", "100")
    assert "QUORUM_NOT_BOUNDARY_SAFE" in told
    proposals = lowu_json("org", "proposals", "--by", "webank", "--dir", network.directory)
    assert len(proposals["proposals"]) == 2
    node(network, "remove", "node9")
    status = consensus(urls["node0"])
    assert (status["consensusNodesNum"], status["minRequiredQuorum"]) == (7, 5)
    listed = node(network, "list")
    assert listed["not_of_the_group"] == ["node9"] and len(listed["nodes"]) == 9
    network.nodes = [item for item in network.nodes if item["name"] != "node9"]
    network.wait_until_level()
    check_agreement(network.chains())
    # The folder goes on as it is; a node that has lost its disk comes back as an observer first.
    plan = load_tree(network.directory)
    folder = network.directory / "127.0.0.1" / "node9"
    shutil.rmtree(folder / "data")
    found = node(network, "add", "node9")
    assert found["node_id"] == plan.nodes[9].key.node_id.hex()
    wait_until(lambda: consensus(urls["node9"])["blockNumber"] > before, "node9 has the chain")
    assert not consensus(urls["node9"])["isConsensusNode"]


def test_what_would_stop_the_chain_is_refused(network):
    for name in ("node5", "node6", "node7"):
        network.order("stop", name)
    told = refuse(network, "promote", "node7")
    assert "would have weight 5 of the 6 needed: no block could be committed" in told
    assert "node0 votes with weight 1 already" in refuse(network, "promote", "node0")
    assert "node8 observes already" in refuse(network, "demote", "node8")
    assert "no node 'node99'" in refuse(network, "remove", "node99")
    assert "no institution 'nobody'" in refuse(network, "add", "nobody")
    assert "node1 is of the group already" in refuse(network, "add", "node1")
    assert "node8 has no vote" in refuse(network, "weight", "node8", "3")
    network.order("start", "node7")
    network.wait_until_level()
    network.order("start", "node5")
    network.wait_until_level()
    network.order("stop", "node0")  # the node of whoever proposes
    found = node(network, "promote", "node7")
    assert found["voters"] == ["qianhai-ix", "hkstp", "webank"]
    assert consensus(network.nodes[1]["url"])["minRequiredQuorum"] == 6


def test_a_removed_node_does_not_run_and_holds_nobody_up(tmp_path):
    """It answered first, and was believed: `lowu up` waited for its block in vain."""
    network = Network(tmp_path / "nodes")
    here = ("--dir", network.directory)
    try:
        told = node(network, "remove", "node0")
        assert lowu_json("env", *here)["url"] == network.nodes[1]["url"]  # of the same side
        lowu("down", *here)
        lowu_json("up", *here, timeout=60)
        first = lowu_json("status", *here)["nodes"][0]
        assert (first["kind"], first["pid"]) == ("removed", None)
        lowu("org", "propose", "route", "MO", "HK", "--by", "qianhai-ix", *here)
        started = lowu("start", "node0", *here)  # by hand, as FISCO BCOS's free nodes
        assert "the group has removed node0; `lowu node add node0" in started.stderr
        lowu_json("config", "set", "tx_count_limit", "500", *here)
        listed = node(network, "list")
        assert listed["not_of_the_group"] == ["node0"] and len(listed["nodes"]) == 3
        assert lowu_json("config", "list", *here)["settings"][0]["value"] == 500
        told = node(network, "add", "node0", "--validator")
        assert told["node"] == "node0"
        lowu("down", *here)
        lowu_json("up", *here)
        assert [item["kind"] for item in lowu_json("status", *here)["nodes"]] == ["validator"] * 4
        assert lowu_json("env", *here)["url"] == network.nodes[0]["url"]
    finally:
        network.close()
