"""The machine of a virtual network: who gets a core when, and what that takes."""

import json
from dataclasses import replace

import pytest
import trio

from lowu.node.errors import ConfigError
from lowu.node.metrics import Part
from lowu.node.simulation.agenda import TICK_S
from lowu.node.simulation.costs import (
    CostModel,
    Work,
    WorkCost,
    average_models,
    parse_costs,
)
from lowu.node.simulation.simulated_machine import QUANTUM_S, Machine, SimulatedCpu
from lowu.node.simulation.virtual_time import run_virtual


def model(cores, **costs):
    table = {item: WorkCost() for item in Work} | {Work(name): cost for name, cost in costs.items()}
    return CostModel(cores, table, 0.0, "a test")


def play(cores, script, **costs):
    """Run a script on a machine; return what it returns."""

    async def main():
        machine = Machine(model(cores, **costs))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.agenda.run)
            found = await script(machine)
            nursery.cancel_scope.cancel()
        return found

    return run_virtual(1, main)


async def ends(machine, *jobs):
    """Have processes do jobs of so many seconds; return when each of them ends."""
    found = {}
    async with trio.open_nursery() as nursery:
        for number, (name, cpu_s) in enumerate(jobs):
            event = trio.Event()
            machine.submit(name, cpu_s, event.set)

            async def wait(number=number, event=event):
                await event.wait()
                found[number] = round(trio.current_time(), 6)

            nursery.start_soon(wait)
    return [found[number] for number in range(len(jobs))]


@pytest.mark.parametrize(
    ("cores", "wanted"),
    [(1, [0.001, 0.003, 0.006]), (2, [0.001, 0.002, 0.004]), (0, [0.001, 0.002, 0.003])],
)
def test_processes_share_the_cores_there_are(cores, wanted):
    async def script(machine):
        return await ends(machine, ("a", 0.001), ("b", 0.002), ("c", 0.003))

    assert play(cores, script) == wanted


def test_a_process_does_one_thing_at_a_time_on_any_number_of_cores():
    async def script(machine):
        return await ends(machine, ("a", 0.001), ("a", 0.002), ("b", 0.001))

    assert play(8, script) == [0.001, 0.003, 0.001]


def test_long_work_yields_to_others_after_a_quantum():
    async def script(machine):
        return await ends(machine, ("a", 10 * QUANTUM_S), ("b", 0.001))

    long, short = play(1, script)
    assert short == round(QUANTUM_S + 0.001, 6)
    assert long == round(10 * QUANTUM_S + 0.001, 6)


def test_a_thread_yields_to_its_own_event_loop():
    async def script(machine):
        found = {}

        async def compute():
            cpu = SimulatedCpu(machine, "a")

            def work():
                with cpu.measure(Part.EXECUTION, 3):
                    return "done"

            assert await machine.run_in_thread("a", work) == "done"
            found["thread"] = round(trio.current_time(), 6)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(compute)
            await trio.sleep(0.001)
            await machine.spend("a", Work.CONSENSUS)
            found["loop"] = round(trio.current_time(), 6)
        return found

    costs = {"execution": WorkCost(0.01, 0.005), "consensus": WorkCost(0.002)}
    assert play(1, script, **costs) == {"loop": 0.007, "thread": 0.027}


def test_who_waits_for_the_disk_leaves_the_core_to_others():
    async def script(machine):
        return await ends_of_works(machine, ("a", Work.STORAGE), ("b", Work.CONSENSUS))

    async def ends_of_works(machine, *works):
        found = []
        async with trio.open_nursery() as nursery:
            for name, work in works:

                async def go(name=name, work=work):
                    await machine.spend(name, work)
                    found.append((name, round(trio.current_time(), 6)))

                nursery.start_soon(go)
        return sorted(found)

    costs = {"storage": WorkCost(0.001, wait_s=0.1), "consensus": WorkCost(0.001)}
    assert play(1, script, **costs) in (
        [("a", 0.101), ("b", 0.002)],
        [("a", 0.102), ("b", 0.001)],
    )


