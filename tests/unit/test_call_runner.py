"""Calls beside the event loop: shared hops, long calls, failures, clients that go."""

import threading

import pytest
import trio
import trio.testing

from node.rpc.call_runner import WORKERS_MAX, Call, CallRunner

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
        results[number] = await run(runner, lambda: number * number)

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
            nursery.start_soon(run, runner, lambda: over.wait(LIMIT_S))
            await trio.testing.wait_all_tasks_blocked()
            assert await run(runner, lambda: 7) == 7
            over.set()


async def test_long_calls_take_no_more_threads_than_allowed():
    runner, over, running = CallRunner(), threading.Event(), threading.Semaphore(WORKERS_MAX)
    too_many = []

    def work():
        if not running.acquire(blocking=False):
            too_many.append(1)
        over.wait(LIMIT_S)
        running.release()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS_MAX + 3):
                nursery.start_soon(run, runner, work)
            with trio.move_on_after(0.2):
                await run(runner, lambda: None)
            over.set()
    assert not too_many


async def test_a_failure_is_that_of_its_call():
    runner = CallRunner()

    def fail():
        raise ValueError("of this call")

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(run, runner, lambda: 1)
        with pytest.raises(ValueError, match="of this call"):
            await run(runner, fail)
        assert await run(runner, lambda: 2) == 2


async def test_a_call_whose_client_has_gone_is_not_begun():
    runner, over, ran = CallRunner(), threading.Event(), []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS_MAX):
                nursery.start_soon(run, runner, lambda: over.wait(LIMIT_S))
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.1) as scope:
                await run(runner, lambda: ran.append(1))
            assert scope.cancelled_caught
            over.set()
        assert await run(runner, lambda: 3) == 3
    assert not ran
