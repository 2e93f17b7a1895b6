"""Bodies of proposals: right nonces, also while a block is being committed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from lowu.consensus.effects import VerifyProposal
from lowu.consensus.inputs import ProposalVerdict
from lowu.consensus.messages import Proposal
from lowu.node.chain.merkle import compute_root
from lowu.node.core.membership import Membership
from lowu.node.core.proposals.bodies import BodyStore
from lowu.node.core.proposals.checks import ProposalChecker
from lowu.node.core.proposals.fetch import BodyExchange
from lowu.node.pool.txpool import TxPool
from tests.unit import node_kit as kit


def make(chain, genesis=kit.GENESIS):
    pool = TxPool(genesis, 10, lambda sender: 0, lambda tx_hash: False)
    clock = SimpleNamespace(now_ms=lambda: 10_000, elapsed_s=lambda: 0.0)
    membership, bodies = Membership(genesis, chain.ledger), BodyStore(chain.ledger)
    exchange = BodyExchange(bodies, pool, None, membership)
    parts = (genesis, chain.ledger, membership, pool, bodies, exchange, trio.Lock(), clock)
    return ProposalChecker(*parts), pool


def offer(pool, height, *transactions):
    """A leader's proposal of transactions that are in the pool."""
    for item in transactions:
        pool.add(item.raw, 0.0, is_local=True)
    hashes = tuple(item.hash for item in transactions)
    proposal = Proposal(height, bytes(32), compute_root(hashes), 9_000, 0)
    return VerifyProposal(proposal, b"d" * 32, hashes, False, ())


@pytest.mark.parametrize(
    ("nonces", "verdict"), [((1, 2), ProposalVerdict.VALID), ((0, 1), ProposalVerdict.INVALID)]
)
async def test_nonces_follow_on_the_chain(nonces, verdict):
    chain = kit.Chain()
    chain.commit(kit.signed(nonce=0))
    proposals, pool = make(chain)
    effect = offer(pool, 2, *(kit.signed(nonce=nonce) for nonce in nonces))
    assert await proposals.verify(effect) is verdict


async def test_nonces_of_a_block_on_its_way_to_the_disk_are_looked_at_again():
    """Some values are of the new block, the head is still the old one."""
    chain = kit.Chain()
    proposals, pool = make(chain)
    effect = offer(pool, 1, kit.signed(nonce=1))
    async with proposals._commits, trio.open_nursery() as nursery:
        found = []

        async def verify():
            found.append(await proposals.verify(effect))

        nursery.start_soon(verify)
        await trio.testing.wait_all_tasks_blocked()
        assert found == []  # wrong by what is seen: it waits for the commit to end
        chain.commit(kit.signed(nonce=0))
        proposals._commits.release()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [ProposalVerdict.VALID]
        await proposals._commits.acquire()


async def test_right_nonces_do_not_wait_for_execution():
    chain = kit.Chain()
    proposals, pool = make(chain)
    effect = offer(pool, 1, kit.signed(nonce=0))
    async with proposals._commits:
        with trio.fail_after(1):
            assert await proposals.verify(effect) is ProposalVerdict.VALID


def set_group(chain, **changes):
    """Let other settings hold from the block above the head on, as a barrier's execution does."""
    roster = chain.ledger.rosters[-1][1]
    settings = replace(roster.settings, **changes)
    first_height = chain.ledger.head.number + 1
    chain.ledger.rosters.append((first_height, replace(roster, settings=settings)))


async def test_a_proposal_is_judged_by_the_settings_of_its_height():
    """R-EPO-1: by those of the ledger, lower or higher than genesis's, whoever leads."""
    chain = kit.Chain()
    proposals, pool = make(chain)
    effect = offer(pool, 1, kit.signed(nonce=0), kit.signed(nonce=1))
    assert await proposals.verify(effect) is ProposalVerdict.VALID
    set_group(chain, tx_count_limit=1)
    again = replace(effect, digest=b"e" * 32)
    assert await proposals.verify(again) is ProposalVerdict.INVALID
    set_group(chain, tx_count_limit=2, tx_gas_limit=50_000)
    assert await proposals.verify(again) is ProposalVerdict.INVALID  # one of them may use more
    set_group(chain, tx_gas_limit=kit.signed(nonce=0).gas)
    assert await proposals.verify(again) is ProposalVerdict.VALID


async def test_more_than_genesis_allows_is_taken_once_the_group_does():
    genesis = replace(kit.GENESIS, block_tx_count_limit=1)
    chain = kit.Chain(genesis=genesis)
    proposals, pool = make(chain, genesis)
    effect = offer(pool, 1, kit.signed(nonce=0), kit.signed(nonce=1))
    assert await proposals.verify(effect) is ProposalVerdict.INVALID
    set_group(chain, tx_count_limit=2)
    assert await proposals.verify(effect) is ProposalVerdict.VALID
