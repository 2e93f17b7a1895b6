"""Whole networks in virtual time: seeds, determinism, and controls that must fail."""

import os
import subprocess
import sys

import pytest

from consensus.errors import InvariantViolation
from consensus.messages import Prepare, PrePrepare, ViewChange
from consensus.records import ViewRecord
from consensus.simulation.checkers import ChainChecker, Violation, VoteChecker
from consensus.simulation.explore import Finding, campaign, run_seed
from consensus.simulation.faults import FaultOptions
from consensus.simulation.node import SimNode
from consensus.simulation.world import World
from consensus.types import ZERO_HASH, hash_bytes
from tests.unit import consensus_kit as kit

SEEDS_A_CHUNK = 20


@pytest.mark.parametrize("chunk", range(10))
def test_seeds(chunk):
    """200 seeds over 4 and 7 nodes: no violation, everything committed after healing."""
    seeds = range(chunk * SEEDS_A_CHUNK, (chunk + 1) * SEEDS_A_CHUNK)
    totals = None
    for totals in campaign(seeds, (4, 7)):
        pass
    assert [f"{f.text}\nrepeat: {f.command}" for f in totals.findings] == []
    assert totals.blocks > totals.seeds


@pytest.mark.parametrize("nodes", [1, 2, 3, 5, 6, 10, 13])
def test_other_sizes(nodes):
    for seed in range(5):
        found = run_seed(seed, nodes)
        assert not isinstance(found, Finding), found


def test_a_seed_found_a_vote_of_a_view_already_left():
    """Regression: STATUS was answered with votes of an older view (P07)."""
    assert not isinstance(run_seed(5349, 7), Finding)


def test_the_same_seed_gives_the_same_trace_under_another_hash_seed():
    code = (
        "from consensus.simulation.explore import run_seed;"
        "print([run_seed(seed, 4).trace_hash for seed in range(4)])"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    ]
    assert hashes[0] == hashes[1] == hashes[2]
    assert run_seed(0, 4).trace_hash in hashes[0]
    assert run_seed(0, 4).trace_hash != run_seed(1, 4).trace_hash


def first_violation(make, seeds=60):
    for seed in range(seeds):
        try:
            make(seed).run()
        except (Violation, InvariantViolation) as violation:
            return str(violation)
    return None


def test_control_a_quorum_that_is_too_small_forks():
    """If two quorums need not share an honest validator, the checkers must see it."""
    faults = FaultOptions(delay_ms_max=200, partition_rate=0.8, perturb_every_ms=200)

    def make(seed):
        world = World(seed, 4, faults)
        object.__setattr__(world.validators, "quorum", 2)
        return world

    assert first_violation(make).startswith("P01")


def test_control_votes_that_are_not_durable_are_seen(monkeypatch):
    monkeypatch.setattr(SimNode, "persist", lambda self, effect: None)
    assert first_violation(lambda seed: World(seed, 4), 1).startswith("P14")


def test_control_a_network_that_cannot_recover_is_seen(monkeypatch):
    monkeypatch.setattr("consensus.simulation.world.LIVENESS_MS", 3_000)
    monkeypatch.setattr(World, "_execute", lambda self, node, effect: None)
    assert first_violation(lambda seed: World(seed, 4), 1).startswith("P17")


# --- each checker sees a violating history --------------------------------------------------


def chain_checker():
    return ChainChecker(kit.VERIFIER)


def test_p01_two_blocks_at_one_height():
    checker, item = chain_checker(), kit.proposal()
    checker.on_commit(0, kit.committed(item), item)
    with pytest.raises(Violation, match="P01"):
        checker.on_commit(1, kit.committed(item, hash_bytes(b"other")), item)


def test_p02_a_gap_and_a_wrong_parent():
    one = kit.proposal()
    with pytest.raises(Violation, match="P02"):
        chain_checker().on_commit(0, kit.committed(kit.proposal(2)), kit.proposal(2))
    checker = chain_checker()
    checker.on_commit(0, kit.committed(one), one)
    stray = kit.proposal(2, hash_bytes(b"elsewhere"))
    with pytest.raises(Violation, match="P02"):
        checker.on_commit(0, kit.committed(stray), stray)


def test_p04_a_certificate_short_of_a_quorum():
    item = kit.proposal()
    with pytest.raises(Violation, match="P04"):
        chain_checker().on_commit(0, kit.committed(item, signers=(0, 1)), item)


def test_p13_a_block_lost_in_a_restart():
    checker, item = chain_checker(), kit.proposal()
    checker.on_commit(0, kit.committed(item), item)
    with pytest.raises(Violation, match="P13"):
        checker.on_restart(0, 0)


def test_p05_p07_p14_votes():
    digest = hash_bytes(b"d")
    with pytest.raises(Violation, match="P14"):
        VoteChecker().on_send(0, Prepare(0, 1, digest, 0), ZERO_HASH, {})
    checker = VoteChecker()
    durable = {}
    node = SimNode(0)
    world = World(1, 4)
    world.start(0)
    safety = world.nodes[0].replica._state.safety
    message, record = safety.sign_prepare(1, digest)
    from consensus.effects import Persist

    node.persist(Persist((record,)))
    checker.on_send(0, message, ZERO_HASH, node.records)
    with pytest.raises(Violation, match="P05"):
        checker.on_send(0, Prepare(0, 1, hash_bytes(b"e"), 0), ZERO_HASH, node.records)
    durable[b"view"] = ViewRecord(0, 3)
    checker.on_send(0, ViewChange(3, kit.GENESIS, (), 0), ZERO_HASH, durable)
    with pytest.raises(Violation, match="P07"):
        checker.on_send(0, PrePrepare(1, kit.proposal(), (), 0), digest, durable)
