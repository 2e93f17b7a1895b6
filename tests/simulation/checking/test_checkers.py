"""Each checker is shown a history that breaks its property, and must report it."""

from dataclasses import replace

import pytest

from lowu.consensus import effects as fx
from lowu.consensus.epochs import Epoch, Epochs
from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import Checkpoint, Commit, Evidence, Prepare, PrePrepare, Status
from lowu.consensus.records import (
    EvidenceRecord,
    NewViewRecord,
    ViewRecord,
    VoteKind,
    VoteRecord,
    record_key,
)
from lowu.consensus.simulation.checking import checkers
from lowu.consensus.simulation.checking.checkers import (
    AuthorChecker,
    ChainChecker,
    EvidenceChecker,
    StepChecker,
)
from lowu.consensus.simulation.checking.violation import Violation
from lowu.consensus.simulation.checking.vote_checker import VoteChecker
from lowu.consensus.simulation.node import SimBlock, SimNode, compute_block_hash, compute_tx_root
from lowu.consensus.simulation.run_plan import RunPlan
from lowu.consensus.simulation.world import World
from lowu.consensus.types import ZERO_HASH, hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet
from tests.unit import consensus_kit as kit

TX = hash_bytes(b"tx")
KNOWN = {TX: None, hash_bytes(b"tx2"): None}


def block(height=1, previous=ZERO_HASH, parent=None, txs=(TX,), time_ms=5, **options):
    proposal = kit.proposal(height, previous, time_ms=time_ms)
    proposal = replace(proposal, tx_root=compute_tx_root(txs))
    digest = kit.digest_of(proposal)
    parent = kit.GENESIS.block_hash if parent is None else parent
    certificate = kit.committed(proposal, compute_block_hash(parent, digest), **options)
    return SimBlock(certificate, proposal, txs)


def chain_checker():
    return ChainChecker(replace(kit.VERIFIER, epochs=Epochs(kit.VALIDATORS)), KNOWN)


FIRST = block()


def second(**options):
    above = {"time_ms": 6, "txs": (hash_bytes(b"tx2"),), **options}
    return block(2, FIRST.certificate.digest, FIRST.certificate.block_hash, **above)


def test_a_good_chain_passes():
    checker = chain_checker()
    for node in (0, 1):
        checker.on_commit(node, FIRST)
        checker.on_commit(node, second())
    checker.on_restart(0, 2)


@pytest.mark.parametrize(
    ("expected", "history"),
    [
        ("P01 two blocks", [(0, FIRST), (1, block(time_ms=7))]),
        ("P01 two contents", [(0, FIRST), (1, replace(FIRST, tx_hashes=()))]),
        ("P02 node 0 committed 2 out of order", [(0, second())]),
        ("P02 height 2 does not extend", [(0, FIRST), (0, block(2, b"z" * 32, time_ms=6))]),
        ("P03 time does not grow", [(0, FIRST), (0, second(time_ms=5))]),
        ("P03 height 1 holds other", [(0, replace(FIRST, tx_hashes=()))]),
        ("P03 height 1 holds a transaction that nobody", [(0, block(txs=(b"u" * 32,)))]),
        ("P04 node 0 height 1", [(0, block(signers=(0, 1)))]),
        ("P10 height 2 repeats", [(0, FIRST), (0, second(txs=(TX,)))]),
        ("P11 height 1 has another result", [(0, block(parent=b"p" * 32))]),
    ],
)
def test_chains_that_break_a_property(expected, history):
    checker = chain_checker()
    with pytest.raises(Violation, match=expected):
        for node, item in history:
            checker.on_commit(node, item)


def test_p04_a_forged_signature():
    pairs = tuple((index, b"forged") for index in (0, 1, 2))
    forged = replace(FIRST, certificate=replace(FIRST.certificate, signatures=pairs))
    with pytest.raises(Violation, match="P04"):
        chain_checker().on_commit(0, forged)


def test_p13_a_block_lost_in_a_restart():
    checker = chain_checker()
    checker.on_commit(0, FIRST)
    with pytest.raises(Violation, match="P13"):
        checker.on_restart(0, 0)
    checker.on_wipe(0)
    checker.on_restart(0, 0)


# --- votes ----------------------------------------------------------------------------------


