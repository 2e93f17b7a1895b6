"""A newcomer takes a state instead of all blocks, and takes nothing that is not proven."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
import trio

from lowu.consensus.codec import encode_commit_certificate
from lowu.node.chain.block import encode_header
from lowu.node.chain.roster import encode_roster
from lowu.node.core.snapshots import SnapshotClient
from lowu.node.errors import BadInput, BlockNotKept, ConfigError, DamagedData, LinkLost
from lowu.node.execution.genesis import build_genesis
from lowu.node.gateway.gateway import Gateway
from lowu.node.gateway.requests import ChunkRequest, SnapshotRequest
from lowu.node.ledger import ledger as ledger_module
from lowu.node.ledger import schema, state_import, state_snapshot
from lowu.node.ledger.ledger import Ledger
from lowu.node.ledger.state_snapshot import decode_manifest
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from lowu.node.topology.changes import set_values
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec
from lowu.options import read_network
from tests.simulation.test_changing_group import Governor, node_ids
from tests.unit import node_kit as kit

PERIOD = 8


def play(act, network="seed-7", settings=()):
    text = set_values(read_network(network)[0], [f"snapshot_blocks={PERIOD}", *settings])

    async def main():
        async with open_virtual(build_plan(parse_spec(text, Path(network)))) as running:
            return await act(Governor(running))

    return run_virtual(0, main)


async def wipe(network, name):
    """Take a node's disk away, and start it again."""
    await network.stop(name)
    network._storages[name].records.clear()
    await network.start(name)


def state_of(network, name):
    records = network._storages[name].records
    return {key: value for key, value in records.items() if key[:1] == b"S"}


def test_a_wiped_node_takes_the_state_and_the_rest_as_blocks():
    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3 * PERIOD + 3)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        node = network.nodes["node6"]
        assert node.ledger.base == 3 * PERIOD, "the newest state, and blocks above it only"
        assert state_of(network, "node6") == state_of(network, "node0")
        head = network.nodes["node0"].ledger.head
        assert node.ledger.head == head, "with the totals"
        told = await asked_of(network, "node6", "eth_getBlockByNumber", "0x3", True)
        assert "the blocks of this node begin with 25" in told["error"]["message"]
        told = await asked_of(network, "node6", "eth_getBlockByNumber", hex(3 * PERIOD), True)
        assert "begin with 25" in told["error"]["message"], "its block has a header only"
        assert node.ledger.damage.reads == 0, "which is no damage"
        assert node.driver.replica.phase == "abstaining"  # its votes went with the disk
        await governor.fill(2 * PERIOD)
        await governor.level(*names)
        # It can be asked for states in turn, and a restart finds all as it was.
        base = node.ledger.base
        await network.stop("node6")
        await network.start("node6")
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base == base
        await wipe(network, "node7")
        await governor.level(*names)
        assert network.nodes["node7"].ledger.base >= 4 * PERIOD

    play(act)


async def asked_of(network, node, method, *params):
    body = json.dumps({"id": 1, "method": method, "params": params}).encode()
    return json.loads(await network.nodes[node].rpc.dispatcher.answer(body, {}))


