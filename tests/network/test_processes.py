"""How networks start and stop: ports, signals, killed supervisors, restarts from disk."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

from lowu.node.topology import network as network_module
from lowu.node.topology.network import bring_up
from tests.network.kit import Network, lowu, lowu_json, processes_of, rpc, wait_until


def test_a_killed_supervisor_takes_its_nodes_along(network):
    pids = [node["pid"] for node in network.status()]
    (supervisor,) = [p for p in processes_of(network.directory) if p.pid not in pids]
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the nodes stop")
    done = lowu("status", "--dir", network.directory, check=False)
    assert done.returncode == 4
    where = network.directory.resolve()
    assert f"is not running; start it with `lowu up --dir {where}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_down_leaves_nothing_and_up_goes_on_from_disk(network):
    height = max(network.heights())
    root = network.status()[0]["state_root"]
    assert lowu_json("down", "--dir", network.directory)["was_running"] is True
    assert processes_of(network.directory) == []
    assert lowu_json("down", "--dir", network.directory)["was_running"] is False
    elsewhere = lowu("down", "--dir", network.directory / "misspelt", check=False)
    assert elsewhere.returncode == 2 and "no network here" in elsewhere.stderr
    again = Network(network.directory)
    assert again.up_result["figures"]["height"] > height
    assert root != again.status()[0]["state_root"]


def test_an_interrupted_up_leaves_nothing(tmp_path):
    directory = tmp_path / "nodes"
    process = subprocess.Popen(
        [sys.executable, "-m", "lowu", "up", "dev-4", "--dir", str(directory)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until((directory / ".lowu" / "control.json").exists, "supervisor starts")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors
    wait_until(lambda: processes_of(directory) == [], "no process is left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(tmp_path, number):
    """Started with SIGINT ignored, as a shell's background job is."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lowu", "demo"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    for line in process.stderr:
        if "first block" in line:
            break
    (folder,) = tmp_path.glob("lowu-demo-*")
    assert len(processes_of(folder)) == 10
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert processes_of(folder) == []
    assert list(tmp_path.glob("lowu-demo-*")) == []


