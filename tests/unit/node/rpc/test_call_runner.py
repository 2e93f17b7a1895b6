"""Calls beside the event loop: shared hops, long calls, failures, clients that go."""

import threading
import time
from dataclasses import replace

import pytest
import trio
import trio.testing

from lowu.node.chain.transaction import build_unsigned
from lowu.node.config import Engine
from lowu.node.errors import CallAborted
from lowu.node.execution.compiler.engine import (
    CodeCache,
    CompiledComputation,
    WatchedCompiledComputation,
)
from lowu.node.execution.executor import call
from lowu.node.rpc import call_gate, call_runner
from lowu.node.rpc.call_gate import LONG_MAX
from lowu.node.rpc.call_runner import WORKERS_MAX, Call, CallRunner
from lowu.node.simulation.evm.differential import CONTEXT, state_of
from lowu.node.simulation.evm.programs import ADDRESSES, SENDER, Program

LIMIT_S = 10.0


async def run(runner, work):
    """Run one call; return its result or raise its error."""
    call = Call(work)
    await runner.run([call])
    assert call.done.is_set()
    if call.error is not None:
        raise call.error
    return call.result


async def test_calls_share_hops(monkeypatch):
    hops = []
    run_sync = trio.to_thread.run_sync

    async def counted(*args, **settings):
        hops.append(args)
        return await run_sync(*args, **settings)

    monkeypatch.setattr(trio.to_thread, "run_sync", counted)
    runner, results = CallRunner(), {}

    async def ask(number):
        results[number] = await run(runner, lambda watch: number * number)

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number)
    assert results == {number: number * number for number in range(200)}
    assert len(hops) < 100


async def test_a_long_call_does_not_hold_up_others():
    runner, over = CallRunner(), threading.Event()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, runner, lambda watch: over.wait(LIMIT_S))
            await trio.testing.wait_all_tasks_blocked()
            assert await run(runner, lambda watch: 7) == 7
            over.set()


async def test_long_calls_take_no_more_threads_than_allowed():
    runner, over, running = CallRunner(), threading.Event(), threading.Semaphore(WORKERS_MAX)
    too_many = []

    def work(watch):
        if not running.acquire(blocking=False):
            too_many.append(1)
        over.wait(LIMIT_S)
        running.release()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS_MAX + 3):
                nursery.start_soon(run, runner, work)
            with trio.move_on_after(0.2):
                await run(runner, lambda watch: None)
            over.set()
    assert not too_many


async def test_a_failure_is_that_of_its_call():
    runner = CallRunner()

    def fail(watch):
        raise ValueError("of this call")

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(run, runner, lambda watch: 1)
        with pytest.raises(ValueError, match="of this call"):
            await run(runner, fail)
        assert await run(runner, lambda watch: 2) == 2


async def test_a_call_whose_client_has_gone_is_not_begun():
    runner, over, ran = CallRunner(), threading.Event(), []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS_MAX):
                nursery.start_soon(run, runner, lambda watch: over.wait(LIMIT_S))
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.1) as scope:
                await run(runner, lambda watch: ran.append(1))
            assert scope.cancelled_caught
            over.set()
        assert await run(runner, lambda watch: 3) == 3
    assert not ran


# --- calls that do not end (case N-F4) ------------------------------------------------------------


def never_ending(watch):
    while True:
        watch.tick()


async def attack(runner, failures):
    """Make a call that does not end; note how it was ended."""
    try:
        await run(runner, never_ending)
    except CallAborted as error:
        failures.append(str(error))


async def test_a_call_ends_when_it_has_had_its_time(monkeypatch):
    monkeypatch.setattr(call_gate, "CALL_CPU_S", 0.05)
    with trio.fail_after(LIMIT_S), pytest.raises(CallAborted, match=r"timeout = 0.05s"):
        await run(CallRunner(), never_ending)


async def test_a_call_ends_when_its_client_has_gone():
    """And its thread is there for others, at once."""
    runner, ended = CallRunner(), threading.Event()

    def work(watch):
        try:
            never_ending(watch)
        finally:
            ended.set()

    with trio.fail_after(LIMIT_S):
        with trio.move_on_after(0.05):
            await run(runner, work)
        await trio.to_thread.run_sync(ended.wait)
        while runner._workers:
            await trio.lowlevel.checkpoint()


async def test_who_has_closed_its_end_is_told_so_and_no_result():
    """A client may close its own end and read on: it was told a result of null."""
    runner, ran = CallRunner(), []
    item = Call(ran.append, has_left=lambda: True)
    with trio.fail_after(LIMIT_S):
        await runner.run([item])
    assert not ran and "nobody waits" in str(item.error)


