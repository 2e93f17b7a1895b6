"""What liars do together: forged certificates, second versions, withheld transactions."""

from collections import Counter

import pytest

from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Checkpoint, ViewChange
from lowu.consensus.simulation.faults import Rates
from lowu.consensus.simulation.liars.forgery import forge_commit, forge_view_change
from lowu.consensus.simulation.run_plan import RunPlan, keeps_promise
from lowu.consensus.simulation.world import World

SEEDS = range(12)


def plan_with(*behaviours, seed=0, **options):
    """A plan for seven nodes, of which 2 and 5 lie in the same way."""
    liars = ((2, behaviours), (5, behaviours))
    return RunPlan(
        seed,
        (1,) * 7,
        tuple(range(7)),
        tuple(range(0, 3_000, 100)),
        3_000,
        Rates(delay_ms_max=20),
        byzantine=liars,
        **options,
    )


def started(*behaviours, seed=0):
    world = World(plan_with(*behaviours, seed=seed))
    for node in world.nodes:
        world.start(node)
    world._schedule()
    world.run_until(1_000)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_no_forged_certificate_is_valid(seed):
    """A verifier refuses whatever certificate two liars of seven sign together."""
    world = started("forge", seed=seed)
    liar, honest = world.nodes[2].liar, world.nodes[0]
    verifier, stable = world.verifier_of(honest), honest.replica.stable
    sizes = Counter()
    for _ in range(60):
        change = forge_view_change(liar, ViewChange(3, stable, (), liar.index))
        with pytest.raises(InvalidMessage):
            verifier.verify_message(change)
        forged = forge_commit(liar, stable)
        sizes[len({index for index, _ in forged.signatures})] += 1
        with pytest.raises(InvalidMessage):
            verifier.verify_commit(forged)
    assert {1, 2, 7} <= set(sizes)  # one signer repeated, the liars alone, all validators


def test_liars_sign_for_each_other():
    world = started("forge")
    first, second = world.nodes[2].liar, world.nodes[5].liar
    assert first.accomplices == second.accomplices == [first, second]
    vote = second.signed(Checkpoint(9, b"d" * 32, b"b" * 32, second.index))
    assert world.verifier_of(world.nodes[0]).verify_message(vote).message == vote


def test_liars_tell_the_same_second_version():
    """Liars share the doubles: an accomplice votes for the version that a victim was told."""
    world = started("equivocate")
    first, second = world.nodes[2].liar, world.nodes[5].liar
    assert first.doubles is second.doubles and first.doubles


def test_withheld_transactions_are_fetched_or_dropped():
    """A transaction shown to some nodes only is committed on all correct nodes, or on none."""
    committed = Counter()
    for seed in SEEDS:
        world = World(plan_with("withhold", seed=seed))
        world.run()
        made = set(world.clients.private)
        assert made
        kept = {frozenset(made & node.committed) for node in world.nodes if node.is_correct}
        assert len(kept) == 1
        committed["kept"] += len(kept.pop())
        committed["made"] += len(made)
    assert 0 < committed["kept"] < committed["made"]


def test_two_liars_of_seven_are_within_the_promise():
    assert keeps_promise(plan_with("forge"))
    assert not keeps_promise(plan_with("forge", twins=(0,)))
