"""Parsers either read outside input completely or refuse it with a message.

The tests change values of every format in structure (types, ranges, lengths, keys, depth) and in
bytes. A reader raises `FormError`, or returns a value that encodes to the same bytes: each value
has one encoding.
"""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from lowu.experiments.attacks.mutation import mutate
from lowu.institutions.exchange.consent import (
    decode_ledger_consent,
    encode_ledger_consent,
    sign_for_ledger,
)
from lowu.institutions.exchange.erasure import decode_erasure, encode_erasure
from lowu.institutions.exchange.presentation import decode_presentation, encode_presentation
from lowu.institutions.exchange.request import decode_request, encode_request
from lowu.institutions.exchange.trust import decode_trust, encode_trust
from lowu.institutions.package import canonical
from lowu.institutions.package.canonical import CanonicalError, decode_canonical, encode_canonical
from lowu.institutions.package.format import PACKAGE_BYTES_MAX, decode_package, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.service.document_file import read_document
from lowu.institutions.service.orders import Order, decode_order, list_files
from tests.fuzz.kit import change
from tests.unit.document_world import NOW_S, World
from tests.unit.institutions.exchange.test_offline import TRUST, build_world

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "package_vectors.json").read_text())
CHANGES = 1_000


def encode(value):
    """Return canonical bytes if the value has any, or JSON that every reader must refuse."""
    try:
        return encode_canonical(value)
    except (CanonicalError, ValueError):
        return json.dumps(value).encode()


def ledger_consent():
    world = World()
    receipt = world.agree(world.ask())
    return sign_for_ledger(b"\x09" * 32, 20200, receipt, is_withdrawal=False)


def erasure():
    world = World()
    return world.issuer.draft_erasure([world.package], reason="OTHER", erased_at_s=NOW_S)


FORMATS = {
    "package": (decode_package, encode_package, lambda: encode(VECTORS["package"])),
    "proven package": (
        decode_package,
        encode_package,
        lambda: encode_package(build_world().package),
    ),
    "presentation": (
        decode_presentation,
        encode_presentation,
        lambda: encode(VECTORS["presentation"]),
    ),
    "request": (decode_request, encode_request, lambda: encode(VECTORS["request"])),
    "trust": (decode_trust, encode_trust, lambda: encode_trust(TRUST)),
    "erasure": (decode_erasure, encode_erasure, lambda: encode_erasure(erasure())),
    "ledger consent": (
        decode_ledger_consent,
        encode_ledger_consent,
        lambda: encode_ledger_consent(ledger_consent()),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_value_is_read_whole_or_refused(name):
    decode, encode_again, make = FORMATS[name]
    right, random, read = make(), Random(f"fuzz {name}"), 0
    assert encode_again(decode(right)) == right
    for number in range(CHANGES):
        if number % 3:
            data = encode(change(json.loads(right), random))
        else:
            data, _ = mutate(right, random)
        try:
            found = decode(data)
        except FormError:
            continue
        read += 1
        assert encode_again(found) == data
    assert read > CHANGES / 200  # or the changes would reach only the outermost form


def test_orders_are_read_whole_or_refused():
    random, read = Random("orders"), 0
    right = {"do": "issue", "for": "nova", "n": 1, "files": ["a.json"]}
    for number in range(CHANGES):
        data = json.dumps(change(right, random)).encode()
        if number % 3 == 0:
            data, _ = mutate(data, random)
        try:
            found = decode_order("x", data, {"a.json": b""})
        except FormError:
            continue
        read += 1
        assert isinstance(found, Order) and len(found.digest) == 32
    assert read > CHANGES / 200


MANY = {
    "lists": b"[" + b"[]," * 1_300_000 + b"[]]",
    "objects": b"[" + b"{}," * 1_300_000 + b"{}]",
    "numbers": b"[" + b"1," * 1_900_000 + b"1]",
    "texts": b"[" + b'"",' * 1_300_000 + b'""]',
    "members": b"{" + b'"a":1,' * 600_000 + b'"a":1}',
    "quotation marks": b"[[[" + b'"' * 3_900_000,
    "digits": b"[" + b",".join([b"9" * 4_300] * 900) + b"]",
}
"""Four megabytes each; one of them once took nine seconds to refuse."""
READERS = {
    **{name: (decode, FormError) for name, (decode, _, _) in FORMATS.items()},
    "order": (lambda data: decode_order("x", data, {}), FormError),
    "files of an order": (list_files, FormError),
    "document": (read_document, ValueError),
    "canonical": (lambda data: decode_canonical(data, PACKAGE_BYTES_MAX), CanonicalError),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", MANY)
def test_no_number_of_values_takes_long(reader, kind, monkeypatch):
    """N-F14: the values of outside input are counted before it is parsed or checked."""
    read, refusal = READERS[reader]

    def never(value, depth=0):
        raise AssertionError("it was parsed and is checked")

    monkeypatch.setattr(canonical, "check_value", never)
    with pytest.raises(refusal, match=r"at most|more than 100(000 values| digits)"):
        read(MANY[kind])


def test_the_largest_package_is_read():
    """N-F14: a package with as many proofs and signatures as its bytes can hold."""
    package = build_world().package
    (anchor,) = package.anchors
    (signature, *_) = anchor.proof.signatures
    signatures = tuple((index, signature[1]) for index in range(450))
    larger = replace(anchor, proof=replace(anchor.proof, signatures=signatures))
    data = encode_package(replace(package, anchors=(larger,) * 64))
    assert PACKAGE_BYTES_MAX - len(data) < 50_000
    assert len(decode_package(data).anchors) == 64


def test_commas_and_brackets_in_texts_are_no_values():
    """N-F14: a text may hold any number of them."""
    text = encode_canonical([",[{" * 20_000, '\\",[' * 10_000] * 3)
    assert encode_canonical(decode_canonical(text, PACKAGE_BYTES_MAX)) == text
