"""Erasure receipts, and key files."""

import json
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
from eth_account import Account

from lowu.contracts.registry import (
    AnchorState,
    OrgKey,
    RegistryErrorCode,
    RevokeReason,
    hash_function,
)
from lowu.experiments.attacks.mutation import mutate
from lowu.institutions.exchange.erasure import decode_erasure, encode_erasure, find_flaw
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.keystore import KeystoreError, read_keystore, write_keystore
from lowu.institutions.package.format import BatchPlace, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.issuer import Audience
from lowu.institutions.service.recording import Wallet
from lowu.node.client import ClientError
from tests.store_kit import open_store
from tests.unit.document_world import HOLDER_KEY, ISSUER_KEY, NOW_S, TRUST
from tests.unit.institutions.service.test_desks import Node, issue, issuer_desk

LATER_S = NOW_S + 1000


class Ledger:
    """A node's answers about keys and erased anchors."""

    def __init__(self, receipt):
        self.key = OrgKey(1, 0, 0, 0, ISSUER_KEY.public_key)
        self.digests = {item.anchor: receipt.digest for item in receipt.anchors}
        self.record = SimpleNamespace(state=AnchorState.ERASED, state_height=9)
        self.leaf = (AnchorState.ERASED, int(RevokeReason.ERASED), 9)
        self.leaf_digest = receipt.digest

    async def get_key(self, org, key_id):
        return self.key

    async def get_record(self, issuer, anchor):
        return self.record

    async def get_erasure(self, issuer, anchor):
        return self.digests.get(anchor, bytes(32))

    async def get_leaf_status(self, issuer, root, leaf):
        return self.leaf

    async def get_leaf_erasure(self, issuer, root, index):
        return self.leaf_digest


async def noted(digest):
    return digest


async def erased(tmp_path, *errors):
    """Issue a document for two receivers and erase it; return the desk, node and receipt."""
    node = Node()
    desk = issuer_desk(node, tmp_path / "store")
    issued = await issue(desk)
    more = await desk.issuer.add_audience(issued, Audience("fusion", 3))
    desk.issued[more.anchor] = more.package
    other = await issue(desk)
    node.errors, node.sent = list(errors), []
    erasing = desk.erase(issued.anchor, reason="SUBJECT_REQUEST", now_s=LATER_S)
    return desk, node, erasing, more.package, other


async def test_all_anchors_of_a_document_go_and_nothing_else(tmp_path):
    desk, node, erasing, package, other = await erased(tmp_path)
    receipt = await erasing
    assert {item.anchor for item in receipt.anchors} == {item.anchor for item in package.anchors}
    assert list(desk.issued) == [other.anchor]
    mark = hash_function("markErased")
    assert node.sent == [mark.encode_call(item.anchor, receipt.digest) for item in receipt.anchors]
    assert desk.erasures[bytes.fromhex(receipt.doc_id)] == receipt
    assert decode_erasure(encode_erasure(receipt)) == receipt and receipt.is_of(package)
    assert await find_flaw(receipt, Ledger(receipt)) == ""
    again = await desk.erase(package.anchors[0].anchor, reason="OTHER", now_s=LATER_S + 9)
    assert again == receipt
    with pytest.raises(KeyError):
        await desk.erase(b"x" * 32, reason="OTHER", now_s=LATER_S)


async def test_an_erasure_that_was_cut_off_goes_on(tmp_path):
    gone = RegistryRefused(RegistryErrorCode.TERMINAL_STATE, "")
    desk, node, erasing, package, _ = await erased(tmp_path, None, ClientError("down"), gone)
    node.registry = SimpleNamespace(get_erasure=lambda issuer, anchor: noted(digest))
    digest = b""
    with pytest.raises(ClientError):
        await erasing
    assert len(desk.issued) == 3  # still there: not yet erased on the ledger
    (first,) = desk.erasures.values()
    node.errors = [gone]
    with pytest.raises(RegistryRefused):  # erased by another receipt
        await desk.erase(package.anchors[0].anchor, reason="OTHER", now_s=LATER_S + 5)
    node.errors, digest = [gone], first.digest
    receipt = await desk.erase(package.anchors[1].anchor, reason="OTHER", now_s=LATER_S + 5)
    assert receipt == first and len(desk.issued) == 1
    refusal = RegistryRefused(RegistryErrorCode.ROLE_REQUIRED, "")
    node.errors = [refusal]
    with pytest.raises(RegistryRefused):
        await desk.issuer.note_erasure(receipt)


