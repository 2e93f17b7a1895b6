"""B18: whatever bytes arrive, decoding raises no error but InvalidMessage."""

from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowu.consensus.codec import decode_message, encode_message
from lowu.consensus.errors import InvalidMessage
from tests.unit import consensus_kit as kit


@given(st.binary(max_size=200))
def test_nonsense(data):
    with suppress(InvalidMessage):
        decode_message(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93", b"\xdd\xff\xff\xff\xff", b"\x91" * 5_000])
def test_bytes_that_are_no_msgpack(data):
    with pytest.raises(InvalidMessage):
        decode_message(data)


def test_every_truncation_and_every_flipped_byte():
    for message in kit.samples():
        data = encode_message(message)
        for position in range(0, len(data), max(1, len(data) // 150)):
            with pytest.raises(InvalidMessage):
                decode_message(data[:position])
            flipped = data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
            with suppress(InvalidMessage):
                decode_message(flipped)


def test_values_of_other_types():
    for message in kit.samples():
        fields = msgpack.unpackb(encode_message(message))
        for position in range(len(fields)):
            for value in (None, -1, 1.5, "text", b"", [], {}, 2**64 - 1):
                changed = [*fields[:position], value, *fields[position + 1 :]]
                with suppress(InvalidMessage):
                    decode_message(msgpack.packb(changed))