class Sender:
    """A simulated node with a replica, and a checker that has seen the proposal it votes for."""

    def __init__(self, offered=True):
        self.node = SimNode(0, kit.node_id(0), Epochs(kit.VALIDATORS))
        self.node.replica = kit.replica(0)
        self.checker = VoteChecker(kit.DOMAIN)
        self.item = kit.proposal()
        self.other = kit.proposal(text=b"other")
        if offered:
            for view in (0, 1):
                for item in (self.item, self.other):
                    offer = replace(item, proposer=kit.VALIDATORS.leader(1, view))
                    message = PrePrepare(view, offer, (), offer.proposer)
                    self.checker.on_any(kit.EPOCH, message, kit.digest_of(item))

    def store(self, kind, item, view=0, block_hash=ZERO_HASH):
        view = 0 if kind is VoteKind.CHECKPOINT else view
        record = VoteRecord(1, kind, item.height, view, kit.digest_of(item), block_hash)
        self.node.records[record_key(record)] = record

    def send(self, message, digest=ZERO_HASH):
        self.checker.on_any(kit.EPOCH, message, digest)
        self.checker.on_send(self.node, message, digest)


def test_good_votes_pass():
    sender = Sender()
    for kind, record in ((Prepare, VoteKind.PREPARE), (Commit, VoteKind.COMMIT)):
        sender.store(record, sender.item)
        sender.send(kit.vote(kind, sender.item, 0))
        sender.send(kit.vote(kind, sender.item, 0))


def test_p03_a_vote_for_what_nobody_offered():
    sender = Sender(offered=False)
    sender.store(VoteKind.PREPARE, sender.item)
    with pytest.raises(Violation, match="P03 node 0 prepares 1 in 0: never offered"):
        sender.send(kit.vote(Prepare, sender.item, 0))


def test_p03_a_vote_above_a_barrier_in_flight():
    sender = Sender()
    barrier = replace(kit.proposal(), is_barrier=True)
    above = kit.proposal(2, kit.digest_of(barrier), b"b", 2, 6)
    for item in (barrier, above):
        message = PrePrepare(0, item, (), item.proposer)
        sender.checker.on_any(kit.EPOCH, message, kit.digest_of(item))
    sender.store(VoteKind.PREPARE, above)
    with pytest.raises(Violation, match=r"P03 .* above a barrier"):
        sender.send(kit.vote(Prepare, above, 0))


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        (Prepare, VoteKind.PREPARE),
        (Commit, VoteKind.COMMIT),
        (Checkpoint, VoteKind.CHECKPOINT),
        (PrePrepare, VoteKind.PRE_PREPARE),
    ],
)
def test_p05_two_votes_and_p14_votes_ahead_of_the_disk(kind, record):
    def message(item):
        if kind is PrePrepare:
            return kit.offer(item), kit.digest_of(item)
        if kind is Checkpoint:
            return kit.checkpoint(item, 0, b"r" * 32), ZERO_HASH
        return kit.vote(kind, item, 0), ZERO_HASH

    block_hash = b"r" * 32 if kind is Checkpoint else ZERO_HASH
    sender = Sender()
    with pytest.raises(Violation, match="P14 node 0 sent"):
        sender.send(*message(sender.item))
    sender = Sender()
    sender.store(record, sender.item, 0, block_hash)
    sender.send(*message(sender.item))
    sender.store(record, sender.other, 0, block_hash)
    with pytest.raises(Violation, match="P05 node 0 signed two"):
        sender.send(*message(sender.other))


def make_nodes():
    nodes = []
    for index in range(4):
        node = SimNode(index, kit.node_id(index), Epochs(kit.VALIDATORS))
        node.replica = kit.replica(index)
        nodes.append(node)
    return nodes


def send_commit(checker, node, item, view):
    record = VoteRecord(1, VoteKind.COMMIT, 1, view, kit.digest_of(item), ZERO_HASH)
    node.records[record_key(record)] = record
    vote = kit.vote(Commit, item, node.instance, view)
    checker.on_any(kit.EPOCH, vote, ZERO_HASH)
    checker.on_send(node, vote, ZERO_HASH)


def test_p06_prepared_anew_after_it_was_ordered():
    checker, nodes = VoteChecker(kit.DOMAIN), make_nodes()
    item, other = kit.proposal(), kit.proposal(text=b"other")
    for node in nodes[:2]:
        send_commit(checker, node, item, 0)
    checker.on_any(kit.EPOCH, kit.vote(Commit, item, 2, 0), ZERO_HASH)  # a liar's counts as well
    with pytest.raises(Violation, match="P06 height 1: prepared anew in view 1"):
        send_commit(checker, nodes[3], other, 1)


