"""Blocks between ordered and committed: stacked on the head, on nothing older."""

import pytest

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import compute_digest
from lowu.consensus.messages import CommitCertificate, Proposal
from lowu.node.chain.block import Block
from lowu.node.chain.merkle import compute_root
from lowu.node.core.events import Events
from lowu.node.core.membership import Membership
from lowu.node.core.scheduler import Scheduler
from lowu.node.errors import BadInput
from lowu.node.execution.flat_state import LayeredState
from tests.unit import node_kit as kit
from tests.unit.node_kit import Chain, signed


def make():
    chain = Chain()
    membership = Membership(kit.GENESIS, chain.ledger)
    verifier = MessageVerifier(
        kit.DOMAIN,
        membership.epochs,
        chain.ledger.genesis_certificate,
        lambda i, d, s: True,
    )
    committed = []
    events = Events()
    events.subscribe(lambda event: committed.append(event.block.header.number))
    return chain, Scheduler(kit.GENESIS, chain.ledger, verifier, events, membership), committed


async def run_block(chain, scheduler, height, previous):
    transactions = (signed(nonce=height - 1),)
    root = compute_root([item.hash for item in transactions])
    proposal = Proposal(height, previous, root, 2_000 + height, 0)
    digest = compute_digest(kit.DOMAIN, proposal)
    block_hash = await scheduler.execute(proposal, digest, transactions)
    signatures = ((0, b""), (1, b""), (2, b""))
    return CommitCertificate(height, digest, block_hash, signatures), transactions


def depth(state):
    count = 0
    while isinstance(state, LayeredState):
        state, count = state._below, count + 1
    return count


async def test_execution_ahead_of_commits_keeps_few_layers():
    chain, scheduler, committed = make()
    previous = chain.ledger.header(0).proposal_digest
    pending = []
    for height in range(1, 20):
        certificate, _ = await run_block(chain, scheduler, height, previous)
        previous = certificate.digest
        pending.append(certificate)
        if height > 2:
            await scheduler.commit(pending.pop(0))
        assert depth(scheduler._parent(previous).state) <= 3
    assert committed == list(range(1, 18))
    assert len(scheduler._executed) == 2


async def test_an_unknown_block_below_is_refused():
    chain, scheduler, _ = make()
    with pytest.raises(BadInput, match="has not been executed"):
        await run_block(chain, scheduler, 2, b"x" * 32)


async def test_fetched_blocks_are_executed_and_compared():
    from dataclasses import replace

    source, scheduler, _ = make()
    previous = source.ledger.header(0).proposal_digest
    certificate, _ = await run_block(source, scheduler, 1, previous)
    await scheduler.commit(certificate)
    block = source.ledger.block(1)
    target, importer, committed = make()
    wrong_header = replace(block.header, gas_used=7)
    for bad, text in (
        (replace(block, header=wrong_header), "does not belong"),
        (replace(block, certificate=replace(certificate, signatures=((0, b""),))), "quorum"),
        (replace(block, transactions=()), "root"),
    ):
        with pytest.raises(BadInput, match=text):
            await importer.import_block(bad)
    assert target.ledger.head.number == 0
    assert await importer.import_block(Block(block.header, block.transactions, certificate))
    assert not await importer.import_block(block)
    assert committed == [1]
    assert target.ledger.header(1) == source.ledger.header(1)


def proposed(height, previous, time_ms):
    transactions = (signed(nonce=height - 1),)
    root = compute_root([item.hash for item in transactions])
    proposal = Proposal(height, previous, root, time_ms, 0)
    return proposal, compute_digest(kit.DOMAIN, proposal), transactions


async def test_what_was_accepted_is_executed_before_it_is_ordered():
    chain, scheduler, committed = make()
    runs = []

    async def run(work):
        runs.append(work)
        return work()

    scheduler._run = run
    previous = chain.ledger.header(0).proposal_digest
    chosen, other, third = (proposed(1, previous, time_ms) for time_ms in (2_000, 2_500, 3_000))
    above = proposed(2, chosen[1], 4_000)
    for item in (other, chosen, third, above):
        await scheduler.speculate(*item)
    assert len(runs) == 2, "a third view at this height, and what is above it, have to wait"
    block_hash = await scheduler.execute(*chosen)
    assert len(runs) == 2
    await scheduler.execute(*above)
    assert scheduler._context_on(above[0]).block_hash(1) == block_hash
    assert scheduler._executed[other[1]][0].header.hash != block_hash
    signatures = ((0, b""), (1, b""), (2, b""))
    await scheduler.commit(CommitCertificate(1, chosen[1], block_hash, signatures))
    assert committed == [1] and list(scheduler._executed) == [above[1]]


async def test_what_stands_on_nothing_is_not_speculated():
    """Any leader could stop every node with it: nothing is known of what it stands on."""
    _, scheduler, _ = make()
    await scheduler.speculate(*proposed(1, b"x" * 32, 2_000))
    assert scheduler._executed == {}


async def test_nothing_is_speculated_while_something_runs():
    chain, scheduler, _ = make()
    item = proposed(1, chain.ledger.header(0).proposal_digest, 2_000)
    async with scheduler.lock:
        await scheduler.speculate(*item)
    assert scheduler._executed == {}
