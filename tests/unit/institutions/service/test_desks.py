"""Stores that outlive a process, interrupted desks, reports for people."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lowu.contracts.registry import AnchorState
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents.samples import SAMPLES
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.responses import EventLog
from lowu.institutions.package.format import encode_package
from lowu.institutions.roles.holder import Agreement
from lowu.institutions.roles.issuer import Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.service.document_file import read_document, write_document
from lowu.institutions.service.recording import (
    RecordingIssuer,
    RecordingVerifier,
    Wallet,
)
from lowu.institutions.service.store import StoreError
from lowu.institutions.verification.report import describe_report, render_html, render_text
from lowu.institutions.verification.verdicts import Verdict
from lowu.node.client import ClientError
from tests.store_kit import open_store
from tests.unit.document_world import (
    CHAIN_ID,
    HOLDER_KEY,
    ISSUER_KEY,
    NOVA,
    NOVA_KEY,
    NOW_S,
    RECEIPT,
    SUBJECT,
    TRUST,
    World,
    open_terms,
)


class Node:
    """A signer whose transactions are committed, or fail with the given errors."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.sent = []
        self.states = {}
        """By anchor: the state that the registry has; ACTIVE if it is not here."""
        self.registry = self

    async def get_record(self, issuer, anchor):
        state = self.states.get(anchor, AnchorState.ACTIVE)
        return SimpleNamespace(state=state, superseded_by=bytes(32), registered_height=7)

    async def send(self, to, data):
        self.sent.append(data)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return replace(RECEIPT, logs=(EventLog((), b"", 7, RECEIPT.tx_hash),))

    async def prove(self, receipt, issuer, anchor):
        return None

    async def read_terms(self, start, schema, audience):
        return open_terms(schema)


def issuer_desk(node, path):
    issuer = Issuer(Member("szcredit", 1, "SZ", ISSUER_KEY, CHAIN_ID), node)
    return RecordingIssuer(issuer, open_store(path))


async def issue(desk):
    document = SAMPLES["cn.ecr/1"](1, NOW_S)
    return await desk.issue(
        document, audience=NOVA, holder_key=HOLDER_KEY.public_key, issued_at_s=NOW_S
    )


# --- stores -------------------------------------------------------------------------------------


def test_a_store_outlives_its_process(tmp_path):
    path = tmp_path / "deep" / "store.sqlite3"
    store = open_store(path)
    numbers = store.open("numbers", lambda value: b"%d" % value, int)
    numbers[b"a"], numbers[b"b"] = 1, 2
    numbers[b"a"] = 3
    del numbers[b"b"]
    store.close()
    again = open_store(path).open("numbers", lambda value: b"%d" % value, int)
    assert dict(again) == {b"a": 3} and len(again) == 1
    with pytest.raises(KeyError):
        again[b"b"]
    with pytest.raises(KeyError):
        del again[b"b"]
    assert dict(open_store(path).open("others", bytes, bytes)) == {}


def test_files_that_are_no_store(tmp_path, monkeypatch):
    made, connect = [], sqlite3.connect

    def note(*arguments, **options):
        made.append(connect(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    path = tmp_path / "file"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="cannot be used as a store"):
        open_store(path)
    newer = tmp_path / "newer"
    with open_store(newer):
        pass
    with closing(sqlite3.connect(newer)) as database:
        database.execute("PRAGMA user_version=9")
    with pytest.raises(StoreError, match="format 9"):
        open_store(newer)
    assert len(made) == 4
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


# --- desks --------------------------------------------------------------------------------------


async def test_what_was_stored_before_a_crash_is_registered_after_it(tmp_path):
    node = Node(ClientError("gone"))
    desk = issuer_desk(node, tmp_path / "store")
    with pytest.raises(ClientError):
        await issue(desk)
    (package,) = desk.issued.values()
    assert package.anchors[0].registered_height == 0
    desk = issuer_desk(node, tmp_path / "store")
    (issued,) = await desk.register_left()
    assert issued.package.anchors[0].registered_height == 7
    assert node.sent[0] == node.sent[1]
    assert await desk.register_left() == []


async def test_what_the_registry_refuses_is_not_tried_again(tmp_path):
    desk = issuer_desk(Node(RegistryRefused(None, "no")), tmp_path / "store")
    with pytest.raises(RegistryRefused):
        await issue(desk)
    assert dict(desk.issued) == {}
    assert (await issue(desk)).package.anchors[0].registered_height == 7
    assert len(desk.issued) == 1


async def test_a_request_is_answered_to_another_process(tmp_path):
    world = World()

    def desk():
        return RecordingVerifier(
            Member("nova", 2, "HK", NOVA_KEY, CHAIN_ID),
            registry=world.ledger,
            signer=Node(),
            store=open_store(tmp_path / "nova"),
            clock_s=lambda: world.ledger.time_s,
        )

    def wallet():
        store = open_store(tmp_path / "acme")
        return Wallet("acme", HOLDER_KEY, store, trust=TRUST, clock_s=lambda: NOW_S)

    wallet().holder.receive(encode_package(world.package))
    request = world.ask(desk().verifier)
    receipt = wallet().holder.consent(world.doc_id, request, agreement=Agreement(True, True))
    wallet().consents[receipt.digest] = receipt
    world.ledger.log(receipt)
    found = wallet().find_consent(world.doc_id, "nova", "LOAN")
    assert found == receipt
    assert wallet().find_consent(world.doc_id, "fusion", "LOAN") is None
    assert wallet().holder.authorise(found, 20200, is_withdrawal=True).digest == receipt.digest
    sealed = wallet().holder.present(world.doc_id, request, found)
    first = await desk().receive(sealed, SUBJECT)
    second = await desk().receive(sealed, SUBJECT)
    assert (first.verdict, second.codes) == (Verdict.ACCEPT, ["REPLAYED"])
    assert [item["verdict"] for item in desk().verdicts.values()] == ["ACCEPT", "REJECT"]


# --- documents and reports ------------------------------------------------------------------------


@pytest.mark.parametrize("schema", list(SAMPLES))
def test_samples_survive_a_file(schema):
    document, files = SAMPLES[schema](5, NOW_S).detach()
    assert document.schema == schema and schema in SCHEMAS
    assert bool(files) is (schema == "hk.ehr/1")
    assert read_document(write_document(document)) == document


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema":1}',
        b'{"schema":"a","subject":["x","y"],"report_time":1,"content":[]}',
    ],
)
def test_files_that_are_no_documents(data):
    with pytest.raises(ValueError, match="not a document"):
        read_document(data)


async def test_reports(tmp_path):
    world = World()
    good, bad = await world.verify(world.show()), await world.verify(b"<script>")
    assert describe_report(good)["verdict"] == "ACCEPT"
    assert len(describe_report(good)["checks"]) == 9
    assert json.dumps(describe_report(bad))
    assert render_text(good).startswith("ACCEPT: Authentic, and unaltered since its registration.")
    assert "true" not in render_text(good).lower()
    page = render_html(bad, "<b>report</b>")
    assert "<b>report" not in page and "PKG_MALFORMED" in page
