"""Requests between nodes: what is encoded is decoded again, and nothing malformed passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowu.node.errors import BadInput
from lowu.node.gateway.framing import HEADER, Frame, FrameKind, decode_payload, encode_frame
from lowu.node.gateway.requests import (
    BlocksRequest,
    BodyRequest,
    TransactionsRequest,
    decode_request,
    encode_request,
)

DIGEST = b"d" * 32
REQUESTS = [
    BlocksRequest(1, 64),
    BodyRequest(0, DIGEST),
    BodyRequest(2**63 - 1, DIGEST),
    TransactionsRequest(()),
    TransactionsRequest((DIGEST, b"short")),
]


@pytest.mark.parametrize(
    ("request_", "form"),
    [
        (BlocksRequest(5, 64), ["blocks", 5, 64]),
        (BodyRequest(7, DIGEST), ["proposal", 7, DIGEST]),
        (TransactionsRequest((DIGEST,)), ["txs", [DIGEST]]),
    ],
)
def test_the_form_on_the_wire_is_that_of_nodes_before(request_, form):
    """Written out: encoder and decoder would agree on any other form too."""
    assert encode_request(request_) == form
    assert decode_request(form) == request_


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_survives_the_wire(request_):
    data = encode_frame(FrameKind.REQUEST, [7, encode_request(request_)])
    number, value = decode_payload(Frame(FrameKind.REQUEST, data[HEADER.size :]))
    assert (number, decode_request(value)) == (7, request_)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "blocks",
        ["unknown"],
        ["blocks", "1", 2],
        ["blocks", -1, 2],
        ["blocks", 0, 2],
        ["blocks", 1, -1],
        ["blocks", 1, 1.5],
        ["blocks", True, 1],
        ["blocks", 1],
        ["proposal", -1, DIGEST],
        ["proposal", 2**63, DIGEST],
        ["proposal", 1, DIGEST[:-1]],
        ["proposal", 1, "d" * 32],
        ["txs", 5],
        ["txs", None],
        ["txs", [[]]],
        ["txs", ["text"]],
    ],
)
def test_nonsense_is_refused(value):
    with pytest.raises(BadInput):
        decode_request(value)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4),
)


@given(st.sampled_from(["blocks", "proposal", "txs", ""]), st.lists(JSON_LIKE, max_size=4))
def test_whatever_a_peer_sends_is_a_request_or_bad_input(name, rest):
    try:
        found = decode_request([name, *rest])
    except BadInput:
        return
    assert decode_request(encode_request(found)) == found