def test_p03_what_a_new_view_on_disk_proposes_again_is_offered():
    """The leader may crash before it sends its NEW-VIEW, and vote after a restart (seed 568)."""
    checker, (node, *_) = VoteChecker(kit.DOMAIN), make_nodes()
    changes = tuple(
        kit.view_change(i, 1, certificates=[kit.prepared(kit.proposal())]) for i in range(3)
    )
    vote = kit.vote(Prepare, kit.proposal(), 0, 1)
    record = VoteRecord(1, VoteKind.PREPARE, 1, 1, vote.digest, ZERO_HASH)
    node.records[record_key(record)] = record
    with pytest.raises(Violation, match="P03 node 0 prepares 1 in 1: never offered"):
        checker.on_send(node, vote, ZERO_HASH)
    checker.on_persist(kit.EPOCH, NewViewRecord(1, kit.new_view(1, changes)), 0)
    checker.on_send(node, vote, ZERO_HASH)


def test_p06_two_prepared_in_one_view():
    checker, nodes = VoteChecker(kit.DOMAIN), make_nodes()
    send_commit(checker, nodes[0], kit.proposal(), 0)
    with pytest.raises(Violation, match="P06 height 1: two prepared in view 0"):
        send_commit(checker, nodes[1], kit.proposal(text=b"other"), 0)


def test_p06_executed_without_a_quorum_in_one_view():
    checker, nodes = VoteChecker(kit.DOMAIN), make_nodes()
    item = kit.proposal()
    effect = fx.ExecuteProposal(item, kit.digest_of(item))
    for index, view in ((0, 0), (1, 0), (2, 1)):
        checker.on_any(kit.EPOCH, kit.vote(Commit, item, index, view), ZERO_HASH)
    with pytest.raises(Violation, match="P06 node 0 executes 1, which no quorum committed"):
        checker.on_execute(nodes[0], nodes[0].replica, effect)
    checker.on_any(kit.EPOCH, kit.vote(Commit, item, 3, 0), ZERO_HASH)
    checker.on_execute(nodes[0], nodes[0].replica, effect)


def test_p06_a_view_change_without_what_was_committed():
    checker, (node, *_) = VoteChecker(kit.DOMAIN), make_nodes()
    send_commit(checker, node, kit.proposal(), 0)
    node.records[b"view"] = ViewRecord(1, 0, 1)
    with pytest.raises(Violation, match="P06 node 0 asks for view 1 without the certificate"):
        checker.on_send(node, kit.view_change(0, 1), ZERO_HASH)
    certified = kit.view_change(0, 1, certificates=[kit.prepared(kit.proposal())])
    checker.on_send(node, certified, ZERO_HASH)


@pytest.mark.parametrize(
    "message",
    [
        kit.view_change(1, 1, replace(kit.GENESIS, digest=b"x" * 32)),
        kit.view_change(1, 1, kit.committed(kit.proposal(), signers=(0, 1))),
        kit.view_change(1, 1, certificates=[kit.prepared(kit.proposal(), signers=(1, 1, 1))]),
        kit.new_view(1, [kit.view_change(i, 1) for i in (0, 1)]),
        kit.new_view(1, [kit.view_change(0, 1)] * 3),
        kit.new_view(1, sender=0),
    ],
)
def test_p04_p12_messages_that_should_not_have_been_taken(message):
    with pytest.raises(Violation, match=r"P04|P12"):
        checkers.check_accepted(message, Epochs(kit.VALIDATORS), kit.GENESIS)
    checkers.check_accepted(kit.new_view(1), Epochs(kit.VALIDATORS), kit.GENESIS)


def test_what_a_view_change_carries_is_counted_among_those_who_signed_it():
    """Seed 79923 of 7 nodes: a height was prepared before a change that raised the quorum."""
    epochs = Epochs(kit.VALIDATORS)
    epochs.on_commit(1, ValidatorSet(tuple(Validator(kit.node_id(i)) for i in range(7))))
    above = kit.prepared(kit.proposal(2, kit.digest_of(kit.proposal())))
    checkers.check_accepted(kit.view_change(0, 1, certificates=[above]), epochs, kit.GENESIS)
    few = replace(above, signatures=above.signatures[:2])
    with pytest.raises(Violation, match="P04 believed"):
        message = kit.view_change(0, 1, certificates=[few])
        checkers.check_accepted(message, epochs, kit.GENESIS)


