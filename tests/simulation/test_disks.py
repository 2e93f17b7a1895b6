"""Disks in the core's simulation: states instead of blocks, damaged blocks, and what is lost."""

from dataclasses import replace
from random import Random

import pytest

from lowu.consensus.simulation import disks, edge
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.faults import Change, Crash, Cut, Rot
from lowu.consensus.simulation.node import Liar
from lowu.consensus.simulation.run_plan import (
    RunPlan,
    draw_plan,
    keeps_promise,
    plan_from_json,
    plan_to_json,
)
from lowu.consensus.simulation.world import World

LATE = 3
PLAN = RunPlan(
    seed=1,
    weights=(1,) * 4,
    members=(0, 1, 2, 3),
    submissions=tuple(range(0, 2_000, 50)),
    heal_ms=4_000,
    block_txs_max=1,
    snapshot_blocks=5,
    cuts=(
        Cut(0, 3_000, tuple(link for peer in range(3) for link in ((LATE, peer), (peer, LATE)))),
    ),
)
"""The last node hears nothing while the others commit forty blocks."""


def play(plan):
    world = World(plan)
    return world, world.run()


def test_a_node_far_behind_goes_on_from_a_state():
    world, result = play(PLAN)
    late = world.nodes[LATE]
    assert result.faults["load"] == 1 and late.base >= 20 and late.base % 5 == 0
    assert len({len(node.chain) for node in world.nodes}) == 1
    assert not disks.keeps(late, late.base) and disks.keeps(late, late.base + 1)
    _, without = play(replace(PLAN, snapshot_blocks=0))
    assert without.faults["load"] == 0


def test_a_state_that_one_node_offers_is_not_taken():
    """Of four, it could be the liar: two have to have it."""
    world, _ = play(PLAN)
    late, peers = world.nodes[LATE], world.nodes[:LATE]
    late.chain = late.chain[:1]
    for peer, states in zip(peers, ([10], [15], [20]), strict=True):
        peer.states = states
    assert disks.find_state(late, peers, 5) == (late, 0)
    peers[1].states = [10]
    assert disks.find_state(late, peers, 5) == (peers[0], 10)
    assert disks.find_state(late, peers, 10) == (late, 0), "nine blocks are not worth it"


def test_damaged_blocks_come_from_others():
    rots = tuple(Rot(1_500 + 100 * place, place % 3, place) for place in range(9))
    world, result = play(replace(PLAN, rots=rots))
    assert result.faults["rot"] == 9 and not any(node.damaged for node in world.nodes)


def test_a_damaged_block_is_neither_served_nor_mended_by_a_liar():
    world, _ = play(replace(PLAN, cuts=()))
    node, peer, other = world.nodes[:3]
    height = len(node.chain)
    for item in (node, peer):
        item.damaged.add(height)
    assert not disks.keeps(peer, height) and disks.mend(node, [peer]) == []
    other.liar = Liar(other, ("mishelp",), world.domain, bytes, Random(1))
    assert disks.mend(node, [peer, other]) == [] and node.damaged == {height}
    other.liar = None
    assert disks.mend(node, [peer, other]) == [height] and not node.damaged
    # A peer with a damaged block is not asked for it, and what it has is not lost with it.
    late = world.nodes[LATE]
    late.chain = late.chain[: height - 1]
    world.edge._fetch_blocks(late, [peer])
    assert len(late.chain) == height - 1
    late.chain = late.chain[: height - 2]
    world.checkers._chain._heights[LATE] = height - 2
    world.edge._fetch_blocks(late, [peer])
    assert len(late.chain) == height - 1, "the block below it, and no more"
    peer.damaged = {height - 1}
    world.checkers._chain._heights[LATE] = height - 1
    world.edge._fetch_blocks(late, [peer])
    assert len(late.chain) == height


def test_the_last_good_copy_of_a_block_is_not_damaged():
    world, _ = play(replace(PLAN, cuts=()))
    for node in world.nodes[1:]:
        node.damaged = set(range(1, len(node.chain) + 1))
    assert not disks.rot(world, Rot(0, 0, 3)) and not world.nodes[0].damaged
    world.nodes[1].damaged.discard(4)
    assert disks.rot(world, Rot(0, 0, 3)) and world.nodes[0].damaged == {4}


