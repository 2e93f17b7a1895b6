"""All nodes are restarted one after the other while registrations go on (F36).

With LOWU_OTHER_PYTHON, the interpreter of an installation of an earlier Lowu, a campaign is of
nodes of two versions; in the suite, one node is run by another interpreter with the same Lowu.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from lowu.experiments.faults.killed_nodes import SteadyLoad, count_missing, wait_for_level
from lowu.node.client import RpcClient
from lowu.node.topology.changes import with_chain_id
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.tree import load_tree, write_tree
from lowu.options import read_network
from tests.network.kit import Network, lowu, lowu_json

STALL_S = 10.0
OTHER_PYTHON = os.environ.get("LOWU_OTHER_PYTHON", "")


@pytest.mark.timeout(240)
async def test_registrations_go_on_while_all_nodes_restart(network):
    plan = load_tree(network.directory)
    issuer = next(item for item in plan.institutions if item.spec.id == "szcredit")
    load = SteadyLoad(issuer)
    before = {item["name"]: item["pid"] for item in network.status()}
    async with RpcClient(issuer.node.url) as client, trio.open_nursery() as nursery:
        nursery.start_soon(load.run, client)
        await load.wait_for(3)
        done = await trio.to_thread.run_sync(
            lambda: lowu("restart", "--all", "--json", "--dir", network.directory)
        )
        await load.wait_for(3)
        nursery.cancel_scope.cancel()
    told = json.loads(done.stdout)
    assert told["figures"]["restarted"] == 4 and set(told["nodes"]) == set(before)
    after = {item["name"]: item["pid"] for item in network.status()}
    assert all(after[name] not in (None, before[name]) for name in before)
    assert load.longest_gap_s < STALL_S
    assert await wait_for_level(plan) is not None
    assert await count_missing(plan, issuer, load.acknowledged) == 0


@pytest.fixture
def older(tmp_path):
    """A network that began with the format before this Lowu's."""
    text = with_chain_id(read_network("dev-4")[0])
    plan = build_plan(parse_spec(text, Path("dev-4")))
    write_tree(replace(plan, genesis_format=9), text, tmp_path / "nodes")
    network = Network(tmp_path / "nodes", str(tmp_path / "nodes" / ".lowu" / "network.toml"))
    yield network
    network.close()


def test_a_network_of_the_format_before_goes_on(older):
    """And one of its nodes is run by another interpreter."""
    assert load_tree(older.directory).genesis.format == 9
    here = ("--dir", older.directory)
    pid = lowu_json("restart", "node0", "--python", sys.executable, *here)["node"]["pid"]
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists():
        assert b"node_main(" in command.read_bytes()
    older.wait_until_level()
    lowu("sample", "cn.ecr/1", "--output", "report.json", cwd=older.directory.parent)
    issue = ("issue", "report.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    lowu(*issue, *here, cwd=older.directory.parent, timeout=60)
    older.order("restart", "node0")
    older.wait_until_level()
    refused = lowu("config", "set", "tx_count_limit", "5", *here, check=False)
    assert "began with an earlier Lowu" in refused.stderr
    assert lowu_json("doctor", "--full", *here)["ok"]


@pytest.mark.skipif(not OTHER_PYTHON, reason="LOWU_OTHER_PYTHON names no other Lowu")
@pytest.mark.timeout(240)
async def test_nodes_of_another_lowu_take_part_one_after_the_other(older):
    """Upgraded and back again under load; in between, the group changes with both."""
    plan = load_tree(older.directory)
    assert plan.genesis.format == 9
    issuers = [item for item in plan.institutions if item.spec.schemas][:2]
    loads = [SteadyLoad(issuer) for issuer in issuers]
    here = ("--dir", older.directory)

    async def command(*arguments, **options):
        return await trio.to_thread.run_sync(lambda: lowu(*arguments, *here, **options))

    async with trio.open_nursery() as nursery:
        for load in loads:
            client = await nursery.start(open_client, load.issuer.node.url)
            nursery.start_soon(load.run, client)
            await load.wait_for(2)
        await command("restart", "node0", "--python", OTHER_PYTHON)
        await command("restart", "node2", "--python", OTHER_PYTHON)
        done = await command("node", "add", "bea-hk", "--validator", "--json")
        assert json.loads(done.stdout)["node"] == "node4"
        refused = await command("config", "set", "tx_count_limit", "5", check=False)
        assert "began with an earlier Lowu" in refused.stderr
        done = await command("restart", "--all", "--python", OTHER_PYTHON, "--json")
        assert json.loads(done.stdout)["figures"]["restarted"] == 5
        await command("restart", "--all")
        for load in loads:
            await load.wait_for(2)
        nursery.cancel_scope.cancel()
    plan = load_tree(older.directory)
    assert await wait_for_level(plan) is not None
    for load in loads:
        assert load.longest_gap_s < STALL_S
        assert await count_missing(plan, load.issuer, load.acknowledged) == 0
    assert lowu_json("doctor", "--full", *here)["ok"]


async def open_client(url, task_status):
    async with RpcClient(url) as client:
        task_status.started(client)
        await trio.sleep_forever()


def test_an_interpreter_without_a_lowu_is_refused(network):
    here = ("--python", sys.executable, "--dir", network.directory)
    done = lowu("start", "node0", *here, check=False)
    assert done.returncode == 2 and "node0 is running" in done.stderr
    for path, text in (("/bin/sh", "cannot run a node"), ("/bin/no-such", "does not exist")):
        done = lowu("restart", "node0", "--python", path, "--dir", network.directory, check=False)
        assert done.returncode == 2 and text in done.stderr


@pytest.mark.timeout(120)
def test_what_would_stop_the_chain_is_refused(tmp_path):
    network = Network(tmp_path / "nodes", "pilot-2")
    try:
        done = lowu("restart", "--all", "--dir", network.directory, check=False)
        assert done.returncode == 2
        assert "without node0, node1 no block can be committed" in done.stderr
        assert "it has no fault tolerance" in done.stderr
        done = lowu("restart", "--dir", network.directory, check=False)
        assert "give either NODE or --all" in done.stderr
        done = lowu("restart", "--all", "--force", "--dir", network.directory)
        assert "2 nodes restarted, one after the other" in done.stdout
        network.wait_until_level()
        assert "runs already" in lowu("start", "node1", "--dir", network.directory).stdout
        network.order("stop", "node1")
        done = lowu("restart", "--all", "--dir", network.directory, check=False)
        assert done.returncode == 2 and "no block can be committed now: node1" in done.stderr
    finally:
        network.close()
