"""All nodes are restarted one after the other while registrations go on (F36)."""

import json

import pytest
import trio

from lowu.experiments.faults.killed_nodes import SteadyLoad, count_missing, wait_for_level
from lowu.node.client import RpcClient
from lowu.node.topology.tree import load_tree
from tests.network.kit import Network, lowu

STALL_S = 10.0


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
    finally:
        network.close()