async def test_calls_that_do_not_end_hold_up_no_other(monkeypatch):
    """There are few long calls at a time, and while others wait, none goes on for ever."""
    monkeypatch.setattr(call_gate, "LONG_LEAST_S", 0.05)
    monkeypatch.setattr(call_gate, "CROWDED_S", 0.1)
    runner, failures = CallRunner(), []
    with trio.fail_after(3 * LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(LONG_MAX + 3):
                nursery.start_soon(attack, runner, failures)
            while len(failures) < 3:
                assert await run(runner, lambda watch: 7) == 7
            nursery.cancel_scope.cancel()
    assert all("at a time" in text for text in failures[:3])


async def test_twelve_endless_calls_leave_workers_for_others(monkeypatch):
    """N-F4: they held all six, each until its end, and a call of a millisecond waited for 3.5 s."""
    monkeypatch.setattr(call_gate, "LONG_LEAST_S", 10**6)
    monkeypatch.setattr(call_gate, "CALL_CPU_S", 10**6)
    runner, failures = CallRunner(), []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(attack, runner, failures)
            for _ in range(100):
                assert await run(runner, lambda watch: 7) == 7
            assert not failures, "they were not ended for it"
            nursery.cancel_scope.cancel()


async def test_long_calls_that_end_all_have_their_results(monkeypatch):
    """Those that are one too many are begun again, however many threads there are."""
    begun = []

    def work(number):
        def run_for_a_while(watch):
            begun.append(number)
            end_s = time.thread_time() + 0.02
            while time.thread_time() < end_s:
                watch.tick()
            return number

        return run_for_a_while

    calls = [Call(work(number), number) for number in range(24)]
    runner = CallRunner()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for item in calls:
                nursery.start_soon(runner.run, [item])
    assert [(item.result, item.error) for item in calls] == [(n, None) for n in range(24)]
    assert len(begun) > len(calls), "some were begun twice"
    while runner._workers:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("are_one_client", [True, False])
async def test_a_call_of_some_milliseconds_is_done_beside_endless_ones(monkeypatch, are_one_client):
    """It was refused, or waited until they had had all their time.

    Or it waited for hundreds of them: each that was ended came back at once, and had the room that
    was made for those that waited. Now it waits for a round of all attackers at most.
    """
    monkeypatch.setattr(call_gate, "LONG_LEAST_S", 0.05)
    monkeypatch.setattr(call_gate, "CROWDED_S", 0.1)
    runner, attackers, ended = CallRunner(), 8, []

    async def attack(number):
        while True:
            item = Call(never_ending, "attackers" if are_one_client else f"attacker {number}")
            await runner.run([item])
            ended.append(item)

    def some_milliseconds(watch):
        end_s = time.thread_time() + 0.02
        while time.thread_time() < end_s:
            watch.tick()
        return 7

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for number in range(attackers):
                nursery.start_soon(attack, number)
            for number in range(6):
                item, ended_before = Call(some_milliseconds, number), len(ended)
                await runner.run([item])
                assert (item.result, item.error) == (7, None)
                assert len(ended) - ended_before <= 2 * attackers
            nursery.cancel_scope.cancel()


async def test_work_that_asks_nothing_waits_for_its_turn_before(monkeypatch):
    """A precompile's work in one piece is that of a long call from the beginning."""
    runner, running, most = CallRunner(), set(), []

    def work(watch):
        watch.expect_long()
        running.add(watch)
        most.append(len(running))
        time.sleep(0.002)
        running.discard(watch)

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(run, runner, work)
    assert len(most) >= 20 and max(most) == 1


async def test_workers_that_a_closed_gate_sent_away_come_back(monkeypatch):
    """With all at work nobody watched the queue any more; then one came back, for a long call."""
    runner, over, next_over, is_closed = CallRunner(), threading.Event(), threading.Event(), True
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS_MAX):
                nursery.start_soon(run, runner, lambda watch: over.wait(LIMIT_S))
            while runner._workers < WORKERS_MAX or runner._is_patient:
                await trio.lowlevel.checkpoint()
            monkeypatch.setattr(runner._gate, "is_open", lambda: not is_closed)
            monkeypatch.setattr(runner._gate, "closed_for_s", lambda: 0.01 * is_closed)
            first, second = Call(lambda watch: next_over.wait(LIMIT_S)), Call(lambda watch: 7)
            nursery.start_soon(runner.run, [first, second])
            await trio.testing.wait_all_tasks_blocked()
            over.set()
            while runner._workers > 1:
                await trio.lowlevel.checkpoint()
            is_closed = False
            await second.done.wait()
            assert not first.done.is_set()
            next_over.set()


