"""A leader killed repeatedly with SIGKILL under steady registrations (F01, F05, P13)."""

import json

import pytest
import trio

from lowu.consensus.invariants import check_agreement
from lowu.experiments.faults.killed_nodes import (
    SteadyLoad,
    count_missing,
    find_leader,
    kill_node,
    start_node,
    wait_for_level,
)
from lowu.node.client import RpcClient
from lowu.node.topology.network import build_probe
from lowu.node.topology.tree import load_tree
from tests.network.kit import rpc, wait_until

ROUNDS = 3
VIEW_TIMEOUT_S = 3.0


@pytest.mark.timeout(180)
async def test_killed_leader_under_load(network):
    plan = load_tree(network.directory)
    issuer = next(item for item in plan.institutions if item.spec.id == "szcredit")
    for _ in range(ROUNDS):
        load = SteadyLoad(issuer)
        async with RpcClient(issuer.node.url) as client, trio.open_nursery() as nursery:
            nursery.start_soon(load.run, client)
            await load.wait_for(3)
            leader = await find_leader(plan)
            while leader.name == issuer.node.name:  # the client's own node must stay
                await load.wait_for(1)
                leader = await find_leader(plan)
            await kill_node(network.directory, leader)
            await load.wait_for(8)
            await start_node(network.directory, leader)
            await load.wait_for(3)
            nursery.cancel_scope.cancel()
        statuses = await wait_for_level(plan)
        assert statuses is not None, "the restarted node caught up without help"
        assert load.longest_gap_s < 2 * VIEW_TIMEOUT_S
        assert await count_missing(plan, issuer, load.acknowledged) == 0
        check_agreement(await trio.to_thread.run_sync(network.chains))


def test_stop_and_start_all_by_restart(network):
    """Every node is restarted in turn, and the chain continues (F36)."""
    before = max(network.heights())
    for node in network.nodes:
        network.order("restart", node["name"])
    result = network.__class__(network.directory)
    assert result.up_result["was_running"] is True
    assert result.up_result["figures"]["height"] > before


def test_two_of_four_down_stops_the_chain_and_reads_go_on(network):
    """F07: no block without a quorum, but reads are answered; blocks once the nodes are back."""
    plan = load_tree(network.directory)
    for name in ("node2", "node3"):
        network.order("kill", name)
    height = rpc(network.url, "eth_blockNumber")["result"]
    raw = "0x" + build_probe(plan).hex()
    tx_hash = rpc(network.url, "eth_sendRawTransaction", raw)["result"]

    def has_timed_out():
        return json.loads(rpc(network.url, "getConsensusStatus")["result"])["timeout"]

    wait_until(has_timed_out, "the view timer fires")
    assert rpc(network.url, "eth_blockNumber")["result"] == height
    assert rpc(network.url, "eth_getTransactionReceipt", tx_hash)["result"] is None
    assert rpc(network.url, "eth_getTransactionByHash", tx_hash)["result"]["blockNumber"] is None
    for name in ("node2", "node3"):
        network.order("start", name)
    for node in network.nodes:
        wait_until(
            lambda url=node["url"]: rpc(url, "eth_getTransactionReceipt", tx_hash)["result"],
            "the transaction is committed everywhere",
        )
