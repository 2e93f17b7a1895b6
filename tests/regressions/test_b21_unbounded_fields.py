"""B21: the length of repeated fields is bounded before anything is built from them."""

import msgpack
import pytest

from lowu.consensus.codec import MESSAGE_BYTES_MAX, decode_message, encode_message
from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


def test_lists_are_bounded():
    pre_prepare, *_, new_view, _ = kit.samples()
    fields = msgpack.unpackb(encode_message(pre_prepare))
    fields[3] = [b"h" * 32] * 100_001
    with pytest.raises(InvalidMessage):
        decode_message(msgpack.packb(fields))
    fields = msgpack.unpackb(encode_message(new_view))
    fields[2] = fields[2] * 100
    with pytest.raises(InvalidMessage, match="items"):
        decode_message(msgpack.packb(fields))


def test_bytes_are_bounded():
    with pytest.raises(InvalidMessage, match="more than"):
        decode_message(bytes(MESSAGE_BYTES_MAX + 1))


def test_lists_of_lists_are_counted():
    with pytest.raises(InvalidMessage):
        decode_message(msgpack.packb([5, 1, [[[]] * 90_000] * 3, 1, b"s"]))
