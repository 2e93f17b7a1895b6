"""Frames and peers: caps before buffers, priorities, bounds (B39)."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lowu.node.errors import BadInput
from lowu.node.gateway.framing import (
    FRAME_BYTES_MAX,
    HEADER,
    Frame,
    FrameDecoder,
    FrameKind,
    decode_payload,
    encode_frame,
)
from lowu.node.gateway.peer import QUEUE_FRAMES_MAX, Peer
from lowu.node.gateway.tls import read_node_id


@given(
    st.lists(st.tuples(st.sampled_from(list(FrameKind)), st.binary(max_size=50)), max_size=8),
    st.data(),
)
def test_frames_survive_any_cut(items, data):
    stream = b"".join(encode_frame(kind, value) for kind, value in items)
    decoder, found = FrameDecoder(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += decoder.receive(stream[:cut])
        stream = stream[cut:]
    assert [(frame.kind, decode_payload(frame)) for frame in found] == items


@pytest.mark.parametrize("kind", list(FrameKind))
def test_lengths_are_checked_before_anything_is_buffered(kind):
    for length in (0, FRAME_BYTES_MAX[kind] + 1, 2**32 - 1):
        with pytest.raises(BadInput, match="announces"):
            FrameDecoder().receive(HEADER.pack(length, kind))
    assert FrameDecoder().receive(HEADER.pack(FRAME_BYTES_MAX[kind], kind)) == []


def test_unknown_kinds_and_bad_payloads():
    with pytest.raises(BadInput, match="unknown frame kind"):
        FrameDecoder().receive(HEADER.pack(1, 99))
    for payload in (b"", b"\xc1", b"\x92\x01", b"\x81\x01\x02", b"\x91" * 5000):
        with pytest.raises(BadInput):
            decode_payload(Frame(FrameKind.SYNC_STATUS, payload))


def test_too_large_a_frame_of_our_own_is_a_bug():
    with pytest.raises(ValueError, match="above its cap"):
        encode_frame(FrameKind.PING, bytes(1000))


@pytest.mark.parametrize("certificate", [None, b"", b"not a certificate"])
def test_no_certificate_no_node_id(certificate):
    with pytest.raises(BadInput):
        read_node_id(certificate)


async def collect(peer, count):
    frames = []

    async def handle(source, frame):
        frames.append(frame)
        if len(frames) == count:
            peer.close()

    with trio.fail_after(5):
        await peer.run(handle)
    return frames


async def test_consensus_goes_first():
    ours, theirs = trio.testing.memory_stream_pair()
    sender, receiver = Peer(ours, b"a", is_dialer=True), Peer(theirs, b"b", is_dialer=False)
    sender.send(FrameKind.TRANSACTIONS, [b"t"])
    sender.send(FrameKind.SYNC_STATUS, [1, b"h"])
    sender.send(FrameKind.CONSENSUS, b"vote")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect, sender, 99)
        kinds = [frame.kind for frame in await collect(receiver, 3)]
        nursery.cancel_scope.cancel()
    assert kinds == [FrameKind.CONSENSUS, FrameKind.SYNC_STATUS, FrameKind.TRANSACTIONS]


async def test_a_peer_that_does_not_read_costs_bounded_memory():
    ours, _ = trio.testing.memory_stream_pair()
    peer = Peer(ours, b"a", is_dialer=True)
    for number in range(QUEUE_FRAMES_MAX[0] + 10):
        peer.send(FrameKind.CONSENSUS, number)
    assert peer.dropped_frames == 10
    assert sum(len(queue) for queue in peer._queues) == QUEUE_FRAMES_MAX[0]


async def test_bad_input_ends_the_link_with_its_reason():
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(ours, b"a", is_dialer=True)
    await theirs.send_all(HEADER.pack(2**31, FrameKind.PING))

    async def handle(source, frame):
        raise AssertionError

    with trio.fail_after(5), pytest.raises(BadInput, match="PING frame announces"):
        await peer.run(handle)
    assert peer.closed.is_set()


async def test_a_silent_peer_is_dropped(autojump_clock):
    ours, _ = trio.testing.memory_stream_pair()

    async def handle(source, frame):
        raise AssertionError

    with pytest.raises(BadInput, match="silent"):
        await Peer(ours, b"a", is_dialer=True).run(handle)