def test_p12_an_honest_message_that_is_refused_or_changed(monkeypatch):
    from lowu.consensus.simulation.checking import reception

    message = kit.new_view(1)
    reception.accept_honest(kit.VERIFIER, kit.node_id(2), message)
    with pytest.raises(Violation, match="P12 an honest NewView is refused"):
        reception.accept_honest(kit.VERIFIER, kit.node_id(2), kit.new_view(1, sender=1))
    monkeypatch.setattr(reception, "decode_message", lambda data: kit.new_view(2))
    with pytest.raises(Violation, match="changes on the wire"):
        reception.accept_honest(kit.VERIFIER, kit.node_id(2), message)


def test_p18_a_lone_replica_that_runs_away():
    checker, (node, *_) = VoteChecker(kit.DOMAIN), make_nodes()
    node.records[b"view"] = ViewRecord(1, 0, 9)
    checker.on_send(node, kit.view_change(0, 1), ZERO_HASH)
    with pytest.raises(Violation, match="P18 node 0 ran from view 1 to 2 alone"):
        checker.on_send(node, kit.view_change(0, 2), ZERO_HASH)


def test_p07_p14_p18_leaving_views():
    sender = Sender()
    with pytest.raises(Violation, match="P14 node 0 sent VIEW-CHANGE"):
        sender.send(kit.view_change(0, 1))
    sender.node.records[b"view"] = ViewRecord(1, 0, 2)
    sender.send(kit.view_change(0, 2))
    sender.store(VoteKind.PREPARE, sender.item, 1)
    with pytest.raises(Violation, match="P07 node 0 voted in view 1 after leaving it"):
        sender.send(kit.vote(Prepare, sender.item, 0, 1))
    sender.node.records[b"view"] = ViewRecord(1, 0, 10**9)
    with pytest.raises(Violation, match="P18 node 0 ran from view 2"):
        sender.send(kit.view_change(0, 10**9))


# --- steps, authors, evidence, rest -----------------------------------------------------------


def step_checker():
    node = SimNode(0, kit.node_id(0), Epochs(kit.VALIDATORS))
    node.replica = kit.replica(0)
    return StepChecker(8), node


def test_p08_p13_progress():
    checker, node = step_checker()
    node.replica._state.safety.view = 3
    checker.on_step(node, (), 0)
    node.replica._state.safety.view = 2
    with pytest.raises(Violation, match="P08 node 0 went back"):
        checker.on_step(node, (), 0)
    checker.on_restart(0)
    node.replica._state.stable = kit.committed(kit.proposal())
    with pytest.raises(Violation, match="P13 node 0 is stable at what is not durable"):
        checker.on_step(node, (), 0)


@pytest.mark.parametrize(
    ("expected", "effects"),
    [
        ("P17 node 0 waits", [fx.StartTimer(TimerId.VIEW, 15_001, 1)]),
        ("P22 node 0 verifies", [fx.VerifyProposal(kit.proposal(), b"d", None, False, ())] * 2),
        ("P02 node 0 commits 2", [fx.CommitBlock(kit.committed(kit.proposal(2)))]),
    ],
)
def test_effects_that_break_a_property(expected, effects):
    checker, node = step_checker()
    with pytest.raises(Violation, match=expected):
        for effect in effects:
            checker.on_step(node, (effect,), 0)


def test_p22_answers_without_end():
    checker, node = step_checker()
    answer = (fx.Send(1, kit.new_view(1)),)
    for _ in range(checkers.ANSWERS_MAX):
        checker.on_step(node, answer, 100)
    checker.on_step(node, answer, 1_200)
    with pytest.raises(Violation, match="P22 node 0 answers 1"):
        for _ in range(checkers.ANSWERS_MAX):
            checker.on_step(node, answer, 1_300)


def test_p09_p23_bounds():
    checker, node = step_checker()
    checker.check_bounds(node)
    node.replica._state.answered.update(range(10_000))
    with pytest.raises(Violation, match="P23"):
        checker.check_bounds(node)
    checker, node = step_checker()
    node.replica._state.log.slots[99] = object()
    with pytest.raises(Violation, match="P09 node 0 holds heights"):
        checker.check_bounds(node)


