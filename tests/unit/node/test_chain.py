"""Transactions, receipts, headers, blocks, Merkle trees: encodings and hostile bytes."""

import tracemalloc
from contextlib import suppress
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import rlp
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from lowu.consensus.messages import CommitCertificate
from lowu.node.chain.block import (
    Block,
    Header,
    decode_block,
    decode_header,
    encode_block,
    encode_header,
)
from lowu.node.chain.merkle import build_path, compute_root, compute_root_from_path
from lowu.node.chain.receipt import (
    Log,
    Receipt,
    ReceiptStatus,
    compute_bloom,
    decode_receipt,
    encode_receipt,
)
from lowu.node.chain.rlp_codec import (
    DEPTH_MAX,
    decode_rlp,
    decode_rlp_list,
    encode_rlp,
    encode_rlp_list,
)
from lowu.node.chain.transaction import TX_BYTES_MAX, compute_intrinsic_gas, decode_transaction
from lowu.node.errors import BadInput, InvalidTransaction, StorageError
from tests.unit.node_kit import ACCOUNT, CHAIN_ID, signed

HEADER = Header(
    1, 7, b"p" * 32, b"d" * 32, b"t" * 32, b"r" * 32, b"s" * 32,
    21000, 99, 2, (b"n" * 64,), (1,), b"",
)  # fmt: skip


def test_the_hash_of_a_header_follows_each_field_also_once_it_was_asked_for():
    """Held against the rlp library and eth-hash, as a hash is computed once and kept."""

    def compute(header):
        values = (getattr(header, item.name) for item in fields(header) if item.init)
        return keccak(b"lowu/1/header" + rlp.encode([rlp_value(value) for value in values]))

    def rlp_value(value):
        if isinstance(value, tuple):
            return [rlp_value(item) for item in value]
        return rlp.sedes.big_endian_int.serialize(value) if isinstance(value, int) else value

    assert HEADER.hash == HEADER.hash == compute(HEADER)
    for item in fields(HEADER):
        if item.init:
            old = getattr(HEADER, item.name)
            new = old + 1 if isinstance(old, int) else old + type(old)(old[:1] or b"x")
            changed = replace(HEADER, **{item.name: new})
            assert changed.hash == compute(changed) != HEADER.hash, item.name


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_envelopes_agree_with_eth_account(kind):
    fields = {"gasPrice": 3}
    if kind == 1:
        entry = {"address": "0x" + "33" * 20, "storageKeys": ["0x" + "01" * 32]}
        fields = {"gasPrice": 3, "type": 1, "accessList": [entry]}
    if kind == 2:
        fields = {
            "gasPrice": None, "maxFeePerGas": 9, "maxPriorityFeePerGas": 2, "type": 2,
            "accessList": [],
        }  # fmt: skip
    found = signed(nonce=5, data=b"\0\1", **fields)
    assert found.type == kind and found.nonce == 5 and found.chain_id == CHAIN_ID
    assert found.sender.hex() == ACCOUNT.address[2:].lower()
    assert found.data == b"\0\1"
    expected = 21_000 + 4 + 16 + (2_400 + 1_900 if kind == 1 else 0)
    assert compute_intrinsic_gas(found) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\x03\xc0",
        b"\x7f",
        b"\xc0",
        b"\xf8",
        b"\x02",
        b"\x02\xc0",
        rlp.encode([b"\0", *[b""] * 8]),
        rlp.encode([b""] * 9),
        rlp.encode([b"", b"", b"", b"x" * 19, b"", b"", b"\x1b", b"\1", b"\1"]),
        rlp.encode([b""] * 6 + [b"\x1b", b"", b""]),
        b"\xf9" + bytes(TX_BYTES_MAX),
    ],
)
def test_bad_transactions_are_refused(raw):
    with pytest.raises(InvalidTransaction):
        decode_transaction(raw)


def test_a_high_s_is_refused():
    fields = rlp.decode(signed().raw)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(fields[8], "big")).to_bytes(32, "big")
    v = (int.from_bytes(fields[6], "big") - 35) ^ 1
    with pytest.raises(InvalidTransaction, match="high s"):
        decode_transaction(rlp.encode([*fields[:6], v + 35, fields[7], high]))


def test_deeply_nested_lists_are_refused():
    data = b"\xc0"
    while len(data) < 60_000:
        size = len(data)
        length = (size.bit_length() + 7) // 8
        head = (
            bytes([0xC0 + min(size, 55)])
            if size < 56
            else bytes([0xF7 + length]) + size.to_bytes(length, "big")
        )
        data = head + data
    with pytest.raises(InvalidTransaction):
        decode_transaction(data)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data):
    with suppress(InvalidTransaction):
        assert decode_transaction(data).raw == data
    for decode in (decode_header, decode_block):
        with pytest.raises(BadInput):
            decode(data)


def test_every_truncation_of_a_transaction_is_refused():
    raw = signed(data=b"abc").raw
    for end in range(len(raw)):
        with pytest.raises(InvalidTransaction):
            decode_transaction(raw[:end])