def test_what_is_measured_delays_what_is_sent_after_it():
    """A node's parts are charged without waiting; its next bytes leave after them."""

    async def script(machine):
        cpu = SimulatedCpu(machine, "a")
        with cpu.measure(Part.ADMISSION, 4):
            pass
        await machine.spend("a", Work.LINK, 100)
        return round(trio.current_time(), 6), cpu.read()["admission"], machine.spent_s("a")

    costs = {"admission": WorkCost(0.001, 0.0005), "link": WorkCost(0.0002, 1e-6)}
    assert play(1, script, **costs) == (0.0033, 0.003, pytest.approx(0.0033))


def test_a_paused_process_goes_on_where_it_was():
    async def script(machine):
        with machine.paused("a"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(machine.spend, "a", Work.CONSENSUS)
                await trio.sleep(6)
                paused = machine.spent_s("a")
                nursery.cancel_scope.cancel()
        await machine.settle("a")
        return paused, round(trio.current_time(), 6)

    assert play(2, script, consensus=WorkCost(0.002)) == (0.0, 6.002)


def test_a_process_goes_on_when_the_last_of_its_pauses_ends():
    async def script(machine):
        with machine.paused("a"):
            with machine.paused("a"):
                await trio.sleep(1)
            machine.submit("a", 0.001)
            await trio.sleep(1)
            held_up = machine.spent_s("a")
        await machine.settle("a")
        return held_up, machine.spent_s("a")

    assert play(1, script) == (0.0, 0.001)


def test_the_work_of_a_killed_process_ends_at_once():
    async def script(machine):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.spend, "a", Work.EXECUTION)
            await trio.sleep(0.001)
            machine.forget("a")
        at_s = round(trio.current_time(), 6)
        await machine.spend("a", Work.CONSENSUS)
        return at_s, round(trio.current_time(), 6)

    costs = {"execution": WorkCost(100.0), "consensus": WorkCost(0.001)}
    assert play(1, script, **costs) == (0.001, round(QUANTUM_S + 0.001, 6))


def test_a_model_can_be_written_and_read():
    wanted = model(4, storage=WorkCost(1.5e-4, 2e-6, 3e-3))
    assert parse_costs(json.dumps(wanted.to_json()), "costs.json") == wanted


def test_two_models_of_one_machine_have_a_mean():
    first = model(4, storage=WorkCost(1e-4, 2e-6, 3e-3), link=WorkCost(1e-5))
    second = replace(model(4, storage=WorkCost(3e-4, 0.0, 1e-3)), hop_s=0.002)
    mean = average_models(first, second)
    assert mean.costs[Work.STORAGE] == WorkCost(pytest.approx(2e-4), 1e-6, 2e-3)
    assert mean.costs[Work.LINK] == WorkCost(5e-6) and mean.costs.keys() == first.costs.keys()
    assert (mean.cores, mean.hop_s) == (4, 0.001)
    with pytest.raises(ConfigError, match="4 cores and for 2 cannot be averaged"):
        average_models(first, model(2))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"form": 9}, "not a cost model of form 1"),
        ({"cores": -1}, "cores must be a whole number"),
        ({"hop_us": "long"}, "hop_us must be microseconds"),
        ({"costs_us": {}}, "costs_us has no admission"),
        ({"costs_us": {"admision": {}}}, "did you mean 'admission'"),
        ({"costs_us": {"admission": {"base": float("nan")}}}, r"costs\.json: .*lowu calibrate"),
        ({"costs_us": {"admission": {"base": True}}}, "costs_us.admission.base must be"),
        ({"costs_us": {"admission": {"item": -1}}}, "costs_us.admission.item must be"),
    ],
)
def test_a_damaged_model_is_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        parse_costs(json.dumps(model(4).to_json() | change), "costs.json")


def test_what_is_no_json_is_refused():
    with pytest.raises(ConfigError, match=r"costs\.json: .*lowu calibrate"):
        parse_costs("[" * 100_000, "costs.json")


def test_what_is_shorter_than_a_tick_adds_up_exactly():
    """Only when the end of work is seen is rounded, not how long it takes."""

    async def script(machine):
        return await ends(machine, *[("a", TICK_S / 3)] * 9)

    assert play(1, script) == [round(TICK_S * count, 6) for count in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