def test_the_last_good_copy_of_a_block_is_not_lost_with_its_disk():
    """Seed 2001120: three disks damaged, the fourth lost; no protocol brings that block back."""
    world, _ = play(replace(PLAN, cuts=()))
    first, second, third, fourth = world.nodes
    for node in (first, second, third):
        node.damaged = {4}
    assert [disks.has_last_copy(world, node) for node in world.nodes] == [False] * 3 + [True]
    second.damaged.clear()
    assert not any(disks.has_last_copy(world, node) for node in world.nodes)
    second.liar = Liar(second, ("mishelp",), world.domain, bytes, Random(1))
    assert disks.has_last_copy(world, fourth)


def test_what_a_lost_disk_is_left():
    world, _ = play(PLAN)
    late, node = world.nodes[LATE], world.nodes[0]
    blocks = len(node.chain)
    node.damaged = {1, blocks}
    node.wipe(world._members, blocks - 1)
    assert len(node.chain) == blocks - 1 and node.damaged == {1} and not node.records
    assert node.committed == {tx for block in node.chain for tx in block.tx_hashes}
    base = late.base
    late.damaged = {base + 1}
    late.wipe(world._members, base - 1)
    assert (late.chain, late.base, late.damaged) == ([], 0, set()), "a state is lost as a whole"


def test_a_load_leaves_no_damage_behind():
    world, _ = play(PLAN)
    late, peer = world.nodes[LATE], world.nodes[0]
    late.chain, late.base = late.chain[:2], 0
    world.checkers._chain._heights[LATE] = 2
    late.damaged = {1}
    world.edge._load(late, peer, 5)
    assert (late.base, late.damaged, len(late.chain)) == (5, set(), 5)


def test_control_a_damaged_block_that_is_not_mended(monkeypatch):
    monkeypatch.setattr(edge, "mend", lambda node, peers: [])
    with pytest.raises(Violation, match="P17"):
        play(replace(PLAN, rots=(Rot(1_500, 0, 0),)))


@pytest.mark.parametrize("kept", [0, 2, 1_000])
def test_a_node_that_lost_its_votes_abstains_whatever_is_left_of_its_blocks(kept):
    plan = replace(PLAN, cuts=(), crashes=(Crash(1_500, 0, 100, is_wiped=True, kept_blocks=kept),))
    world = World(plan)
    seen = []
    real = world.start

    def start(node):
        before = len(node.chain)
        real(node)
        if node.was_wiped:
            seen.append((before, node.replica.phase))

    world.start = start
    world.run()
    ((blocks, phase),) = seen
    assert phase == "abstaining"
    assert blocks == kept if kept < 1_000 else blocks > 10


def test_a_replay_file_of_before_is_read():
    plan = next(plan for seed in range(50) if not (plan := draw_plan(seed, 4)).rots and plan.cuts)
    plan = replace(plan, snapshot_blocks=0)
    value = plan_to_json(plan)
    del value["snapshot_blocks"], value["rots"]
    for crash in value["crashes"]:
        del crash["kept_blocks"]
    expected = replace(plan, crashes=tuple(replace(crash, kept_blocks=0) for crash in plan.crashes))
    assert plan_from_json({**value, "format": "lowu/plan/1"}) == expected


# --- a validator that lost its votes votes again (R-WIPE-1) -------------------------------------


def wiped(seed, crashes, **more):
    """Return a plan with slow execution, so that votes run ahead of blocks."""
    members = more.pop("members", (0, 1, 2, 3))
    count = more.pop("count", 4)
    return RunPlan(
        seed=seed,
        weights=(1,) * count,
        members=members,
        submissions=tuple(range(0, 12_000, 25)),
        heal_ms=30_000,
        window=8,
        block_txs_max=1,
        slow=tuple((node, 60) for node in range(count)),
        crashes=crashes,
        **more,
    )


def alone(seed):
    """One dies, another one is wiped: only what it is told keeps that from voting twice."""
    at = 9_000 + 7 * seed
    return wiped(seed, (Crash(at, 1, 12_000), Crash(at + 3, 0, 100, is_wiped=True)))


