"""A researcher: the same run twice, a bug put into a plan, and a consortium under faults.

Run it with ``pytest test_research.py``. Everything here runs in virtual time, so that a minute
without a quorum takes a moment, and a seed gives the same run on every machine.
"""

import trio

from lowu import (
    SAMPLES,
    Jurisdiction,
    PlanFinding,
    RunResult,
    Verdict,
    VirtualNetwork,
    draw_plan,
    run_plan,
    shrink,
)


def test_a_seed_decides_a_run():
    """Crashes, partitions, loss, liars: drawn from the seed, checked at every step."""
    plan = draw_plan(seed=7, nodes=4)
    first, second = run_plan(plan, is_traced=True), run_plan(plan, is_traced=True)
    assert isinstance(first, RunResult)
    assert first == second
    assert first.trace_hash
    assert first.heights > 0


def test_a_plan_that_breaks_a_property_is_made_small():
    """Here the property is one of our own: no run may have two crashes."""

    def run(plan):
        text = "P99 two crashes" if len(plan.crashes) > 1 else ""
        return PlanFinding(plan, text) if text else run_plan(plan)

    plan = next(
        plan for plan in (draw_plan(seed, 7) for seed in range(1_000)) if len(plan.crashes) > 3
    )
    small = shrink(run(plan), run)
    assert len(small.plan.crashes) == 2
    assert not small.plan.cuts


def measure(network, seed):
    """Return how many virtual seconds a registration takes while the boundary is cut for 30."""

    async def play(actors, faults):
        started = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def issue():
                document = SAMPLES["cn.ecr/1"](1, actors.now_s())
                issued = await actors.issue("szcredit", document, "acme-sz", "nova")
                taken.append(trio.current_time() - started)
                report = await actors.hand_over("acme-sz", issued, document, "nova")
                assert report.verdict is Verdict.ACCEPT

            taken = []
            async with faults.cut(Jurisdiction.SZ, Jurisdiction.HK):
                nursery.start_soon(issue)
                await trio.sleep(30)
        return taken[0]

    return VirtualNetwork(network, seed).play(play)


def test_the_same_experiment_gives_the_same_number():
    first = measure("seed-7", 1)
    assert first > 30  # neither side has a quorum of its own
    assert measure("seed-7", 1) == first