async def test_of_a_batch_one_leaf_is_withdrawn(tmp_path):
    node = Node()
    desk = issuer_desk(node, tmp_path / "store")
    issued = await issue(desk)
    (anchor,) = issued.package.anchors
    place = BatchPlace(b"r" * 32, 3, (b"s" * 32,))
    package = replace(issued.package, anchors=(replace(anchor, batch=place),))
    desk.issued[anchor.anchor] = package
    node.sent = []
    receipt = await desk.erase(anchor.anchor, reason="OTHER", now_s=LATER_S)
    (call,) = node.sent
    arguments = (place.root, anchor.anchor, 3, list(place.path), receipt.digest)
    assert call == hash_function("eraseLeaf").encode_call(*arguments)
    ledger = Ledger(receipt)
    assert decode_erasure(encode_erasure(receipt)) == receipt
    assert await find_flaw(receipt, ledger) == ""
    ledger.leaf = (AnchorState.SUPERSEDED, 0, 9)  # N-M11: its batch's end was enough
    assert "does not say" in await find_flaw(receipt, ledger)
    ledger.leaf, ledger.leaf_digest = (AnchorState.ERASED, 6, 9), b"another receipt's digest"
    assert "does not say" in await find_flaw(receipt, ledger)
    ledger.leaf_digest = receipt.digest
    usual = ledger.key
    for name in ("retired_height", "compromised_height"):
        ledger.key = replace(usual, **{name: 9})
        assert "was not in use" in await find_flaw(receipt, ledger)
        ledger.key = replace(usual, **{name: 10})  # after the ledger had noted it
        assert await find_flaw(receipt, ledger) == ""


async def test_a_holder_destroys_what_the_receipt_names(tmp_path):
    _, _, erasing, package, other = await erased(tmp_path)
    receipt = await erasing
    wallet = Wallet("acme", HOLDER_KEY, open_store(tmp_path / "acme"), trust=TRUST)
    wallet.holder.keep(package)
    kept = wallet.holder.receive(encode_package(other.package))
    with pytest.raises(ValueError, match="all anchors"):
        wallet.forget(replace(receipt, anchors=receipt.anchors[:1]))
    wallet.forget(receipt)
    assert [item.header.doc_id for item in wallet.holder.packages] == [kept]
    assert list(wallet.erasures.values()) == [receipt]
    with pytest.raises(KeyError, match="has no document"):
        wallet.forget(receipt)


async def test_no_change_of_a_receipt_holds(tmp_path):
    _, _, erasing, _, _ = await erased(tmp_path)
    receipt = await erasing
    ledger, data, random = Ledger(receipt), encode_erasure(receipt), Random(5)
    read = 0
    for _ in range(2_000):
        changed, _ = mutate(data, random)
        if changed == data:
            continue
        try:
            found = decode_erasure(changed)
        except FormError:
            continue
        read += 1
        assert await find_flaw(found, ledger) != ""
    assert read > 100
    ledger.digests.popitem()
    assert "the ledger does not say" in await find_flaw(receipt, ledger)
    with pytest.raises(FormError, match="at least one"):
        decode_erasure(encode_erasure(replace(receipt, anchors=())))


# --- key files ------------------------------------------------------------------------------------


def test_a_key_file_opens_with_its_password_only(tmp_path):
    path = tmp_path / "desks" / "bank.key.json"
    write_keystore(path, b"\x11" * 32, "three words")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_keystore(path, "three words") == b"\x11" * 32
    assert bytes(Account.decrypt(path.read_text(), "three words")) == b"\x11" * 32
    with pytest.raises(KeystoreError, match="password is another"):
        read_keystore(path, "three word")
    with pytest.raises(KeystoreError, match="a key file exists already"):
        write_keystore(path, b"\x12" * 32, "x")
    assert read_keystore(path, "three words") == b"\x11" * 32


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 9}', "nonsense"])
def test_files_that_are_no_key_file(tmp_path, content):
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(KeystoreError, match="key"):
        read_keystore(path, "x")
    with pytest.raises(KeystoreError, match="cannot be read"):
        read_keystore(tmp_path / "none", "x")


def test_a_key_file_of_another_wallet(tmp_path):
    path = tmp_path / "key"
    kinds = {"kdf": "pbkdf2", "iterations": 1000}
    path.write_text(json.dumps(Account.encrypt(b"\x13" * 32, "pass", **kinds)))
    assert read_keystore(path, "pass") == b"\x13" * 32