async def test_no_more_calls_are_postponed_than_allowed(monkeypatch):
    monkeypatch.setattr(call_runner, "POSTPONED_MAX", 3)
    monkeypatch.setattr(call_gate, "LONG_LEAST_S", 10**6)
    runner, failures = CallRunner(), []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(LONG_MAX + 5):
                nursery.start_soon(attack, runner, failures)
            while len(failures) < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert failures == ["execution aborted: too many long calls wait; try again"] * 2


def test_calls_that_have_gone_leave_their_place_among_the_postponed(monkeypatch):
    monkeypatch.setattr(call_runner, "POSTPONED_MAX", 2)
    queues, calls = call_runner._Queues(), [Call(print, number) for number in range(3)]
    assert [queues.postpone(item) for item in calls[:2]] == [[], []]
    calls[0].is_gone = True
    assert queues.postpone(calls[2]) == [calls[0]], "it is to be ended: a connection waits for it"
    assert {queues.take_postponed() for _ in range(3)} == {calls[1], calls[2], None}


async def test_a_short_call_does_not_wait_for_a_long_one_in_its_thread():
    """Results come back together, but not after a call that goes on and on."""
    runner, short = CallRunner(), Call(lambda watch: 7)
    long = Call(never_ending)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run, [short, long])
            await short.done.wait()
            assert short.result == 7 and not long.done.is_set()
            nursery.cancel_scope.cancel()


def test_calls_wait_their_turn_by_what_their_clients_have_used():
    queues = call_runner._Queues()
    queues.add([Call(print, "greedy"), Call(print, "greedy"), Call(print, "modest")])
    queues.count("greedy", 1.0)
    assert [queues.take().client for _ in range(3)] == ["modest", "greedy", "greedy"]
    assert queues.take() is None


def test_new_connections_earn_nothing():
    """Else one that asks once on each of many connections would always be served first."""
    queues = call_runner._Queues()
    queues.count("greedy", 1.0)
    queues.add([Call(print, "greedy")])
    assert queues.take().client == "greedy"  # all others are level with it from here
    queues.count("old", 0.5)
    queues.add([*(Call(print, number) for number in range(3)), Call(print, "old")])
    assert [queues.take().client for _ in range(4)] == ["old", 2, 1, 0]


def test_who_has_most_postponed_calls_loses_one(monkeypatch):
    """128 calls on two connections kept everybody else's out."""
    monkeypatch.setattr(call_runner, "POSTPONED_MAX", 3)
    queues = call_runner._Queues()
    flood = [Call(print, "flood") for _ in range(3)]
    assert [queues.postpone(item) for item in flood] == [[]] * 3
    assert queues.postpone(Call(print, "honest")) == [flood[-1]]


class FakeTime:
    """A clock that its test moves."""

    def __init__(self):
        self.now_s = self.used_s = 0.0

    def monotonic(self):
        return self.now_s

    def thread_time(self):
        return self.used_s


def test_calls_have_a_share_while_the_chain_is_busy(monkeypatch):
    clock, is_busy = FakeTime(), True
    monkeypatch.setattr(call_gate, "time", clock)
    gate = call_gate.Gate(lambda: is_busy)
    watch = gate.begin(lambda: False)
    clock.used_s = clock.now_s = 0.1
    gate.finish(watch)
    assert not gate.is_open()
    clock.now_s += 0.9 * call_gate.BURST_S / call_gate.BUSY_SHARE
    assert not gate.is_open()
    clock.now_s += 0.2 * call_gate.BURST_S / call_gate.BUSY_SHARE
    assert gate.is_open()
    gate.begin(lambda: False)
    is_busy = False
    assert gate.is_open()


@pytest.mark.parametrize("engine", [Engine.COMPILED, Engine.INTERPRETED])
@pytest.mark.parametrize("price", [0, 300, 10**12])
def test_every_engine_asks_the_watch_in_a_loop(engine, price, monkeypatch):
    """Compiled, compiled in its course, and opcode by opcode: no loop runs unwatched."""
    cache = CodeCache(price, is_watched=True)
    monkeypatch.setattr(WatchedCompiledComputation, "cache", cache)

    class Ending:
        ticks = 0

        def tick(self):
            self.ticks += 1
            if self.ticks > 1_000:
                raise CallAborted("over")

    state = state_of(Program((bytes.fromhex("5b5f56"), b"", b""), (), b"", 0, 0))
    template = build_unsigned(SENDER, ADDRESSES[0])
    with pytest.raises(CallAborted):
        call(state, replace(CONTEXT, engine=engine), template, Ending())


def test_calls_and_blocks_share_no_compiled_code():
    assert WatchedCompiledComputation.cache is not CompiledComputation.cache
