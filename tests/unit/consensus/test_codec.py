"""Encoding, decoding and signatures of messages (R-SIG-1, B01, B06, B18, B21)."""

from dataclasses import fields, replace

import msgpack
import pytest

from lowu.consensus.codec import (
    MESSAGE_BYTES_MAX,
    compute_digest,
    decode_commit_certificate,
    decode_message,
    decode_prepared_certificate,
    encode_commit_certificate,
    encode_message,
    encode_prepared_certificate,
    signing_digest,
)
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import Commit, Prepare, Proposal
from lowu.consensus.records import (
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    ViewRecord,
    VoteKind,
    VoteRecord,
    decode_record,
    encode_record,
    height_key_range,
    record_key,
)
from lowu.consensus.types import Domain, hash_bytes
from tests.unit import consensus_kit as kit

SAMPLES = kit.samples()
IDS = [type(item).__name__ for item in SAMPLES]


@pytest.mark.parametrize("message", SAMPLES, ids=IDS)
def test_round_trip(message):
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("message", SAMPLES, ids=IDS)
def test_every_truncation_is_refused(message):
    data = encode_message(message)
    for end in range(len(data)):
        with pytest.raises(InvalidMessage):
            decode_message(data[:end])


@pytest.mark.parametrize("message", SAMPLES, ids=IDS)
def test_every_changed_byte_is_refused_or_badly_signed(message):
    data = encode_message(message)
    for position in range(0, len(data), max(1, len(data) // 300)):
        changed = bytearray(data)
        changed[position] ^= 1
        if hash_bytes(b"tx")[:8] in data and position in _body_range(data):
            continue  # the root binds the bodies; the edge checks it
        with pytest.raises(InvalidMessage):
            kit.VERIFIER.verify_message(decode_message(bytes(changed)))


def _body_range(data):
    start = data.index(hash_bytes(b"tx"))
    return range(start, start + 32)


def test_every_field_is_signed():
    for message in SAMPLES:
        for item in fields(message):
            if item.name in ("signature", "tx_hashes"):  # the root binds the bodies
                continue
            value = getattr(message, item.name)
            other = value + 1 if isinstance(value, int) else None
            if isinstance(value, bytes):
                other = hash_bytes(value)
            if isinstance(value, Proposal):
                other = replace(value, timestamp_ms=99)
            if isinstance(value, tuple):
                other = value[:-1]
            if item.name == "stable":
                other = kit.GENESIS
            changed = replace(message, **{item.name: other})
            assert signing_digest(kit.DOMAIN, 1, changed) != signing_digest(
                kit.DOMAIN, 1, message
            ), (
                type(message),
                item.name,
            )


def test_a_prepare_is_no_commit():
    digest = hash_bytes(b"x")
    prepare = kit.signed(Prepare(0, 1, digest, 2))
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.VERIFIER.verify_message(Commit(0, 1, digest, 2, prepare.signature))


@pytest.mark.parametrize("domain", [Domain("other", "group0"), Domain("kit", "group1")])
def test_signatures_hold_on_one_chain_only(domain):
    message = kit.signed(Prepare(0, 1, hash_bytes(b"x"), 2), domain)
    with pytest.raises(InvalidMessage, match="bad signature"):
        kit.VERIFIER.verify_message(message)


def test_digest_binds_every_field_of_a_proposal():
    item = kit.proposal()
    digest = compute_digest(kit.DOMAIN, item)
    for field in fields(item):
        value = getattr(item, field.name)
        other = value + 1 if isinstance(value, int) else hash_bytes(value)
        assert compute_digest(kit.DOMAIN, replace(item, **{field.name: other})) != digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80",
        b"\x90",
        b"\x91\x07",
        b"\x91" * 2000,
        msgpack.packb([1, 0, 1, b"short", 0, b""]),
        msgpack.packb([1, -1, 1, bytes(32), 0, b""]),
        msgpack.packb([1, 2**60, 1, bytes(32), 0, b""]),
        msgpack.packb([1, True, 1, bytes(32), 0, b""]),
        msgpack.packb([1, 0, 1, bytes(32), 0, bytes(200)]),
        msgpack.packb([1, 0, 1, bytes(32), 0]),
        msgpack.packb([5, 1, [[1, 0, 1, bytes(32), 0, b""]], 0, b""]),
        msgpack.packb([9, 0]),
        msgpack.packb({"a": 1}),
        msgpack.packb("text"),
        bytes(MESSAGE_BYTES_MAX + 1),
    ],
)
def test_nonsense_is_refused(data):
    with pytest.raises(InvalidMessage):
        decode_message(data)


def test_another_encoding_of_the_same_is_refused():
    data = encode_message(SAMPLES[1])
    assert data[2:3] == b"\x02"
    longer = data[:2] + b"\xcc\x02" + data[3:]
    with pytest.raises(InvalidMessage, match="canonical"):
        decode_message(longer)


def test_certificates_round_trip():
    item = kit.proposal()
    one, two = kit.committed(item), kit.prepared(item)
    assert decode_commit_certificate(encode_commit_certificate(one)) == one
    assert decode_prepared_certificate(encode_prepared_certificate(two)) == two


def test_records_round_trip():
    item = kit.proposal(7)
    records = [
        VoteRecord(1, VoteKind.COMMIT, 7, 2, hash_bytes(b"d"), bytes(32)),
        ProposalRecord(1, 3, item),
        PreparedRecord(1, kit.prepared(item)),
        ViewRecord(1, 4, 5),
        NewViewRecord(1, kit.new_view()),
    ]
    for record in records:
        assert decode_record(encode_record(record)) == record
    assert len({record_key(record) for record in records}) == len(records)
    low, high = height_key_range(7)
    within = [low <= record_key(record) < high for record in records]
    assert within == [True, True, True, False, False]
    assert not record_key(records[0]) < height_key_range(6)[1]


@pytest.mark.parametrize("data", [b"", b"\x90", b"\x93\x03\x01", msgpack.packb([4, b"x"])])
def test_damaged_records_are_refused(data):
    with pytest.raises(InvalidMessage):
        decode_record(data)