def test_the_group_of_a_state_is_proven_from_block_0():
    async def act(governor):
        network, names, ids = governor.network, list(governor.network.nodes), node_ids(governor)
        await governor.change("addSealer", ids["node7"], 2)
        await governor.fill(3)
        await governor.change("addObserver", ids["node5"])
        await governor.fill(3 * PERIOD)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        node = network.nodes["node6"]
        assert node.ledger.base > PERIOD
        assert node.ledger.rosters == network.nodes["node0"].ledger.rosters
        assert len(node.driver.replica.validators) == 7
        return network.nodes["node0"].snapshots.answer_offer(), node.sync.snapshots

    offer, client = play(act)
    assert isinstance(client, SnapshotClient)
    assert client._check(offer).block.head.number % PERIOD == 0
    manifest, header, certificate, count, *rest = offer
    assert count == 2
    first, second, below = rest[:3], rest[3:6], rest[6:]
    block = [manifest, header, certificate]
    cut = manifest[:88] + bytes(32)
    wrong = [
        [*block, 0, *below],  # by the validators of block 0
        [*block, 1, *first, *below],
        [*block, 1, *second, *below],
        [*block, 2, *second, *first, *below],
        [*block, 2, *first[:2], second[2], *second, *below],
        [*block, 2, *first, *second],  # without the headers below
        [*block, 2, *first, *second, *below[2:]],
        [*block, 2, *first, *second, *below[2:4], *below[2:]],
        [*block, 2, *first, *second, *below[:-2], below[-2], below[1]],
        [manifest, *first[:2], 2, *first, *second, *below],
        [manifest, header, first[1], 2, *first, *second, *below],
        [manifest[:-1], header, certificate, 2, *first, *second, *below],
        [manifest[:56] + bytes(32) + manifest[88:], header, certificate, 2, *rest],
        [cut[:24], header, certificate, 2, *rest],
        [*block, 2_000, *rest],
        [*block, -1, *rest],
        [*block, "2", *rest],
        [*block, 2, *first, None, *second[1:], *below],
        [manifest, b"\1" * 9_000_000, certificate, 2, *rest],
        [b"\1" * 9_000_000, header, certificate, 2, *rest],
        [],
    ]
    for item in wrong:
        started = time.process_time()
        with pytest.raises(BadInput):
            client._check(item)
        assert time.process_time() - started < 2, "a flaw is found before much is decoded"
    for item in (None, 3, b"", b"\xc0", [b""]):
        with pytest.raises(BadInput):
            client._check(item)


def test_blockhash_sees_below_the_state():
    """A free contract reads the hash of a block that a wiped node never had."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3 * PERIOD + 1)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base == 3 * PERIOD
        for back in (2, 5, 3 * PERIOD):  # SSTORE(0, BLOCKHASH(NUMBER - back))
            code = bytes.fromhex(f"60{back:02x}43034060005500")
            await governor.send(code, to=b"")
        head = await governor.level(*names)
        assert len({network.nodes[name].ledger.header(head).hash for name in names}) == 1

    play(act)


def test_changes_of_observers_alone_cannot_be_left_out_nor_come_early():
    """No certificate shows them: the manifest that several vouch for has their digest."""

    async def act(governor):
        network, names, ids = governor.network, list(governor.network.nodes), node_ids(governor)
        await governor.fill(2)
        await governor.change("remove", ids["node7"])
        await governor.fill(2 * PERIOD)
        rest = [name for name in names if name != "node7"]
        await governor.level(*rest)
        node = network.nodes["node0"]
        height = node.ledger.head.number // PERIOD * PERIOD
        while (offer := node.snapshots.answer_offer()) is None:
            await trio.sleep(0.1)
        client = network.nodes["node1"].sync.snapshots
        assert client._check(offer).block.head.number == height
        block, tail = offer[:3], offer[7:]
        with pytest.raises(BadInput, match="not those of the manifest"):
            client._check([*block, 0, *tail])
        await governor.change("addObserver", ids["node7"])
        later, _ = node.ledger.rosters[-1]
        proof = [encode_header(node.ledger.header(later - 1))]
        proof.append(encode_commit_certificate(node.ledger.certificate(later - 1)))
        proof.append(encode_roster(node.ledger.rosters[-1][1]))
        with pytest.raises(BadInput, match="above the block"):
            client._check([*block, 2, *offer[4:7], *proof, *tail])

    play(act)


def test_a_group_that_was_known_in_part_is_known_whole_after_a_state():
    """Epochs were counted by their place in the list, which the state replaces."""

    async def act(governor):
        network, names, ids = governor.network, list(governor.network.nodes), node_ids(governor)
        await governor.change("remove", ids["node8"])
        await governor.fill(1)
        rest = [name for name in names if name != "node8"]
        await governor.level(*rest)
        await network.stop("node6")
        await governor.change("setWeight", ids["node0"], 2)
        await governor.fill(3 * PERIOD)
        await network.start("node6")
        await governor.level(*rest)
        node = network.nodes["node6"]
        assert node.ledger.base > PERIOD
        epochs = [network.nodes[name].scheduler._membership.epochs._epochs for name in rest]
        assert all(item == epochs[0] for item in epochs) and len(epochs[0]) == 2

    play(act)


def test_a_damaged_state_is_not_offered_and_ends_nobody(monkeypatch):
    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(PERIOD)
        await governor.level(*names)
        server = network.nodes["node0"].snapshots
        (pinned,) = network.nodes["node0"].ledger.pinned

        def damaged():
            raise DamagedData("record is damaged")

        monkeypatch.setattr(pinned, "build_manifest", damaged)
        for _ in range(3):
            assert server.answer_offer() is None
            await trio.sleep(0.2)
        await governor.fill(2)

    play(act)


def test_a_link_that_is_replaced_costs_no_state(monkeypatch):
    """Peers whose links went down once were not asked again, and those left vouched for nothing."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3 * PERIOD)
        await governor.level(*names)
        lost = Counter()
        request = Gateway.request

        async def lose_some(gateway, node_id, asked):
            if isinstance(asked, SnapshotRequest | ChunkRequest) and lost[node_id, type(asked)] < 2:
                lost[node_id, type(asked)] += 1
                raise LinkLost("link closed before an answer")
            return await request(gateway, node_id, asked)

        monkeypatch.setattr(Gateway, "request", lose_some)
        await wipe(network, "node6")
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base >= 3 * PERIOD and len(lost) > 2

    play(act)


