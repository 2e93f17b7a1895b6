"""A load experimenter: what a slow boundary and a killed node do to the time of a registration.

Run it with ``pytest test_load.py``. The first test is in virtual time, the second starts a
network of processes. `lowu bench throughput` and `lowu bench latency` measure more.
"""

import statistics
import time

import trio

from lowu import SAMPLES, VirtualNetwork, running_network

REGISTRATIONS = 5


async def time_registrations(actors, now):
    """Return the seconds from each call to its committed receipt."""
    taken = []
    for number in range(REGISTRATIONS):
        document = SAMPLES["cn.ecr/1"](number, actors.now_s())
        started = now()
        await actors.issue("szcredit", document, "acme-sz", "nova")
        taken.append(now() - started)
    return taken


def test_a_slow_boundary_costs_time():
    async def play(actors, faults):
        fast = await time_registrations(actors, trio.current_time)
        async with faults.slow(0.08, "bea-hk", "fusion", "hkstp"):
            slow = await time_registrations(actors, trio.current_time)
        return statistics.median(fast), statistics.median(slow)

    fast, slow = VirtualNetwork("seed-7").play(play)
    assert slow > fast


def test_registrations_survive_a_killed_node():
    async def play(actors, faults):
        before = await time_registrations(actors, time.monotonic)
        async with faults.down("webank"):
            during = await time_registrations(actors, time.monotonic)
        height = await actors.clients["webank"].call("eth_blockNumber")  # it answers again
        return before, during, int(height, 16)

    with running_network("dev-4") as network:
        before, during, height = network.play(play)
    assert height > 0
    assert len(before) == len(during) == REGISTRATIONS