def test_header_and_block_round_trip():
    assert decode_header(encode_header(HEADER)) == HEADER
    certificate = CommitCertificate(7, b"d" * 32, HEADER.hash, ((0, b"s" * 65),))
    block = Block(HEADER, (signed().raw,), certificate)
    assert decode_block(encode_block(block)) == block
    with pytest.raises(BadInput):
        decode_block(encode_block(block)[:-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 2**63},
        {"number": 10**5_000},
        {"gas_used": 2**64},
        {"weights": (1, 2**63)},
        {"sealer_list": ([b"n"],)},
        {"tx_root": [b"t"] * 32},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_headers_hold_what_they_should(changes):
    """A number with thousands of digits crashed a node that tried to print it."""
    with pytest.raises(BadInput):
        decode_header(encode_header(replace(HEADER, **changes)))
    largest = replace(HEADER, number=2**63 - 1)
    assert decode_header(encode_header(largest)) == largest


def test_receipt_round_trip():
    log = Log(b"a" * 20, (b"t" * 32,), b"data")
    receipt = Receipt(b"h" * 32, ReceiptStatus.REVERT, 5, b"", b"why", (log,))
    assert decode_receipt(encode_receipt(receipt)) == receipt
    assert not receipt.is_success
    with pytest.raises(StorageError):
        decode_receipt(b"\xc1")
    assert sum(byte.bit_count() for byte in compute_bloom((receipt,))) in range(2, 7)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=40, unique=True), st.data())
def test_merkle_paths_lead_to_the_root(leaves, data):
    root = compute_root(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = build_path(leaves, index)
    assert compute_root_from_path(leaves[index], path) == root
    assert compute_root_from_path(leaves[index] + b"x", path) != root
    assert compute_root_from_path(leaves[index], (*path, (True, root))) != root
    for step, (is_left, sibling) in enumerate(path):
        turned = (*path[:step], (not is_left, sibling), *path[step + 1 :])
        assert compute_root_from_path(leaves[index], turned) != root


def test_merkle_lists_do_not_collide():
    assert compute_root([]) == bytes(32)
    assert compute_root([b"a", b"b"]) != compute_root([b"a", b"b", b"b"])
    inner = compute_root([b"a", b"b"])
    assert compute_root([inner]) != inner
    with pytest.raises(ValueError, match="leaf 2"):
        build_path([b"a"], 2)


def test_account_kinds_of_signers_recover():
    for _ in range(5):
        account = Account.create()
        assert signed(account).sender.hex() == account.address[2:].lower()


ITEMS = st.recursive(
    st.binary(max_size=70) | st.integers(0, 2**256), lambda inner: st.lists(inner, max_size=20)
)


@given(ITEMS)
def test_rlp_is_written_as_the_library_does(item):
    assert encode_rlp(item) == rlp.encode(item)


@pytest.mark.parametrize("size", [55, 56, 255, 256, 65_535, 65_536])
def test_rlp_of_long_strings_and_lists(size):
    assert encode_rlp(b"x" * size) == rlp.encode(b"x" * size)
    assert encode_rlp([b"x"] * size) == rlp.encode([b"x"] * size)
    assert decode_rlp(rlp.encode(b"x" * size)) == b"x" * size
    assert decode_rlp(rlp.encode([b"x"] * size)) == [b"x"] * size


def plain(item):
    """Convert what the library decodes to bytes and lists."""
    return item if isinstance(item, bytes) else [plain(member) for member in item]


def outcome(decode, data):
    try:
        return plain(decode(data))
    except (rlp.RLPException, ValueError):
        return None


@given(ITEMS, st.data())
def test_rlp_is_read_as_strictly_as_by_the_library(item, data):
    encoded = bytearray(rlp.encode(item))
    assert outcome(decode_rlp, bytes(encoded)) == outcome(rlp.decode, bytes(encoded))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(
            st.sampled_from((0, 1, 0x7F, 0x80, 0x81, 0xB7, 0xB8, 0xC0, 0xFF))
        )
        if data.draw(st.booleans()):
            del encoded[data.draw(st.integers(1, len(encoded))) :]
    assert outcome(decode_rlp, bytes(encoded)) == outcome(rlp.decode, bytes(encoded))


@given(st.binary(max_size=80))
def test_rlp_of_random_bytes(data):
    assert outcome(decode_rlp, data) == outcome(rlp.decode, data)


def test_rlp_list_says_where_its_items_are():
    data = rlp.encode([b"a", b"bc" * 40, [b"d"], b""])
    items, edges = decode_rlp_list(data)
    assert items == [b"a", b"bc" * 40, [b"d"], b""]
    assert [rlp.decode(data[start:end]) for start, end in pairwise(edges)] == items
    for wrong in (b"", b"a", b"\x80", data[:-1], data + b"a"):
        with pytest.raises(ValueError, match="RLP"):
            decode_rlp_list(wrong)


@pytest.mark.parametrize(
    "value", [[b""] * 9, [[b""] * 4, [b""] * 3], [[[b""] * 8]], [[b""]] * 5, [b"x" * 60] * 9]
)
def test_rlp_has_no_more_items_than_are_wanted(value):
    """Items of all lists count together, and so do the lists themselves."""

    def count(item):
        return 1 + sum(map(count, item)) if isinstance(item, list) else 1

    data = rlp.encode(value)
    assert decode_rlp(data, count(value)) == decode_rlp(data) == value
    for few in range(count(value)):
        with pytest.raises(ValueError, match="too many items"):
            decode_rlp(data, few)


def test_a_block_of_tiny_items_takes_no_memory():
    """A validator's answer of 32 MB could hold as many transactions, of a gigabyte in memory."""
    many = encode_rlp_list([b"\x01"] * 3_000_000)
    sizes = []
    for block in ([b"\x80", many, b"\x80"], [rlp.encode(many), b"\xc0", b"\x80"]):
        data = encode_rlp_list(block)
        tracemalloc.start()
        with pytest.raises(BadInput):
            decode_block(data)
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(sizes) < 12_000_000


def test_rlp_is_not_nested_for_ever():
    nested: object = b""
    for _ in range(DEPTH_MAX):
        nested = [nested]
    assert decode_rlp(rlp.encode(nested)) == nested
    with pytest.raises(ValueError, match="deeply"):
        decode_rlp(rlp.encode([nested]))
    with pytest.raises(InvalidTransaction, match="deeply"):
        decode_transaction(rlp.encode([nested]))