def test_who_has_loaded_a_state_offers_it():
    """Whoever lost its disk next could go on from nothing, until the chain had come to another."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3 * PERIOD)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        offers = []
        for name in ("node0", "node6"):
            while (offer := network.nodes[name].snapshots.answer_offer()) is None:
                await trio.sleep(0.1)
            offers.append(offer)
        base = network.nodes["node6"].ledger.base
        if network.nodes["node0"].ledger.head.number % PERIOD:
            assert network.nodes["node6"].ledger.pinned[-1].head.number == base > 0
        assert offers[0][:2] == offers[1][:2], "its manifest and header; certificates may differ"
        assert len(offers[0]) == len(offers[1])

    play(act)


def test_a_state_that_one_peer_alone_has_is_not_taken():
    """Two of seven may lie: both together vouch for nothing."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(2 * PERIOD + 1)
        await governor.level(*names)
        for name in names:
            server = network.nodes[name].snapshots
            real = server.answer_offer

            def answer(name=name, real=real):
                offer = real()
                if offer is None or name not in ("node0", "node1"):
                    return None  # the honest are slow
                return [offer[0][:88] + b"\x66" * 32, *offer[1:]]

            server.answer_offer = answer
        await wipe(network, "node6")
        with trio.fail_after(120):
            await level_later(governor, names)
        assert network.nodes["node6"].ledger.base == 0, "it fetched the blocks"

    play(act)


async def level_later(governor, names):
    while len({governor.network.nodes[name].ledger.head.number for name in names}) > 1:
        await trio.sleep(0.5)


@pytest.mark.parametrize("wrong", [b"another chunk", None])
def test_a_peer_with_wrong_chunks_is_left_and_others_are_asked(wrong, monkeypatch):
    monkeypatch.setattr(state_snapshot, "CHUNK_BYTES", 4_000)

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(2 * PERIOD + 1)
        await governor.level(*names)
        liar = network.nodes[min(names[:6], key=lambda name: network.nodes[name].key.node_id)]

        async def answer(request):
            return wrong

        liar.snapshots.answer_chunk = answer
        await wipe(network, "node6")
        with trio.fail_after(120):
            await level_later(governor, names)
        assert network.nodes["node6"].ledger.base == 2 * PERIOD
        assert state_of(network, "node6") == state_of(network, "node1")

    play(act)


def test_a_crash_while_a_state_is_fetched_leaves_the_own_one():
    """The next start drops what has come, and goes on with the chain as it was."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(2 * PERIOD + 1)
        await governor.level(*names)
        await network.stop("node6")
        storage = network._storages["node6"]
        before = dict(storage.records)
        state_import.add(storage, {b"S" + b"a" * 21: b"half of it"})
        await network.start("node6")
        node = network.nodes["node6"]
        assert storage.records == before
        assert node.driver.replica.phase != "abstaining", "its votes are where they were"
        await governor.level(*names)
        assert state_of(network, "node6") == state_of(network, "node0")

    play(act)


async def fall_behind(governor, name, blocks):
    """Let the others go on without a node; return it, started again."""
    network, others = governor.network, [n for n in governor.network.nodes if n != name]
    await network.stop(name)
    await governor.fill(blocks)
    await governor.level(*others)
    await network.start(name)
    return network.nodes[name]


@pytest.mark.parametrize("obstacle", ["a full disk", "damage", "nothing"])
def test_what_stands_against_a_state_leaves_the_own_one_and_blocks_are_fetched(obstacle):
    """Left-overs of an earlier load are no part of the new state."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3)
        await governor.level(*names)
        node = await fall_behind(governor, "node6", 2 * PERIOD)
        ledger = node.ledger
        head = ledger.head.number
        storage, put = ledger._storage, ledger.import_state
        ledger.import_state({b"S" + b"a" * 21: b"left over"})
        if obstacle == "a full disk":
            storage.free_bytes = lambda: 3 * state_snapshot.CHUNK_BYTES

        def import_damaged(entries):
            put(entries)
            key = next(key for key in storage.records if key[:1] == schema.PREFIX_STAGED)
            storage.records[key] = b"damaged"

        if obstacle == "damage":
            ledger.import_state = import_damaged
        await governor.level(*names)
        assert state_of(network, "node6") == state_of(network, "node0")
        assert not [key for key in storage.records if key[:1] == schema.PREFIX_STAGED]
        assert (ledger.base > head) == (obstacle == "nothing")
        assert ledger.block(head + 1) if obstacle != "nothing" else ledger.base == 2 * PERIOD

    play(act)


