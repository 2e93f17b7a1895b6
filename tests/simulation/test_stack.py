"""Whole nodes in virtual time: seeds, determinism, and faults that must be detected."""

import json
import logging
from collections import Counter
from random import Random

import pytest
import trio

from lowu.consensus.effects import Persist
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.core.driver import Driver
from lowu.node.core.membership import Membership
from lowu.node.core.scrub import Scrub
from lowu.node.errors import StorageError
from lowu.node.execution.compiler import runtime
from lowu.node.execution.evm import BlockContext, Evm
from lowu.node.execution.flat_state import EmptyState, LayeredState
from lowu.node.ledger import votes
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.votes import VoteRecords
from lowu.node.simulation.links import StreamLink
from lowu.node.simulation.stack import cluster
from lowu.node.simulation.stack.chain_inputs import make_genesis, sign_registrations
from lowu.node.simulation.stack.cluster import Cluster, run_stack
from lowu.node.simulation.stack.disk import FaultyStorage
from lowu.node.simulation.virtual_time import check_private_names, run_virtual
from tests.simulation.kit import output_under_another_hash_seed, simulate


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_trio_still_schedules_by_seed():
    check_private_names()


@pytest.mark.parametrize("chunk", range(3))
def test_seeds(chunk):
    """18 seeds over 4 and 7 nodes: one chain, everything committed, nothing lost."""
    blocks = 0
    for seed in range(chunk * 6, chunk * 6 + 6):
        blocks += run_stack(seed, 7 if seed % 4 == 0 else 4).blocks
    assert blocks > 12


def test_the_same_seed_gives_the_same_trace_under_another_hash_seed():
    code = (
        "from lowu.node.simulation.stack.cluster import Cluster, run_stack;"
        "print([run_stack(0).trace_hash])"
    )
    assert run_stack(0).trace_hash in output_under_another_hash_seed(code)
    assert run_stack(0).trace_hash != run_stack(1).trace_hash


def test_a_run_in_which_damage_is_mended_is_repeatable():
    """How long a look at the records really took once leaked into virtual time."""
    first, second = run_stack(10020), run_stack(10020)
    assert first.faults["rot"] and first == second


def first_violation(seeds=12, first=0):
    """Return the first violation that seeds show; each caller begins at one that does."""
    for seed in range(first, seeds):
        try:
            run_stack(seed)
        except Exception as error:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            return str(error)
    return ""


def test_registrations_succeed_and_are_compiled():
    genesis, block = make_genesis(4, 0)
    context = BlockContext(1, 1, genesis.tx_gas_limit, genesis.web3_chain_id, lambda number: None)
    evm = Evm(LayeredState(EmptyState(), block.writes), context)
    outcomes = {evm.execute(item).status for item in sign_registrations()}
    assert outcomes == {ReceiptStatus.SUCCESS}
    run_stack(1)
    assert cluster._EAGER_CACHE.operations > 500


def test_control_an_engine_that_differs(monkeypatch):
    """A simulated node runs both engines, and stops if the two differ."""
    monkeypatch.setattr(runtime, "GAS_SSTORE_SET", runtime.GAS_SSTORE_SET - 1)
    assert "the compiled EVM differs from py-evm" in first_violation(3)


def test_control_blocks_that_are_not_written(monkeypatch):
    """A ledger that reports a block before it is durable is detected."""
    real = Ledger.commit

    def commit(self, executed, certificate):
        storage, real_write = self._storage, self._storage.write
        storage.write = lambda puts, deletes=(): None
        try:
            return real(self, executed, certificate)
        finally:
            storage.write = real_write

    monkeypatch.setattr(Ledger, "commit", commit)
    # Seed 0 shows it too, after 200 virtual seconds without a quorum. A validator whose chain ends
    # below the votes that it dropped abstains, which is told first.
    assert first_violation(first=1).startswith(("P13", "P17"))


def test_control_votes_that_are_not_written(monkeypatch):
    monkeypatch.setattr(Ledger, "save_records", lambda self, records: None)
    assert first_violation(1).startswith("P14")


def test_control_votes_that_are_written_too_late(monkeypatch):
    def perform(self, effects):
        for effect in effects:
            self._perform_one(effect)
        records = [r for effect in effects if isinstance(effect, Persist) for r in effect.records]
        if records:
            self._ledger.save_records(records)

    monkeypatch.setattr(Driver, "_perform", perform)
    assert first_violation(1).startswith("P14")


def test_control_a_wiped_node_that_votes_at_once(monkeypatch):
    """R-WIPE-1: a node that takes a lost disk for a first start votes twice."""
    real = cluster.open_ledger

    def open_as_new(*on, is_first_start):
        return real(*on, is_first_start=True)

    monkeypatch.setattr(cluster, "open_ledger", open_as_new)
    monkeypatch.setattr(Cluster, "_check_abstention", lambda self, member, node: None)
    assert "where its votes are lost" in first_violation(24, first=23)


