"""L13: every kind of message survives its wire form."""

import pytest

from lowu.consensus.codec import decode_message, encode_message
from tests.unit import consensus_kit as kit


@pytest.mark.parametrize("message", kit.samples(), ids=lambda message: type(message).__name__)
def test_encoded_and_decoded(message):
    assert decode_message(encode_message(message)) == message
