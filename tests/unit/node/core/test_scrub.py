"""A running node finds what its disk has damaged, and mends it from its peers (N-F8, F32)."""

import json

import pytest
import trio

from lowu.node.chain.block import decode_block, encode_block
from lowu.node.crypto import keccak256
from lowu.node.errors import BadInput, DamagedData, StorageError
from lowu.node.gateway.requests import RecordsRequest, decode_request, encode_request
from lowu.node.ledger.inspection import check_block
from lowu.node.ledger.schema import height_key
from lowu.node.simulation.virtual_network import open_virtual
from lowu.node.simulation.virtual_time import run_virtual
from tests.simulation.test_changing_group import Governor, load_plan
from tests.unit.node.core.test_snapshots import PERIOD, wipe
from tests.unit.node.core.test_snapshots import play as play_with_states

VICTIM, HEIGHT, BLOCKS = "node1", 5, 12
PASS_S = 90
"""A node looks at all of this small chain within this time."""


def play(act):
    async def main():
        async with open_virtual(load_plan("dev-4")) as running:
            governor = Governor(running)
            await governor.fill(BLOCKS)
            await governor.level(*running.nodes)
            return await act(governor)

    return run_virtual(0, main)


def records_of(governor, name=VICTIM):
    return governor.network._storages[name].records


def rot(records, key):
    records[key] = records[key][:-1] + bytes([records[key][-1] ^ 1])


def list_keys(governor):
    """The keys of a block's records, by their kinds."""
    block = governor.network.nodes[VICTIM].ledger.block(HEIGHT)
    (raw,) = block.transactions
    by_height = {kind: height_key(kind.encode(), HEIGHT) for kind in "HBR"}
    return {**by_height, "N": b"N" + block.header.hash, "T": b"T" + keccak256(raw)}


def is_whole(governor, before, name=VICTIM):
    """Whether all records are as before; signatures of a quorum may be another one's."""
    ledger, records = governor.network.nodes[name].ledger, records_of(governor, name)
    for height in range(ledger.base, ledger.head.number + 1):
        check_block(ledger.read_record, height, ledger.base)
    headers = {key for key in before if key[:1] == b"H"}
    assert headers <= records.keys() and damaged(governor, name) == []
    return {**records, **{key: before[key] for key in headers}} == before


def damaged(governor, name=VICTIM):
    storage = governor.network.nodes[name].ledger._storage
    return [key for key, value in storage.scan_damaged() if value is None]


DAMAGE = [*((kind, "rot") for kind in "HBRNT"), ("HBRNT", "remove"), ("HBRNT", "misplace")]


def test_a_block_is_mended_from_a_peer():
    async def act(governor):
        records, keys = records_of(governor), list_keys(governor)
        whole, damage = dict(records), governor.network.nodes[VICTIM].ledger.damage
        for number, (kinds, do) in enumerate(DAMAGE, start=1):
            reads = damage.reads
            for kind in kinds:
                if do == "rot":
                    rot(records, keys[kind])
                elif do == "remove":
                    del records[keys[kind]]
                else:
                    records[keys[kind]] = records[b"Mhead"]
            await trio.sleep(PASS_S)
            assert is_whole(governor, whole), (kinds, do)
            assert damage.mended == number and (damage.reads > reads) is (do != "remove")

    play(act)


def test_all_blocks_at_once_and_block_0():
    async def act(governor):
        records = records_of(governor)
        whole = dict(records)
        for key in records:
            if key[:1] in b"HBRNT":
                rot(records, key)
        await trio.sleep(PASS_S)
        assert is_whole(governor, whole)
        assert governor.network.nodes[VICTIM].ledger.damage.mended == BLOCKS + 1
        told = await governor.ask(VICTIM, "getConsensusStatus")
        damage = json.loads(told)["storageDamage"]
        assert damage["mended"] == BLOCKS + 1 and damage["first"] == "" and damage["reads"] > 0

    play(act)


def test_what_a_node_knows_by_heart_is_written_anew():
    async def act(governor):
        records = records_of(governor)
        for key in (b"Mhead", b"Mformat", height_key(b"E", 1)):
            rot(records, key)
        await trio.sleep(PASS_S)
        assert damaged(governor) == []
        await governor.fill(1)
        await governor.network.stop(VICTIM)
        await governor.network.start(VICTIM)
        await governor.level(*governor.network.nodes)

    play(act)


