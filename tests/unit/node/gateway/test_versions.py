"""Nodes of neighbouring versions talk: a network is upgraded node by node."""

import pytest

from lowu.node.errors import BadInput
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import PROTOCOL_OLDEST, PROTOCOL_VERSION, Gateway
from lowu.node.gateway.requests import (
    BlocksRequest,
    BodyRequest,
    ChunkRequest,
    SnapshotRequest,
    TransactionsRequest,
    decode_request,
    encode_request,
    oldest_version,
)
from lowu.node.traffic_tap import Tap

GENESIS, PEER = bytes(32), b"\x02" * 64
REQUESTS = [
    (BlocksRequest(1, 2), 3),
    (BodyRequest(1, bytes(32)), 3),
    (TransactionsRequest((bytes(32),)), 3),
    (SnapshotRequest(), 4),
    (ChunkRequest(5, 0), 4),
]


@pytest.fixture
def gateway():
    return Gateway(
        node_id=b"\x01" * 64,
        members=lambda: frozenset({PEER}),
        genesis_hash=GENESIS,
        contexts=None,
        tap=Tap(None),
        entrants_max=4,
    )


@pytest.mark.parametrize("version", [PROTOCOL_OLDEST, PROTOCOL_VERSION, PROTOCOL_VERSION + 1])
def test_an_older_and_a_newer_node_are_taken(gateway, version):
    assert gateway._check_hello(FrameKind.HELLO, [version, GENESIS]) == version


@pytest.mark.parametrize("version", [PROTOCOL_OLDEST - 1, -1, "4", None, [4], 4.0, True])
def test_what_cannot_be_spoken_to_is_refused(gateway, version):
    with pytest.raises(BadInput, match="speaks protocol"):
        gateway._check_hello(FrameKind.HELLO, [version, GENESIS])
    with pytest.raises(BadInput, match="another genesis"):
        gateway._check_hello(FrameKind.HELLO, [PROTOCOL_VERSION, b"\1" * 32])


@pytest.mark.parametrize(("request_", "version"), REQUESTS)
async def test_an_older_node_is_not_asked_what_it_does_not_know(gateway, request_, version):
    assert oldest_version(request_) == version
    assert decode_request(encode_request(request_)) == request_

    class Peer:
        node_id, is_dialer = PEER, True

        def send_encoded(self, kind, data):
            raise ConnectionError("asked")

    gateway._peers[PEER] = Peer()
    gateway._versions[PEER] = version - 1
    with pytest.raises(BadInput, match="older protocol"):
        await gateway.request(PEER, request_)
    gateway._versions[PEER] = version
    with pytest.raises(ConnectionError, match="asked"):
        await gateway.request(PEER, request_)