def test_control_a_start_that_takes_the_database_at_its_word(monkeypatch):
    """R-SAFE-3, N-F3: without the trace, a log that lost its end looks complete."""
    monkeypatch.setattr(votes, "find_loss", lambda slots, memory: "")
    assert "has lost votes and does not abstain" in first_violation(first=4)


def test_control_a_trace_that_is_written_first(monkeypatch):
    """R-SAFE-3: a crash between the two writes must not make a node abstain."""

    def save(self, records, head):
        puts = {votes.vote_key(item): votes.encode_record(item) for item in records}
        memory = self._advance(puts, ())
        self._trace.write(self._memory.last)
        self._storage.write({**puts, **memory})

    monkeypatch.setattr(VoteRecords, "save", save)
    assert "abstains and has lost nothing" in first_violation(40, first=5)


def test_control_a_change_of_validators_that_replicas_are_not_told(monkeypatch):
    monkeypatch.setattr(Membership, "change_at", lambda self, height: None)
    monkeypatch.setattr(cluster, "LIVENESS_S", 20.0)
    assert first_violation(first=3).startswith("P17 not settled")


def test_control_damage_that_nobody_mends(monkeypatch):
    """N-F8: the simulation turns bits on disks, and nodes look for that."""

    async def look(self):
        await trio.sleep(1)

    monkeypatch.setattr(Scrub, "look_through", look)
    monkeypatch.setattr(cluster, "LIVENESS_S", 20.0)
    assert "has damaged records" in first_violation()


def test_control_a_change_of_validators_that_is_not_on_disk(monkeypatch):
    """After a restart, a node judges by the validators of before."""
    real = Ledger._block_records

    def records(self, executed, certificate, head):
        puts = real(self, executed, certificate, head)
        is_first = executed.header.number == 0
        return {key: value for key, value in puts.items() if is_first or key[:1] != b"E"}

    monkeypatch.setattr(Ledger, "_block_records", records)
    assert first_violation(11, first=10).startswith("P12")


def test_disks_lose_what_they_had_written():
    """The simulation covers the loss of a whole disk, and of its newest writes."""
    faults = Counter()
    for seed in range(205, 245):
        faults.update(run_stack(seed).faults)
        if faults["loss"] and faults["wipe"]:
            return
    raise AssertionError(f"none of the two, or only one: {faults}")


def test_a_disk_loses_its_newest_writes():
    storage = FaultyStorage(Random(1), failure_rate=0.0)
    storage.write({b"a": b"1"})
    storage.write({b"a": b"2", b"b": b"1"})
    storage.write({b"c": b"1"}, [b"b"])
    storage.lose(1)
    assert dict(storage.scan(b"", b"z")) == {b"a": b"2", b"b": b"1"}
    storage.lose(5)
    assert dict(storage.scan(b"", b"z")) == {}


def test_liars_are_blamed_and_borne():
    """Nodes refuse or tolerate what a liar's gateway sends, and ban its sender for a while."""
    assert any(run_stack(seed).faults["blame"] for seed in range(214, 260))


def test_failed_writes_raise_and_leave_everything_or_nothing():
    storage = FaultyStorage(Random(1), failure_rate=0.5)
    present = failed = 0
    for number in range(200):
        key = b"%d" % number
        try:
            storage.write({key: b"v", key + b"w": b"v"})
        except StorageError:
            failed += 1
            assert (storage.get(key) is None) == (storage.get(key + b"w") is None)
            present += storage.get(key) is not None
            with pytest.raises(StorageError, match="opened again"):
                storage.write({b"x": b"y"})
            storage.reopen()
    assert 0 < present < failed < 200 and storage.failures == failed


def test_links_keep_order_and_break_at_both_ends():
    async def main():
        carried = []
        link = StreamLink(Random(1), lambda side, data: carried.append((side, data)))
        left, right = link.ends
        for number in range(50):
            await left.send_all(b"%03d" % number)
        got = b""
        while len(got) < 150:
            got += await right.receive_some(2)
        assert got == b"".join(b"%03d" % number for number in range(50))
        assert len(carried) == 50 and trio.current_time() > 0
        await right.send_all(b"end")
        await right.aclose()
        assert await left.receive_some() == b"end"
        assert await left.receive_some() == b""
        link.break_off()
        with pytest.raises(trio.BrokenResourceError):
            await left.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await right.send_all(b"x")

    run_virtual(1, main)


def test_the_command():
    done = simulate("--stack", "full", "--seeds", "2", "--nodes", "4", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ok"], done.stdout
    assert result["figures"]["seeds"] == 2 and result["figures"]["violations"] == 0
    assert result["figures"]["frames"] > 100 and result["figures"]["compared"] == 1