def test_p12_words_in_an_honest_mouth():
    checker = AuthorChecker(kit.DOMAIN)
    epochs, honest = Epochs(kit.VALIDATORS), frozenset({kit.node_id(1), kit.node_id(2)})
    said, other = kit.vote(Prepare, kit.proposal(), 1), kit.vote(Commit, kit.proposal(), 1)
    checker.on_send(kit.node_id(1), said)
    checker.on_accept(said, epochs, honest)
    with pytest.raises(Violation, match="P12 Commit of validator 1"):
        checker.on_accept(other, epochs, honest)
    with pytest.raises(Violation, match="P12 Prepare taken from another's link"):
        checker.on_link(kit.node_id(2), said, epochs)
    for nested in (kit.new_view(1), kit.view_change(3, 1, kit.committed(kit.proposal()))):
        with pytest.raises(Violation, match="P12"):
            checker.on_accept(nested, epochs, honest)


def test_p12_a_refused_message_that_changed_something():
    world = quiet_world()
    (node, *_) = world.nodes
    with pytest.raises(Violation, match="P12 node 0 was changed"):
        world.checkers.on_refused(node, (1, 2, 3))


def evidence(accused=1):
    return Evidence(
        accused,
        kit.vote(Prepare, kit.proposal(), accused),
        kit.vote(Prepare, kit.proposal(text=b"other"), accused),
    )


def test_p24_evidence():
    checker, (_, node) = EvidenceChecker(), step_checker()
    good = evidence()
    record = EvidenceRecord(1, good)
    with pytest.raises(Violation, match="P24 node 0 does not store"):
        checker.on_report(node, kit.VERIFIER, good, frozenset())
    node.records[record_key(record)] = record
    checker.on_report(node, kit.VERIFIER, good, frozenset())
    with pytest.raises(Violation, match="P24 node 0 accuses honest 1"):
        checker.on_report(node, kit.VERIFIER, good, frozenset({kit.node_id(1)}))
    with pytest.raises(Violation, match="without two messages"):
        checker.on_report(node, kit.VERIFIER, replace(good, second=good.first), frozenset())
    forged = replace(good, second=replace(good.second, signature=b"forged"))
    with pytest.raises(Violation, match="evidence fails"):
        checker.on_report(node, kit.VERIFIER, forged, frozenset())


def quiet_world(**options):
    plan = RunPlan(0, (1,) * 4, (0, 1, 2, 3), (0, 50), 100, **options)
    world = World(plan)
    for node in world.nodes:
        world.start(node)
    return world


def test_p17_and_p19_at_the_end():
    world = quiet_world()
    world.run_until(50)
    with pytest.raises(Violation, match="P17 not settled"):
        world.checkers.raise_unsettled(1)
    world.now_ms = 90_000
    world.checkers.check_progress(healed_ms=60_000)
    with pytest.raises(Violation, match="P17 no block for 30000 ms after healing"):
        world.checkers.check_progress(healed_ms=59_999)
    world.nodes[2].replica._state.executing = b"never answered"
    with pytest.raises(Violation, match="P19 node 2 waits"):
        world.checkers.on_rest()


def test_p20_after_everything_is_answered():
    world = quiet_world()
    world.run()
    world.checkers.check_quiet()
    world.checkers.on_send(world.nodes[1], Status(0, 1, 1), ZERO_HASH)
    with pytest.raises(Violation, match="P20 node 1 still sends Status"):
        world.checkers.check_quiet()


# --- faults of the world itself, which the checkers must see ------------------------------------


def first_violation(change, monkeypatch, seeds=60):
    from lowu.consensus.simulation.explore import PlanFinding, run_seed

    change(monkeypatch)
    for seed in range(1, seeds):
        found = run_seed(seed, 4)
        if isinstance(found, PlanFinding):
            return found.property_id
    return None


@pytest.mark.parametrize(
    ("expected", "where", "what"),
    [
        ("P14", "lowu.consensus.simulation.node.SimNode.persist", lambda self, effect: None),
        ("P17", "lowu.consensus.simulation.edge.Edge.build", lambda self, node, effect: None),
        ("P19", "lowu.consensus.simulation.edge.Edge.execute", lambda self, node, effect: None),
    ],
)
def test_controls_that_must_fail(expected, where, what, monkeypatch):
    if expected != "P14":
        monkeypatch.setattr("lowu.consensus.simulation.world.LIVENESS_MS", 3_000)
    found = first_violation(lambda patch: patch.setattr(where, what), monkeypatch)
    assert found in (expected, "P17")


def test_epochs_of_the_kit_are_the_first():
    assert Epoch(1, kit.VALIDATORS) == kit.EPOCH