def test_taken_ports_move_the_whole_block(tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = (
            f'[network]\nname = "one"\nseed = 1\nweb3_port = {port}\np2p_port = 21000\n'
            "rpc_port = 22000\nallow_one_side_quorum = true\n"
            '[[institution]]\nid = "a"\nside = "SZ"\n[[node]]\ninstitution = "a"\n'
        )
        (tmp_path / "one.toml").write_text(text)
        directory = tmp_path / "nodes"
        done = lowu("up", tmp_path / "one.toml", "--dir", directory)
        try:
            (said,) = [line for line in done.stderr.splitlines() if "up instead" in line]
            assert str(port) in said, "names every taken port, whatever else is taken"
            (node,) = lowu_json("status", "--dir", directory)["nodes"]
            assert node["height"] >= 1 and node["url"] != f"http://127.0.0.1:{port}"
        finally:
            lowu("down", "--dir", directory)


def test_a_port_lost_between_search_and_use_moves_the_network(tmp_path, monkeypatch):
    """Regression: a node without its port did not start; with two of four, `up` waited a minute."""
    real, searches, lines = network_module.find_free_block, [], []

    def search(block, nodes, folder):
        searches.append(block)
        return (block, []) if len(searches) <= 2 else real(block, nodes, folder)

    monkeypatch.setattr(network_module, "find_free_block", search)
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        port = thief.getsockname()[1]
        text = (
            f'[network]\nname = "one"\nseed = 1\nweb3_port = {port}\np2p_port = 23000\n'
            "rpc_port = 24000\nallow_one_side_quorum = true\n"
            '[[institution]]\nid = "a"\nside = "SZ"\n[[node]]\ninstitution = "a"\n'
        )
        directory = tmp_path / "nodes"
        try:
            result = trio.run(bring_up, directory, text, tmp_path / "one.toml", lines.append)
            assert result.height >= 1 and result.plan.nodes[0].ports.web3 != port
            assert any(str(port) in line and "up instead" in line for line in lines)
        finally:
            lowu("down", "--dir", directory)


def test_a_wiped_node_fetches_the_chain_again(network):
    """F21, F22: it re-executes blocks with verified certificates, and does not vote twice."""
    import shutil

    network.order("stop", "node3")
    shutil.rmtree(network.directory / "127.0.0.1" / "node3" / "data")
    Network(network.directory)  # starts it again, and commits a block
    wait_until(lambda: len(set(network.heights())) == 1, "all nodes level")
    hashes = {node["hash"] for node in network.status()}
    assert len(hashes) == 1
    assert "synced" in network.log("node3")
    assert "the data of this validator was lost" in network.log("node3")
    abstaining = [node["name"] for node in network.status() if node["is_abstaining"]]
    assert abstaining == ["node3"]
    assert "(abstaining)" in lowu("status", "--dir", network.directory).stdout


def test_a_node_with_another_genesis_says_so(network):
    network.order("stop", "node3")
    genesis = network.directory / "127.0.0.1" / "node3" / "config.genesis"
    genesis.write_text(genesis.read_text().replace("timestamp_ms=", "timestamp_ms=1"))
    done = lowu("start", "node3", "--dir", network.directory, check=False)
    assert done.returncode == 1
    assert "node3 ended with 1" in done.stderr and "another genesis" in done.stderr
    output = (genesis.parent / "nohup.out").read_text()
    assert "the data belongs to another genesis" in output
    assert "Traceback" not in output
    # As every node would be if the configuration were lost: nothing may be mended from the rest.
    done = lowu("doctor", "node3", "--dir", network.directory, check=False)
    assert done.returncode == 0, "the plan is the network's"
    genesis = network.directory / "127.0.0.1" / "node0" / "config.genesis"
    genesis.write_text(genesis.read_text().replace("format=10\n", ""))
    done = lowu("doctor", "--repair", "--dir", network.directory, check=False)
    assert done.returncode == 1 and "that is no damage, and nothing was mended" in done.stderr


def test_up_gives_up_at_once_when_too_few_nodes_can_run(network):
    """Two of four validators exit at the start: no quorum can form, however long `up` waits."""
    lowu("down", "--dir", network.directory)
    for name in ("node2", "node3"):
        genesis = network.directory / "127.0.0.1" / name / "config.genesis"
        genesis.write_text(genesis.read_text().replace("timestamp_ms=", "timestamp_ms=1"))
    done = lowu("up", "--dir", network.directory, "--timeout", "600", check=False, timeout=60)
    assert done.returncode == 4
    assert "validators of weight 2 are running, 3 are needed" in done.stderr
    assert "node2 ended with" in done.stderr and "another genesis" in done.stderr
    assert "node0: running, height" in done.stderr and "Traceback" not in done.stderr


def test_another_evm_needs_a_start(shared):
    done = lowu("up", "--evm", "both", "--dir", shared.directory, check=False)
    assert done.returncode == 2 and "`lowu down --dir" in done.stderr


def test_unknown_nodes_and_folders_are_explained(shared, tmp_path):
    done = lowu("stop", "nod1", "--dir", shared.directory, check=False)
    assert done.returncode == 2 and "node0 (qianhai-ix, szcredit)" in done.stderr
    done = lowu("status", "--dir", tmp_path / "none", check=False)
    assert done.returncode == 2 and "lowu up --dir" in done.stderr
    done = lowu("up", "no-such-network", "--dir", tmp_path / "x", check=False)
    assert done.returncode == 2 and "seed-7" in done.stderr


def test_logs_are_merged_in_time_order(shared):
    lines = lowu("logs", "-n", "0", "--dir", shared.directory).stdout.splitlines()
    moments = [line.split("|")[1] for line in lines if line.count("|") >= 2]
    assert moments == sorted(moments) and len({line[:7] for line in lines}) == 4
    assert "METRIC" in lowu("logs", "-g", "Report", "--dir", shared.directory).stdout


def test_fisco_tree_and_scripts(tmp_path):
    directory = tmp_path / "nodes"
    lowu("build-chain", "-l", "127.0.0.1:4", "-p", "30400,20400", "-o", directory)
    host = directory / "127.0.0.1"
    names = {path.name for path in (host / "node0" / "conf").iterdir()}
    assert names == {"ca.crt", "ssl.crt", "ssl.key", "node.pem", "node.nodeid"}
    for name in (
        "start_all.sh",
        "stop_all.sh",
        "sdk/sdk.crt",
        "node3/start.sh",
        "node3/nodes.json",
    ):
        assert (host / name).exists(), name
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    run = {"env": {**os.environ, "PATH": path}, "check": True, "capture_output": True}
    (host / "node4").mkdir()
    place = ("-C", "expand", "-c", host / "node1", "-o")
    for output, options, text in (
        (host / "node4", (), "exists already"),
        ("/node4", (), "not in the folder 127.0.0.1 of a chain"),
        (host / "node4", ("-g", "group1"), "-C expand takes -c, -o and -d only"),
    ):
        done = lowu("build-chain", *place, output, *options, check=False)
        assert done.returncode == 2 and text in done.stderr, done.stderr
    (host / "node4").rmdir()
    try:
        subprocess.run(["sh", host / "start_all.sh"], timeout=60, **run)
        nodes = lowu_json("status", "--dir", directory)["nodes"]
        assert [node["height"] for node in nodes].count(1) >= 3
        assert rpc(nodes[0]["url"], "getGroupList")["result"]["groupList"] == ["group0"]
        _expand(directory, host)
    finally:
        subprocess.run(["sh", host / "stop_all.sh"], timeout=60, **run)
    assert processes_of(directory) == []


def _expand(directory, host):
    """The chain gets a node more, in FISCO BCOS's steps: its folder, its start, the decision."""
    expand = ("build-chain", "-C", "expand", "-d", directory / "ca", "-c")
    for config, output, text in (
        (host / "node1", host / "node5", "the next node's folder is"),
        (host / "sdk", host / "node4", "not the folder of a node"),
    ):
        done = lowu(*expand, config, "-o", output, check=False)
        assert done.returncode == 2 and text in done.stderr
    new = lowu_json(*expand, host / "node1", "-o", host / "node4")
    genesis = [(host / name / "config.genesis").read_bytes() for name in ("node0", "node4")]
    assert genesis[0] == genesis[1]
    lowu("start", "node4", "--dir", directory)
    found = lowu_json("status", "--dir", directory)["nodes"][4]
    assert (found["name"], found["height"]) == ("node4", 0)  # nobody knows it yet
    lowu("node", "add", "node4", "--dir", directory)
    listed = lowu_json("node", "list", "--dir", directory)["nodes"]
    (entry,) = (item for item in listed if item["node_id"] == new["node_id"])
    assert (entry["institution"], entry["kind"]) == ("agency1", "observer")


def test_networks_that_start_at_once_do_not_collide(tmp_path):
    text = (
        '[network]\nname = "one"\nseed = 1\np2p_port = 26000\nrpc_port = 27000\n'
        "web3_port = 28000\nallow_one_side_quorum = true\n"
        '[[institution]]\nid = "a"\nside = "SZ"\n[[node]]\ninstitution = "a"\n'
    )
    (tmp_path / "one.toml").write_text(text)
    folders = [tmp_path / name for name in ("x", "y", "z")]
    command = [sys.executable, "-m", "lowu", "up", str(tmp_path / "one.toml"), "--json", "--dir"]
    started = [
        subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for folder in folders
    ]
    try:
        results = [json.loads(process.communicate(timeout=60)[0]) for process in started]
        assert [result["ok"] for result in results] == [True] * 3
        assert len({result["nodes"][0]["url"] for result in results}) == 3
    finally:
        for folder in folders:
            lowu("down", "--dir", folder)


def test_two_ups_at_once_on_one_folder_make_one_network(tmp_path):
    """Regression: the second `up` replaced the first one's control file and orphaned its nodes."""
    folder = tmp_path / "nodes"
    command = [sys.executable, "-m", "lowu", "up", "dev-4", "--json", "--dir", str(folder)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    try:
        results = [json.loads(process.communicate(timeout=90)[0]) for process in started]
        assert [result["ok"] for result in results] == [True, True]
        assert len(processes_of(folder)) == 5
    finally:
        lowu("down", "--dir", folder)
    assert processes_of(folder) == []


def test_an_up_that_fails_stops_nothing_that_was_running(network):
    pids = {node["pid"] for node in network.status()}
    process = subprocess.Popen(
        [sys.executable, "-m", "lowu", "up", "--dir", str(network.directory)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "nodes started" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert {node["pid"] for node in network.status()} == pids


def test_another_network_than_the_folder_s_is_refused(shared):
    """`lowu up dev-4` silently started seed-7 if `nodes` held that network."""
    done = lowu("up", "seed-7", "--dir", shared.directory, check=False)
    assert done.returncode == 2 and "holds another network, dev-4" in done.stderr
    assert "seed: 4 here, 7 in what was asked for" in done.stderr
    for setting, text in (
        (
            "block_tx_count_limit=5",
            "holds other settings of dev-4; its first block has them",
        ),
        ("pool_limit=5", "the nodes in"),
        ("pol_limit=5", "did you mean pool_limit?"),
    ):
        done = lowu("up", "--set", setting, "--dir", shared.directory, check=False)
        assert done.returncode == 2 and text in done.stderr
    done = lowu("up", "nowhere.toml", "--dir", shared.directory, check=False)
    assert done.returncode == 2 and "neither bundled" in done.stderr
    assert lowu_json("up", "--dir", shared.directory)["network"] == "dev-4"
    assert lowu_json("up", "dev-4", "--dir", shared.directory)["was_running"] is True


def test_recreating_deletes_only_a_network_that_can_be_replaced(network, tmp_path):
    """A file that only failed later, or a user's own file, cost the network that was there."""
    folder = network.directory
    (folder / "thesis.txt").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(folder)
    bad = tmp_path / "bad.toml"
    bad.write_text("[network]\nname = 'x'\n")
    for directory, file, text in (
        (folder, "dev-4", "holds what is not of a network: thesis.txt"),
        (folder, bad, "seed is missing"),
        (link, "dev-4", "is a link"),
    ):
        done = lowu("up", file, "--recreate", "--dir", directory, check=False)
        assert done.returncode == 2 and text in done.stderr, done.stderr
        assert (folder / ".lowu" / "network.toml").is_file()
    (folder / "thesis.txt").unlink()
    before = network.chain_id
    again = lowu_json("up", "dev-4", "--recreate", "--dir", folder)
    assert again["figures"]["height"] == 1 and network.chain_id != before


def test_a_client_of_one_network_takes_no_answers_of_another(shared, tmp_path):
    """Another network on the same ports answered, and its answers counted."""
    told = lowu_json("env", "--dir", shared.directory)
    assert int(rpc(told["url"], "eth_chainId")["result"], 16) == told["chain_id"]
    folder = tmp_path / "nodes"
    (folder / ".lowu").mkdir(parents=True)
    for name in ("network.toml", "ports.json"):
        shutil.copy(shared.directory / ".lowu" / name, folder / ".lowu")
    genesis = Path("127.0.0.1", "node0", "config.genesis")
    (folder / genesis).parent.mkdir(parents=True)
    shutil.copy(shared.directory / genesis, folder / genesis)
    text = (folder / ".lowu" / "network.toml").read_text("utf-8")
    assert f"web3_chain_id = {told['chain_id']}" in text
    text = text.replace(str(told["chain_id"]), "77")
    (folder / ".lowu" / "network.toml").write_text(text, "utf-8")
    done = lowu("org", "proposals", "--by", "webank", "--dir", folder, check=False)
    assert done.returncode == 1 and "a node of another chain answers here" in done.stderr