def test_state_is_told_once_and_the_node_goes_on(caplog):
    async def act(governor):
        records = records_of(governor)
        key = max(key for key in records if key[:1] == b"S")
        rot(records, key)
        await trio.sleep(3 * PASS_S)
        assert damaged(governor) == [key]
        noted = governor.network.nodes[VICTIM].ledger.damage.first
        await governor.fill(1)
        await governor.level(*governor.network.nodes)
        with pytest.raises(DamagedData):
            governor.network.nodes[VICTIM].ledger.read_record(key)
        return key, noted

    key, noted = play(act)
    assert key[1:].hex() in noted, "`lowu status` shows it"
    told = [item.getMessage() for item in caplog.records if "not to be had" in item.getMessage()]
    assert len(told) == 1 and key[1:].hex() in told[0] and "lowu doctor" in told[0]


def test_a_peer_that_gives_something_else_is_banned_and_another_one_asked():
    async def act(governor):
        network, records = governor.network, records_of(governor)
        whole = dict(records)
        first = min(network.nodes[VICTIM].gateway.connected)
        liar = next(node for node in network.nodes.values() if node.key.node_id == first)

        async def answer(request):
            return [encode_block(liar.ledger.block(HEIGHT + 1))]

        liar.scrub.answer = answer
        rot(records, height_key(b"B", HEIGHT))
        await trio.sleep(PASS_S)
        assert is_whole(governor, whole)
        assert first in network.nodes[VICTIM].gateway._banned_until

    play(act)


def test_a_disk_that_cannot_be_read_ends_nobody(monkeypatch):
    """EIO is an error of the environment, not damage; neither scrub nor a peer stops the node."""

    async def act(governor):
        node, other = (governor.network.nodes[name] for name in (VICTIM, "node2"))
        storage, key = node.ledger._storage, height_key(b"R", HEIGHT)
        real = storage.get

        def get(wanted):
            if wanted == key:
                raise StorageError("Input/output error")
            return real(wanted)

        monkeypatch.setattr(storage, "get", get)
        await trio.sleep(PASS_S)
        assert await node.scrub.answer(RecordsRequest(HEIGHT)) is None
        await governor.fill(1)
        assert VICTIM in governor.network.nodes and other.ledger.damage.reads == 0

    play(act)


def test_nobody_has_it_now_but_somebody_does_later():
    async def act(governor):
        network, records = governor.network, records_of(governor)
        key = height_key(b"R", HEIGHT)
        for name in network.nodes:
            rot(records_of(governor, name), key)
        await trio.sleep(PASS_S)
        assert key in damaged(governor)
        rot(records_of(governor, "node2"), key)  # as it was
        await trio.sleep(PASS_S)
        assert [key for name in network.nodes for key in damaged(governor, name)] == []
        assert key in records

    play(act)


def test_only_what_the_validators_signed_is_taken():
    async def act(governor):
        node, other = (governor.network.nodes[name] for name in (VICTIM, "node2"))
        good = await other.scrub.answer(RecordsRequest(HEIGHT))
        block, receipts = node.scrub._prove(HEIGHT, good)
        assert block == other.ledger.block(HEIGHT)
        assert receipts == other.ledger.receipt_records(HEIGHT)
        below = other.ledger.block(HEIGHT - 1)
        data, *stored = good
        bare = decode_block(data)
        for wrong in (
            None, 3, [], good[:1], [*good, b""], [*stored, data], [data, b""], [data, [b"list"]],
            [data, *stored, b"x"], [data, *stored, *[b"\1"] * 9_000],
            [encode_block(below), *stored],
            [encode_block(type(bare)(bare.header, (), bare.certificate)), *stored],
            [encode_block(type(bare)(bare.header, bare.transactions, below.certificate)), *stored],
        ):  # fmt: skip
            with pytest.raises(BadInput):
                node.scrub._prove(HEIGHT, wrong)
        for height in (0, -1, BLOCKS + 50, 2**62):
            assert await other.scrub.answer(RecordsRequest(height)) is None

    play(act)


def test_the_request_as_it_is_sent():
    assert decode_request(encode_request(RecordsRequest(7))) == RecordsRequest(7)
    for wrong in (["records"], ["records", -1], ["records", "1"], ["records", 2**63]):
        with pytest.raises(BadInput):
            decode_request(wrong)


def test_a_chain_that_begins_with_a_state_is_whole():
    """Headers below it are read for BLOCKHASH; one of them is mended too."""

    async def act(governor):
        network, names = governor.network, list(governor.network.nodes)
        await governor.fill(3 * PERIOD + 3)
        await governor.level(*names)
        await wipe(network, "node6")
        await governor.level(*names)
        node, records = network.nodes["node6"], records_of(governor, "node6")
        base = node.ledger.base
        assert base == 3 * PERIOD
        whole = dict(records)
        rot(records, height_key(b"H", base - 2))
        rot(records, height_key(b"H", base))
        rot(records, height_key(b"B", base + 1))
        await trio.sleep(PASS_S)
        assert is_whole(governor, whole, "node6") and node.ledger.damage.mended == 3

    play_with_states(act)
