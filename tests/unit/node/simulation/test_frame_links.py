"""Links that hand whole frames over: order, silence, breaks, and whom a bad frame costs what."""

from random import Random

import pytest
import trio

from lowu.node.core.sync import Sync
from lowu.node.errors import BadInput
from lowu.node.gateway.framing import FrameKind, decode_payload, encode_frame
from lowu.node.gateway.peer import SILENCE_S
from lowu.node.simulation.agenda import Agenda
from lowu.node.simulation.costs import CostModel, Work, WorkCost
from lowu.node.simulation.frame_links import Carriers, FrameLink, Reception
from lowu.node.simulation.simulated_machine import Machine
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.testing.networks import load_plan

NODES = (b"left", b"right")


class Pair:
    """Two ends of a link, each served; what arrives is kept, with the time."""

    def __init__(self, **options):
        machine = options.pop("machine", None)
        self.agenda = Agenda() if machine is None else machine.agenda
        self.receptions = (Reception(), Reception())
        carriers = None if machine is None else Carriers(machine, ("left", "right"), False)
        both = tuple(zip(NODES, self.receptions, strict=True))
        self.link = FrameLink(Random(1), self.agenda, both, carriers=carriers, **options)
        self.found = ([], [])
        self.faults = [None, None]

    async def serve(self, side):
        async def handle(peer, frame):
            value = decode_payload(frame)
            if value == "bad":
                raise BadInput("a bad frame")
            self.found[side].append((value, round(trio.current_time(), 3)))

        try:
            await self.link.ends[side].run(handle)
        except BadInput as error:
            self.faults[side] = str(error)

    def values(self, side):
        return [value for value, _ in self.found[side]]


def play(script, **options):
    """Run a script over a pair of ends, in virtual time; return the pair."""

    async def main():
        if "costs" in options:
            table = {work: WorkCost() for work in Work} | options.pop("costs")
            options["machine"] = Machine(CostModel(0, table))
        pair = Pair(**options)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.agenda.run)
            for side in (0, 1):
                nursery.start_soon(pair.receptions[side].run)
                nursery.start_soon(pair.serve, side)
            await script(pair)
            nursery.cancel_scope.cancel()
        return pair

    return run_virtual(1, main)


def send(pair, side, *values):
    for value in values:
        pair.link.ends[side].send(FrameKind.SYNC_STATUS, value)


def test_frames_arrive_in_order_at_both_ends():
    async def script(pair):
        for number in range(100):
            send(pair, number % 2, number)
            await trio.sleep(0.001)
        await trio.sleep(1)

    pair = play(script, delay_s_max=0.2)
    assert pair.values(1) == list(range(0, 100, 2)) and pair.values(0) == list(range(1, 100, 2))
    assert [end.node_id for end in pair.link.ends] == [b"right", b"left"]
    assert [end.is_dialer for end in pair.link.ends] == [True, False]


def test_what_a_silent_side_sends_is_held_and_then_arrives():
    async def script(pair):
        pair.link.silence(0, is_silent=True)
        send(pair, 0, 1, 2)
        send(pair, 1, 3)
        await trio.sleep(1)
        assert pair.values(1) == [] and pair.values(0) == [3]
        pair.link.silence(0, is_silent=False)
        await trio.sleep(1)

    assert play(script).found[1] == [(1, 1.0), (2, 1.0)]


def test_a_break_loses_what_is_on_its_way_and_ends_both():
    async def script(pair):
        await trio.sleep(0.5)
        send(pair, 0, 1)
        pair.link.break_off()
        send(pair, 0, 2)
        await trio.sleep(1)
        assert all(end.closed.is_set() for end in pair.link.ends)

    pair = play(script, delay_s_max=0.1)
    assert pair.found == ([], []) and pair.faults == [None, None]


def test_a_bad_frame_costs_its_sender_the_link_and_what_came_after_it():
    async def script(pair):
        send(pair, 0, 1, "bad", 2)
        await trio.sleep(1)
        assert all(end.closed.is_set() for end in pair.link.ends)

    pair = play(script)
    assert pair.values(1) == [1] and pair.faults == [None, "a bad frame"]


def test_a_side_that_is_never_heard_is_blamed_after_the_silence():
    async def script(pair):
        pair.link.silence(0, is_silent=True)
        await pair.link.ends[1].closed.wait()
        assert SILENCE_S <= trio.current_time() <= SILENCE_S + 5

    assert play(script).faults == [None, f"silent for {SILENCE_S:.0f} s"]


def test_pings_keep_a_link_on_which_nothing_else_is_said():
    async def script(pair):
        await trio.sleep(10 * SILENCE_S)
        assert not pair.link.is_broken

    assert play(script).faults == [None, None]


def test_sending_and_receiving_take_the_nodes_time_and_what_waits_is_read_at_once():
    async def script(pair):
        await trio.sleep(1)
        begin_s = trio.current_time()
        send(pair, 0, 1, 2, 3)
        await trio.sleep(10)
        pair.begin_s = begin_s

    pair = play(script, costs={Work.LINK: WorkCost(base_s=0.1)})
    # Sent at 0.1, 0.2, 0.3; the first is read at 0.2, the second at 0.3, the third at 0.4.
    assert [round(at_s - pair.begin_s, 1) for _, at_s in pair.found[1]] == [0.2, 0.3, 0.4]

    async def busy(pair):
        await trio.sleep(1)
        pair.link.carriers.machine.submit("right", 0.5)
        send(pair, 0, 1, 2, 3)
        await trio.sleep(10)

    pair = play(busy, costs={Work.LINK: WorkCost(base_s=0.1)})
    assert [at_s for _, at_s in pair.found[1]] == [1.6, 1.6, 1.6]


def test_only_a_new_link_is_told_of_the_height(monkeypatch):
    """Telling everybody at each new link took a network of 100 nodes a million frames to start."""
    heard = []
    handle = Sync.handle_status

    async def note(self, node_id, value):
        heard.append(value)
        await handle(self, node_id, value)

    monkeypatch.setattr(Sync, "handle_status", note)

    async def main():
        async with open_virtual(load_plan("gba-13")) as network:
            return len(network.nodes)

    nodes = run_virtual(1, main)
    assert nodes == 18
    assert nodes * (nodes - 1) / 2 <= len(heard) <= 2 * nodes * (nodes - 1)


def test_frames_are_read_as_they_are_cut():
    data = encode_frame(FrameKind.SYNC_STATUS, [1])

    async def script(pair):
        pair.link.ends[0].send_encoded(FrameKind.SYNC_STATUS, data + data)
        await trio.sleep(1)

    assert play(script).faults == [None, f"{2 * len(data)} bytes are not one frame"]


@pytest.mark.parametrize("side", [0, 1])
def test_what_comes_before_a_node_serves_the_link_waits_for_it(side):
    async def main():
        pair = Pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.agenda.run)
            nursery.start_soon(pair.receptions[side].run)
            send(pair, 1 - side, 1, 2)
            await trio.sleep(1)
            nursery.start_soon(pair.serve, side)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return pair

    assert run_virtual(1, main).values(side) == [1, 2]