def test_a_wiped_validator_votes_on_nothing_that_it_may_have_voted_on():
    for seed in range(2):
        assert play(alone(seed))[1].faults["wipe"] == 1


@pytest.mark.parametrize("seed", range(2))
def test_control_heights_that_nobody_has_asked_for(monkeypatch, seed):
    """Without its question to the others, the checker finds votes on lost heights."""
    monkeypatch.setattr(edge, "is_witnessed", lambda validators, level, own: True)
    with pytest.raises(Violation, match="P05"):
        play(alone(seed))


def test_what_is_asked_of_the_others_is_the_worst_that_they_may_tell():
    """Liars have nothing, who abstains is no witness, and first answers stay until a crash."""
    world, _ = play(replace(PLAN, cuts=()))
    late, liar, wiped_too, peer = (world.nodes[place] for place in (LATE, 0, 1, 2))
    told = []
    world.answer = lambda node, delay, event: told.append(event)
    late.chain, late.replica._state.abstains = late.chain[:9], True
    late.heard.clear()
    liar.liar = Liar(liar, ("mishelp",), world.domain, bytes, Random(1))
    wiped_too.replica._state.abstains = True
    height = len(peer.chain)
    world.edge._tell_caught_up(late)
    assert late.heard == {liar.node_id: 0, peer.node_id: height} and not told
    peer.chain = peer.chain[:5]
    world.edge._tell_caught_up(late)
    assert late.heard[peer.node_id] == height
    late.crash()
    assert late.heard == {}


def test_a_damaged_block_that_states_have_replaced_elsewhere_stays_damaged():
    """Seed 3002666: the others went on from states, so that nobody has it any more."""
    world, _ = play(replace(PLAN, cuts=()))
    first, *others = world.nodes
    first.damaged = {1}
    assert disks.waits_for_blocks(world, first)
    for node in others:
        node.base = 5
    assert not disks.waits_for_blocks(world, first)


def test_a_disk_with_a_last_copy_is_not_wiped():
    rots = tuple(Rot(1_500 + 100 * node, node, 0) for node in (0, 1, 2))
    cut = Cut(1_300, 1_900, tuple((one, two) for one in range(4) for two in range(4) if one != two))
    plan = replace(PLAN, cuts=(cut,), rots=rots, crashes=(Crash(1_800, 3, 100, is_wiped=True),))
    world, result = play(plan)
    assert result.faults["crash"] == 1 and result.faults["wipe"] == 0
    assert not any(node.damaged for node in world.nodes)


def test_members_of_a_former_group_that_lag_are_no_witnesses():
    """The group changes, two of its former members stay below the barrier, and tell that."""

    def both(ones, others):
        ways = [(one, other) for one in ones for other in others]
        return (*ways, *((other, one) for one, other in ways))

    new, at, late = (1, 4, 5, 6), 9_011, 1_020
    cuts = (
        Cut(1, at, both((3,), (0,))),
        Cut(1, 30_000, both((3,), new)),
        Cut(late, at, both((2,), (0,))),
        Cut(late, 30_000, both((2,), new)),
        Cut(at, at + 4_500, both((0,), new)),
    )
    crashes = (Crash(at, 4, 20_000), Crash(at + 3, 0, 50, is_wiped=True))
    change = Change(800, (0, 4, 5, 6))
    plan = wiped(2, crashes, count=7, cuts=cuts, changes=(change,))
    assert keeps_promise(plan)
    world, result = play(plan)
    assert result.faults["wipe"] == 1 and len(world.nodes[0].chain) > 100


def test_plans_with_a_replaced_group_are_drawn_and_keep_the_promise():
    drawn = [draw_plan(seed, 4) for seed in range(600)]
    replaced = [plan for plan in drawn if plan.changes and len(plan.changes[0].members) == 4]
    replaced = [plan for plan in replaced if len(set(plan.changes[0].members) & {0, 1, 2, 3}) == 1]
    assert replaced and all(keeps_promise(plan) for plan in replaced)
    assert all(plan_from_json(plan_to_json(plan)) == plan for plan in replaced)