def test_a_state_that_the_chain_has_reached_meanwhile_is_not_loaded():
    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(2 * PERIOD)
        await governor.level(*names)
        node, server = network.nodes["node6"], network.nodes["node0"].snapshots
        while (answer := server.answer_offer()) is None:
            await trio.sleep(0.1)
        client = node.sync.snapshots
        offer = client._check(answer)
        offer.peers.update(peer.key.node_id for peer in network.nodes.values() if peer is not node)

        async def find_offer(list_peers):
            return offer

        client._find_offer = find_offer
        before = dict(node.ledger._storage.records)
        assert await client.fetch(lambda: sorted(offer.peers)) is None
        assert node.ledger._storage.records == before
        assert client.is_due(node.ledger.head.number + PERIOD), "a later one is not put off"

    play(act)


def test_nothing_is_read_while_a_state_is_loaded():
    async def act(governor):
        await governor.fill(1)
        await governor.level(*governor.network.nodes)
        ledger = governor.network.nodes["node8"].ledger
        ledger.is_loading = True
        account = governor.account.address
        for method, params in (
            ("eth_getBalance", [account, "latest"]),
            ("eth_call", [{"to": account}, "latest"]),
            ("eth_getTransactionCount", [account, "0x1"]),
            ("eth_sendRawTransaction", ["0x" + governor.sign(b"", b"\xee" * 20).hex()]),
        ):
            answer = await asked_of(governor.network, "node8", method, *params)
            assert "loads a snapshot" in answer["error"]["message"], method
        ledger.is_loading = False

    play(act)


def test_manifests_are_equal_whatever_was_deleted_or_written_in_between():
    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(PERIOD)
        await governor.level(*names)
        found = set()
        for name in names:
            server = network.nodes[name].snapshots
            while (offer := server.answer_offer()) is None:
                await trio.sleep(0.1)
            assert server.answer_offer() is offer, (
                "put together once, however often it is asked for"
            )
            found.add(decode_manifest(offer[0]).digest)
        await governor.fill(3)
        server = network.nodes["node0"].snapshots
        chunk = await server.answer_chunk(ChunkRequest(PERIOD, 0))
        assert chunk is not None
        assert await server.answer_chunk(ChunkRequest(PERIOD + 1, 0)) is None
        with pytest.raises(BadInput):
            await server.answer_chunk(ChunkRequest(PERIOD, 99))
        return found

    assert len(play(act)) == 1


# --- nodes that do not keep all blocks ----------------------------------------------------------


