"""N-F7 on whole nodes: a validator that is linked and follows, but sends no consensus message."""

import pytest
import trio

from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.network import build_probe
from lowu.testing.networks import load_plan

PLAN = load_plan("dev-4")
BLOCKS = 150
WAIT_S = 1.0
"""More seconds than any block takes here, and fewer than the shortest time-out."""
TIME_OUTS_MAX = 4
"""k + 1, where n × 4 × (2^k − 1) ≤ 150 for n = 4 (docs/PROTOCOL.md, section 9)."""


@pytest.mark.parametrize("mute", ["node1", "node3"])
def test_a_mute_validator_costs_few_time_outs(mute):
    """Each of its turns used to cost one: 43 to 54 transactions per second fell to 10."""

    async def main():
        waits = []
        async with open_virtual(PLAN, 7) as network:
            driver = network.nodes[mute].driver
            driver._transmit = lambda node_ids, message: None
            client = network.client(PLAN.nodes[0])
            for _ in range(BLOCKS):
                began_s = trio.current_time()
                raw = "0x" + build_probe(PLAN).hex()
                await client.wait_for_receipt(await client.call("eth_sendRawTransaction", raw))
                waits.append(trio.current_time() - began_s)
            assert len(network.nodes[mute].gateway.connected) == 3
            heights = {node.ledger.head.number for node in network.nodes.values()}
        return waits, heights

    waits, heights = run_virtual(3, main)
    assert 1 <= sum(wait > WAIT_S for wait in waits) <= TIME_OUTS_MAX
    assert max(heights) - min(heights) <= 1, "it follows"
