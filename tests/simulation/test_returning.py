"""A validator that comes back learns what it missed without a time-out or resend period."""

from random import Random

import pytest
import trio

from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.network import build_probe
from lowu.testing.networks import load_plan

RESEND_S = 1.0
PLAN = load_plan("dev-4")


class Load:
    """A client that sends one transaction after another, and records the longest wait."""

    def __init__(self, network, node):
        self._client = network.client(node)
        self.longest_s = 0.0
        self.count = 0

    async def run(self):
        while True:
            began_s = trio.current_time()
            raw = "0x" + build_probe(PLAN).hex()
            await self._client.wait_for_receipt(
                await self._client.call("eth_sendRawTransaction", raw)
            )
            self.longest_s = max(self.longest_s, trio.current_time() - began_s)
            self.count += 1

    async def wait_for(self, count):
        wanted = self.count + count
        while self.count < wanted:
            await trio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
def test_a_validator_that_comes_back_holds_up_nobody(seed):
    """It used to be linked, and lead its turns, before it knew the view or the blocks."""
    random = Random(seed)
    gone = PLAN.nodes[random.randrange(1, 4)].name

    async def main():
        async with open_virtual(PLAN, seed) as network, trio.open_nursery() as nursery:
            load = Load(network, PLAN.nodes[0])
            nursery.start_soon(load.run)
            await load.wait_for(random.randrange(5, 10))
            await trio.sleep(2 * RESEND_S)
            async with network.down(gone):
                await load.wait_for(random.randrange(8, 40))
            load.longest_s = 0.0
            await load.wait_for(60)
            nursery.cancel_scope.cancel()
        return load.longest_s

    assert run_virtual(seed, main) < RESEND_S