def test_old_blocks_are_dropped_and_everybody_still_catches_up():
    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(5 * PERIOD)
        old = network.nodes["node0"].ledger.header(3)
        await governor.level(*names)
        node = network.nodes["node0"]
        head = node.ledger.head.number
        kept = head - 2 * PERIOD
        assert node.ledger.base == kept
        kinds = Counter(key[:1] for key in network._storages["node0"].records)
        assert kinds[b"B"] == kinds[b"R"] == kinds[b"T"] + 1 == 2 * PERIOD + 1, "and block 0"
        assert node.ledger.header(3) == old, "headers stay"
        for name, params in (
            ("eth_getBlockByNumber", (hex(kept), True)),
            ("eth_getBlockReceipts", (hex(kept),)),
        ):
            told = await asked_of(network, "node0", name, *params)
            assert f"begin with {kept + 1}" in told["error"]["message"]
        told = await asked_of(network, "node0", "eth_getBlockByNumber", hex(kept + 1), True)
        assert len(told["result"]["transactions"]) == 1
        # One that missed a few blocks gets them, one that lost everything gets a state.
        await network.stop("node5")
        await governor.fill(PERIOD - 1)
        await network.start("node5")
        await wipe(network, "node6")
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base >= 5 * PERIOD
        # All is whole, also after a start.
        await network.stop("node0")
        await network.start("node0")
        await governor.fill(1)
        await governor.level(*names)
        node = network.nodes["node0"]
        assert node.ledger.base == node.ledger.head.number - 2 * PERIOD
        await node.scrub.look_through()
        assert node.ledger.damage.reads == 0

    play(act, settings=(f"keep_blocks={2 * PERIOD}",))


def test_a_large_state_is_loaded_where_old_blocks_are_gone(monkeypatch):
    """Neither was taken: the state cost more than the blocks, and nobody had those."""
    monkeypatch.setattr("lowu.node.core.snapshots.CHUNK_IN_BLOCKS", 1_000)

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(5 * PERIOD)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base >= 5 * PERIOD

    play(act, settings=(f"keep_blocks={2 * PERIOD}",))


@pytest.mark.parametrize("liars", [0, 1])
def test_a_peer_that_denies_its_blocks_makes_nobody_load_a_large_state(monkeypatch, liars):
    """It would cost the node all the blocks that it has, and others have."""
    monkeypatch.setattr("lowu.node.core.snapshots.CHUNK_IN_BLOCKS", 1_000)

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(1)
        await governor.level(*names)
        others = sorted(set(names) - {"node6"}, key=lambda name: network.nodes[name].key.node_id)
        for _ in range(2):
            await network.stop("node6")
            await governor.fill(2 * PERIOD + 2)
            if liars:
                network.nodes[others[1]].sync.answer_blocks = lambda request: []
            await network.start("node6")
            await governor.level(*names)
        assert network.nodes["node6"].ledger.base == 0

    play(act)


def test_a_chain_that_kept_all_blocks_drops_them_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(ledger_module, "DROPPED_AT_ONCE", 3)
    chain = kit.Chain()
    for number in range(20):
        chain.commit(kit.signed(nonce=number))
    chain.ledger._keep_blocks = 4
    bases = []
    for number in range(20, 30):
        chain.commit(kit.signed(nonce=number))
        bases.append(chain.ledger.base)
    assert bases == [3, 6, 9, 12, 15, 18, 21, 24, 25, 26]
    again = Ledger(chain.storage, build_genesis(kit.GENESIS), chain.trace)
    assert again.base == 26
    with pytest.raises(BlockNotKept, match="begin with 27"):
        again.block(26)
    assert again.block(27).header.number == 27


def test_a_damaged_block_can_be_dropped_too():
    chain = kit.Chain()
    for number in range(4):
        chain.commit(kit.signed(nonce=number))
    chain.ledger._keep_blocks = 2
    key = schema.height_key(b"B", 1)
    chain.storage.records[key] = b"damaged"
    chain.commit(kit.signed(nonce=4))
    assert chain.ledger.base == 3 and key not in chain.storage.records


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("snapshot_blocks = 0\nkeep_blocks = 5000", "load no state"),
        ("snapshot_blocks = 100\nkeep_blocks = 150", "at least 2 × snapshot_blocks, 200"),
    ],
)
def test_too_few_blocks_to_catch_up_with_are_refused(settings, problem):
    text = read_network("dev-4")[0].replace("[network]\n", f"[network]\n{settings}\n", 1)
    with pytest.raises(ConfigError, match=problem):
        parse_spec(text, Path("dev-4"))


def test_if_all_have_restarted_the_newest_state_is_still_there():
    """Nobody has old blocks, and nobody commits anything: who lost its disk needs a state."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(5 * PERIOD + 3)
        await governor.level(*names)
        for name in names:
            await network.stop(name)
        network._storages["node6"].records.clear()
        for name in names:
            await network.start(name)
        await governor.level(*names)
        assert network.nodes["node6"].ledger.base == 5 * PERIOD + 3

    play(act, settings=(f"keep_blocks={2 * PERIOD}",))
