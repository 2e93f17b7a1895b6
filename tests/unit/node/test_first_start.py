"""A node that has never run is distinguished from one that lost its data (R-WIPE-1)."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from lowu.consensus.inputs import CaughtUp
from lowu.consensus.validators import ValidatorSet
from lowu.node.app import build_node
from lowu.node.config import load_genesis, load_node_config
from lowu.node.core.inbox import Inbox
from lowu.node.core.membership import Membership
from lowu.node.core.sync import Sync
from lowu.node.errors import ConfigError
from lowu.node.ledger.first_start import NAME, end_first_start
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import load_spec
from lowu.node.topology.tree import node_folder, write_tree
from tests.unit import node_kit as kit

SPEC = Path(__file__).resolve().parents[3] / "configs" / "networks" / "dev-4.toml"


@pytest.fixture
def folder(tmp_path):
    """A validator's folder, as `build-chain` creates it."""
    plan = build_plan(load_spec(SPEC))
    write_tree(plan, SPEC.read_text(), tmp_path / "nodes")
    return node_folder(tmp_path / "nodes", plan.nodes[0])


def start(folder):
    """Build a node as its process does; return the phase of its replica."""
    genesis = load_genesis(folder / "config.genesis")
    node = build_node(genesis, load_node_config(folder, "node0"))
    node.ledger.close()
    return node.driver.replica.phase


def test_a_new_node_votes_and_goes_on_voting(folder):
    assert "Its first start removes this file" in (folder / NAME).read_text()
    assert start(folder) == "normal"
    assert not (folder / NAME).exists()
    assert start(folder) == "normal"


def test_a_node_that_lost_its_data_abstains_and_says_so(folder, caplog):
    start(folder)
    shutil.rmtree(folder / "data")
    with caplog.at_level(logging.WARNING):
        assert start(folder) == "abstaining"
    assert "the data of this validator was lost" in caplog.text
    assert start(folder) == "abstaining"  # it still abstains after a restart


def test_a_marker_that_survived_a_crash_is_consumed(folder):
    start(folder)
    (folder / NAME).write_text("as if the process had died between the two writes")
    assert start(folder) == "normal"
    shutil.rmtree(folder / "data")
    assert start(folder) == "abstaining"


def test_a_marker_that_cannot_be_removed_is_an_error(folder):
    marker = folder / NAME
    marker.unlink()
    marker.mkdir()
    with pytest.raises(ConfigError, match="cannot be removed"):
        end_first_start(load_node_config(folder, "node0"))


# --- when a node has caught up -------------------------------------------------------------------


class Gateway:
    """Enough of a gateway for `Sync`: the linked nodes and our own id."""

    def __init__(self, validators, own=0):
        self.node_id = validators[own].node_id
        self.connected = frozenset(item.node_id for item in validators) - {self.node_id}

    def broadcast(self, node_ids, kind, value):
        pass


async def heard(heights, blocks=2):
    """Return the events that consensus gets after others have announced these heights."""
    chain = kit.Chain()
    for nonce in range(blocks):
        chain.commit(kit.signed(nonce=nonce))
    told = []
    inbox = Inbox()
    membership = Membership(kit.GENESIS, chain.ledger)
    validators = kit.GENESIS.validators.validators
    sync = Sync(chain.ledger, Gateway(validators), None, membership, inbox)
    for index, height in heights.items():
        await sync.handle_status(validators[index].node_id, [height, b"h" * 32, False])
        await sync._tell_caught_up()
    with suppress(trio.WouldBlock):
        while True:
            told.append(inbox.receive_nowait())
    return told


async def test_a_chain_that_grows_does_not_put_it_off():
    """At 27 blocks a second a node that abstained was behind the last claim whenever it looked."""
    chain, inbox = kit.Chain(), Inbox()
    validators = kit.GENESIS.validators.validators
    membership = Membership(kit.GENESIS, chain.ledger)
    sync = Sync(chain.ledger, Gateway(validators), None, membership, inbox)
    for height in (2, 3, 4, 5):
        for index in (1, 2):
            await sync.handle_status(validators[index].node_id, [height, b"h" * 32, False])
        await sync._tell_caught_up()
        chain.commit(kit.signed(nonce=height - 2))
    assert inbox.receive_nowait() == CaughtUp(2)
    with pytest.raises(trio.WouldBlock):
        inbox.receive_nowait()


async def test_who_abstained_itself_when_it_told_its_height_is_no_witness():
    """It had lost its votes as well, and counted as faulty then."""
    validators = kit.GENESIS.validators.validators
    chain, inbox = kit.Chain(), Inbox()
    membership = Membership(kit.GENESIS, chain.ledger)
    sync = Sync(chain.ledger, Gateway(validators), None, membership, inbox, lambda: True)
    for index, height, abstains in ((1, 0, True), (1, 500, False), (2, 0, False)):
        status = [height, b"h" * 32, abstains]
        await sync.handle_status(validators[index].node_id, status)
        await sync._tell_caught_up()
    with pytest.raises(trio.WouldBlock):
        inbox.receive_nowait()


async def test_it_is_told_anew_of_each_epoch_while_it_abstains():
    """Those of a former group that lag say nothing of what was voted on after them."""
    chain, inbox, own = kit.Chain(), Inbox(), [True]
    validators = kit.GENESIS.validators.validators
    membership = Membership(kit.GENESIS, chain.ledger)
    sync = Sync(chain.ledger, Gateway(validators), None, membership, inbox, lambda: own[0])
    for index in (1, 2, 3):
        status = [0 if index < 3 else 1, b"h" * 32, False]
        await sync.handle_status(validators[index].node_id, status)
        await sync._tell_caught_up()
    assert inbox.receive_nowait() == CaughtUp(0)
    chain.commit(kit.signed(nonce=0))
    await sync._tell_caught_up()
    with pytest.raises(trio.WouldBlock):
        inbox.receive_nowait()
    membership.epochs.on_commit(1, ValidatorSet(validators[:3]))
    await sync._tell_caught_up()
    assert inbox.receive_nowait() == CaughtUp(1)
    own[0] = False
    await sync._tell_caught_up()
    assert not sync._heard


@pytest.mark.parametrize(
    ("heights", "told"),
    [
        ({}, []),
        ({1: 0}, []),
        ({1: 0, 2: 2}, [CaughtUp(2)]),
        ({1: 0, 2: 2, 3: 1}, [CaughtUp(2)]),  # once
        ({1: 0, 2: 3}, []),  # one node is ahead: fetch first
    ],
)
async def test_caught_up_is_told_once_of_a_quorum(heights, told):
    assert await heard(heights) == told
