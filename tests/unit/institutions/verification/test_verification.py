"""Presentations: every check and every code; no tampering is accepted."""

import json
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lowu.contracts.registry import (
    Accreditation,
    AnchorKind,
    AnchorState,
    Org,
    OrgKey,
    OrgStatus,
    RegistryErrorCode,
    RevokeReason,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.institutions.documents.document import Subject, build_owner_report
from lowu.institutions.exchange.consent import Purpose
from lowu.institutions.exchange.presentation import encode_presentation, seal, unseal
from lowu.institutions.exchange.request import decode_request, encode_request
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import (
    BatchPlace,
    Profile,
    compute_anchor,
    decode_package,
    encode_package,
)
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import Leaf, LeafType, compute_root
from lowu.institutions.package.multiproof import collect_siblings, compute_root_from
from lowu.institutions.verification.integrity import check_integrity
from lowu.institutions.verification.judging import SHOWN_MAX
from lowu.institutions.verification.verdicts import Check, Result, Verdict
from lowu.node.client import ClientError
from tests.unit.document_world import (
    HOLDER_KEY,
    ISSUER_KEY,
    NOVA_KEY,
    NOW_S,
    SUBJECT,
    Ledger,
    World,
    resigned,
    round_trip,
    scan_document,
)

BALANCE = "/loans/3/balance"


@pytest.fixture
def world():
    return World()


def fields_of(shown):
    return json.loads(encode_presentation(shown))


# --- valid presentations ------------------------------------------------------------------------


async def test_a_good_presentation_is_accepted(world):
    report = await world.verify(world.show())
    assert (report.verdict, report.codes) == (Verdict.ACCEPT, [])
    assert [line.check.value for line in report.lines] == [f"V{n}" for n in range(1, 10)]
    assert {line.result for line in report.lines} == {Result.PASS}


async def test_forms_survive_the_way(world):
    request = world.ask()
    assert decode_request(encode_request(request)) == request
    assert request.is_signed_by(NOVA_KEY.public_key)
    assert not replace(request, purpose="CARD").is_signed_by(NOVA_KEY.public_key)
    assert decode_package(encode_package(world.package)) == world.package
    shown = world.show(request)
    assert round_trip(shown) == shown
    unsigned = replace(shown, consent=None, holder_signature=b"")
    assert round_trip(unsigned) == unsigned


async def test_only_what_is_chosen_is_shown(world):
    shown = world.show(world.ask(fields=world.package.header.must_disclose))
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    assert b"legal_representative" not in encode_presentation(shown)
    assert len(encode_presentation(shown)) < len(encode_presentation(world.show())) / 3


async def test_a_request_of_some_fields_shows_no_others(world):
    request = world.ask(fields=("/summary",))
    shown = world.holder.build(world.doc_id, request, world.agree(request))
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    paths = {leaf.path for leaf in shown.disclosures}
    assert paths == {path for path in paths if path.startswith(("/summary", "/header"))}


def test_there_must_be_something_to_show(world):
    with pytest.raises(ValueError, match="none of its fields"):
        world.show(fields=())
    with pytest.raises(ValueError, match="has no field /nowhere"):
        world.show(fields=("/header", "/nowhere"))
    world.package = replace(
        world.package, anchors=(replace(world.package.anchors[0], audience="x"),)
    )
    world.holder.keep(world.package)
    with pytest.raises(KeyError, match="not issued for nova"):
        world.show()


def test_a_holder_notices_what_was_changed_on_its_way(world):
    package = world.package
    first = package.disclosures[0]
    anchor = replace(package.anchors[0], blind=b"b" * 32)
    shown = {leaf.index for leaf in package.disclosures}
    pad = next(index for index in range(len(package.leaves)) if index not in shown)
    with_other_pad = (*package.leaves[:pad], bytes(32), *package.leaves[pad + 1 :])
    for changes, text in (
        ({"disclosures": (replace(first, salt=bytes(32)), *package.disclosures[1:])}, first.path),
        ({"disclosures": (replace(first, index=len(package.leaves)),)}, first.path),
        ({"disclosures": package.disclosures[::-1]}, "not in order"),
        ({"anchors": ()}, "no anchor"),
        ({"leaves": package.leaves[:-1]}, ""),
        ({"leaves": with_other_pad}, "root"),
        ({"anchors": (anchor,)}, "anchor for nova"),
        ({"header": replace(package.header, sensitivity=0)}, "does not follow schema"),
        ({"header": replace(package.header, must_disclose=("",))}, "does not follow schema"),
        ({"header": replace(package.header, valid_until=NOW_S)}, "anchor for nova"),
        ({"header": replace(package.header, schema="xx/1")}, "xx/1 is not known"),
    ):
        with pytest.raises(FormError, match="damaged") as failure:
            world.keep(replace(package, **changes))
        assert text in str(failure.value)


BAD_LEAVES = [
    ("/a", "o", 15, ""),  # a pad
    ("/a", "o", 9, "md5:00:1:image/png"),
    ("/a", "o", 9, f"sha-256:{'00' * 32}:1"),
    ("/a", "o", 9, f"sha-256:{'00' * 32}:01:image/png"),
    ("/a", "o", 9, f"sha-256:{'00' * 32}:1:image"),
    ("/a", "", 5, "x"),
    ("/a", "oo", 5, "x"),
    ("/a", "x", 5, "x"),
    ("/a", "a", 5, "x"),  # not a position
    ("/01", "a", 5, "x"),
    ("a", "o", 5, "x"),  # not a pointer
    ("/~2", "o", 5, "x"),
    ("/a" * 33, "o" * 33, 5, "x"),
    ("/" + "a" * 1_024, "o", 5, "x"),
    ("/" + "\u540d" * 342, "o", 5, "x"),
    ("/a", "o", 2, "false"),  # N-M12
    ("/a", "o", 0, "null"),
    ("/a", "o", 3, "01"),
    ("/a", "o", 3, "-0"),
    ("/a", "o", 3, str(2**53)),  # N-D8
    ("/a", "o", 4, "1"),
    ("/a", "o", 4, "text"),
    ("/a", "o", 5, "1.5"),
    ("/a", "o", 5, "2026-02-28"),
    ("/a", "o", 6, "2026-02-30"),
    ("/a", "o", 7, ""),
    ("/a", "o", 7, "-1"),
    ("/a", "o", 8, "512"),
]
"""Path, kinds, type and value of leaves that no document has."""


# --- V1: form -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"[" * 100_000, bytes(5 * 1024 * 1024), b'{"format":"dvp1"}']
)
async def test_what_is_no_presentation(world, data):
    report = await world.verify(data)
    assert report.verdict is Verdict.REJECT
    assert report.codes[0].startswith("PKG_")
    assert {line.result for line in report.lines[1:]} == {Result.SKIPPED}


async def test_other_versions_and_forms(world):
    raw = fields_of(world.show())
    consent = raw["consent"]
    for part, code in (
        ({"format": "dvp1-presentation"}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": raw["header"] | {"v": 3}}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": raw["header"] | {"profile": "zip"}}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": raw["header"] | {"schema": "xx/1"}}, "PKG_UNSUPPORTED_VERSION"),
        ({"consent": consent | {"basis": "NONE"}}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": {}}, "PKG_MALFORMED"),
        ({"header": raw["header"] | {"sensitivity": True}}, "PKG_MALFORMED"),
        ({"header": raw["header"] | {"jurisdiction": "x" * 65}}, "PKG_MALFORMED"),
        ({"header": raw["header"] | {"must_disclose": [1]}}, "PKG_MALFORMED"),
        ({"anchor": []}, "PKG_MALFORMED"),
        ({"header": raw["header"] | {"issuer_org": 2**16}}, "PKG_MALFORMED"),
        ({"header": raw["header"] | {"supersedes": "x"}}, "PKG_MALFORMED"),
        ({"anchor": [*raw["anchor"][:5], ["00" * 32, 2**16, []], None]}, "PKG_MALFORMED"),
        ({"anchor": [*raw["anchor"][:5], None, "x"]}, "PKG_MALFORMED"),
        ({"anchor": ["nova", 2**16, *raw["anchor"][2:]]}, "PKG_MALFORMED"),
        ({"disclosures": [[0, "/a"]]}, "PKG_MALFORMED"),
        *(({"disclosures": [[0, *leaf, "00" * 32]]}, "PKG_MALFORMED") for leaf in BAD_LEAVES),
        ({"hashes": ["zz" * 32]}, "PKG_MALFORMED"),
        ({"hashes": ["0" * 62 + "  "]}, "PKG_MALFORMED"),
        ({"siblings": ["00" * 32] * 600}, "PKG_MALFORMED"),
        ({"consent": {}}, "PKG_MALFORMED"),
        ({"consent": consent | {"is_sensitive": 1}}, "PKG_MALFORMED"),
        ({"nonce": ""}, "PKG_MALFORMED"),
        ({"request": "00"}, "PKG_MALFORMED"),
        ({"holder_signature": "00"}, "PKG_MALFORMED"),
        ({"more": 1}, "PKG_MALFORMED"),
    ):
        report = await world.verify(encode_canonical(raw | part))
        assert report.codes[0].startswith(code), part
        assert report.verdict is Verdict.REJECT


# --- V2: integrity ------------------------------------------------------------------------------


def tampered(shown):
    """Yield changes that the holder signs, each with the code to be reported."""
    leaf = next(item for item in shown.disclosures if item.path == BALANCE)
    at = shown.disclosures.index(leaf)

    def with_leaf(**changes):
        changed = replace(leaf, **changes)
        parts = (*shown.disclosures[:at], changed, *shown.disclosures[at + 1 :])
        return {"disclosures": parts}

    field = f"TAMPERED_FIELD({BALANCE})"
    yield with_leaf(value="1.00"), field
    yield with_leaf(type=LeafType.STRING, value="x"), field
    yield with_leaf(salt=leaf.salt[:-1] + bytes([leaf.salt[-1] ^ 1])), field
    yield with_leaf(path=BALANCE + "x"), f"TAMPERED_FIELD({BALANCE}x)"
    first, second, *rest = shown.disclosures
    order = "PROOF_INVALID(order of fields)"
    yield {"disclosures": (second, first, *rest)}, order
    yield {"disclosures": (first, first, second, *rest)}, order
    yield {"hashes": shown.hashes[1:]}, order
    yield {"hashes": (b"x" * 32, *shown.hashes[1:])}, "PROOF_INVALID(root)"
    yield {"siblings": (*shown.siblings, bytes(32))}, "PROOF_INVALID(root)"
    yield {"siblings": shown.siblings[1:]}, "PROOF_INVALID(root)"
    last = shown.header.leaf_count - 1
    extra = Leaf(last, "/zzz", "o", LeafType.ARRAY, "0", b"\xff" * 32)
    added = {"disclosures": (*shown.disclosures, extra), "hashes": (*shown.hashes, bytes(32))}
    yield added, "TAMPERED_FIELD(/zzz)"
    yield {"issuer_signature": b"s" * 64}, "SIG_INVALID"
    head = shown.header
    for name, value in {
        "report_time": head.report_time + 1, "valid_until": head.valid_until + 1,
        "root": "ab" * 32, "doc_id": "cd" * 16, "must_disclose": (), "schema": "grp.kyc/1",
        "issuer_org": 2, "key_id": 2, "leaf_count": 64, "sensitivity": 0, "jurisdiction": "HK",
        "subject_commitment": "12" * 32, "supersedes": "34" * 32, "profile": Profile.FILE_BLIND,
    }.items():  # fmt: skip
        yield {"header": replace(head, **{name: value})}, "TAMPERED_HEADER"
    yield {"anchor": replace(shown.anchor, blind=b"b" * 32)}, "TAMPERED_HEADER"
    yield {"anchor": replace(shown.anchor, anchor=b"b" * 32)}, "NOT_REGISTERED"
    yield {"anchor": replace(shown.anchor, org=3)}, "TAMPERED_HEADER"
    yield {"anchor": replace(shown.anchor, org=3)}, "WRONG_AUDIENCE(nova)"
    yield {"anchor": replace(shown.anchor, audience="bea-hk")}, "WRONG_AUDIENCE(bea-hk)"
    yield {"request": b"r" * 32}, "HOLDER_MISMATCH(answers another request)"
    place = BatchPlace(b"r" * 32, 0, ())
    yield {"anchor": replace(shown.anchor, batch=place)}, "NOT_REGISTERED"


async def test_no_single_change_by_a_holder_is_accepted(world, monkeypatch):
    monkeypatch.setattr("lowu.institutions.roles.verifier.AGREE_WAIT_S", 0.2)
    fields = ("/header", "/summary", BALANCE)
    shown = world.show(world.ask(fields=fields))
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    for changes, code in tampered(shown):
        report = await world.verify(resigned(shown, **changes))
        assert report.verdict is Verdict.REJECT, changes
        assert code in report.codes, (changes, report.codes)


async def test_no_changed_bit_is_accepted(world):
    data = encode_presentation(world.show(fields=("/header", "/summary")))
    for position in range(0, len(data), 13):
        for bit in (0, 6):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            report = await world.verify(bytes(changed))
            assert report.verdict is Verdict.REJECT, (position, bit)


@given(st.data())
def test_a_multiproof_shows_what_it_shows(data):
    hashes = data.draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40))
    shown = data.draw(st.sets(st.integers(0, len(hashes) - 1), min_size=1))
    siblings = collect_siblings(hashes, shown)
    known = {index: hashes[index] for index in shown}
    root = compute_root(hashes)
    assert compute_root_from(len(hashes), known, siblings) == root
    victim = data.draw(st.sampled_from(sorted(shown)))
    wrong = known | {victim: bytes(b ^ 1 for b in known[victim])}
    assert compute_root_from(len(hashes), wrong, siblings) != root
    assert compute_root_from(len(hashes), known, (*siblings, bytes(32))) is None
    assert compute_root_from(len(hashes), known | {len(hashes): bytes(32)}, siblings) is None
    if siblings:
        assert compute_root_from(len(hashes), known, siblings[:-1]) is None
    assert compute_root_from(len(hashes), {}, (root,)) is None


async def test_mandatory_fields_cannot_be_hidden(world):
    report = await world.verify(world.show(world.ask(fields=("/basic",)), ("/basic",)))
    must = world.package.header.must_disclose
    assert report.codes == [f"MANDATORY_FIELD_HIDDEN({path})" for path in must]


@pytest.mark.parametrize("profile", [Profile.FILE_PLAIN, Profile.FILE_BLIND, Profile.FIELDS])
async def test_files(profile):
    document = scan_document()
    world = World(document, profile)
    data = document.content["file"].data
    if profile is Profile.FILE_PLAIN:
        assert world.package.anchors[0].anchor == document.content["file"].digest
    shown = world.show()
    wrong = await world.verify(shown, files={"/file": data + b" "})
    assert "TAMPERED_FIELD(/file)" in wrong.codes
    report = await world.verify(shown, files={"/file": data})
    if profile is Profile.FIELDS:  # its schema demands fields that a scan lacks
        assert {code.split("(")[0] for code in report.codes} == {"MANDATORY_FIELD_HIDDEN"}
    elif profile is Profile.FILE_BLIND:
        assert report.codes == []
    else:  # its anchor is for nobody in particular
        assert report.codes == ["NOT_PROMISED(profile file-plain: for which receiver)"]
        assert report.verdict is Verdict.INDETERMINATE
    assert report[Check.INTEGRITY].evidence["files_compared"] == 1
    report = await world.verify(shown)
    assert "ATTACHMENT_MISSING(/file)" in report.codes
    assert report.verdict is not Verdict.ACCEPT
    report = await world.verify(shown, files={"/file": data, "/File": data})
    assert "ATTACHMENT_UNEXPECTED(/File)" in report.codes
    assert report.verdict is Verdict.REJECT


async def test_beside_a_file_there_is_nothing(monkeypatch):
    """A document with fields, under a profile without mandatory fields, hid what it has to show."""
    document = scan_document()
    larger = replace(document, content={**document.content, "summary": {"overdue_accounts": 3}})
    with pytest.raises(ValueError, match="for one file"):
        World(larger, Profile.FILE_BLIND)
    fields = World(larger)
    header = replace(fields.package.header, profile=Profile.FILE_BLIND, must_disclose=("/file",))
    (item,) = fields.package.anchors
    anchor = compute_anchor(header, item.org, item.blind, document.content["file"].digest)
    signature = ISSUER_KEY.sign(header.doc_digest)
    forged = replace(
        fields.package,
        header=header,
        anchors=(replace(item, anchor=anchor),),
        issuer_signature=signature,
    )
    with pytest.raises(FormError, match="one file, and nothing beside it"):
        fields.keep(forged)
    fields.holder.keep(forged)
    fields.ledger.register(header, anchor)
    shown = fields.show(fields.ask(fields=("/file",)))
    report = await fields.verify(shown, files={"/file": document.content["file"].data})
    assert report[Check.INTEGRITY].result is Result.FAIL
    assert str(report[Check.INTEGRITY].findings[0]) == "TAMPERED_HEADER"


# --- V3 to V6: issuer, anchor, status, time -----------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"org": Org(bytes(32), 0, 0, OrgStatus.UNKNOWN, 0, 0, 0, 0, 0)}, "ISSUER_UNKNOWN(1)"),
        (
            {"org": Org(bytes(32), 1, 3, OrgStatus.SUSPENDED, 0, 0, 0, 0, 0)},
            "ISSUER_SUSPENDED(SUSPENDED)",
        ),
        (
            {"org": Org(bytes(32), 1, 3, OrgStatus.ACTIVE, 0, 0, 0, 0, NOW_S + 61)},
            "ISSUER_SUSPENDED(by a regulator)",
        ),
        ({"accreditations": (Accreditation(False, 0, 0),)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"accreditations": (Accreditation(True, 0, 5),)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"accreditations": (Accreditation(True, 6, 0),)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"key": OrgKey(1, 0, 5, 0, ISSUER_KEY.public_key)}, "KEY_RETIRED_BEFORE(5)"),
        ({"key": OrgKey(1, 0, 0, 5, ISSUER_KEY.public_key)}, "KEY_COMPROMISED(5)"),
        ({"key": OrgKey(1, 0, 0, 0, HOLDER_KEY.public_key)}, "SIG_INVALID"),
        ({"key": OrgKey(0, 0, 0, 0, b"")}, "SIG_INVALID"),
        ({"records": {}}, "NOT_REGISTERED"),
        ({"time_s": NOW_S - 3 * DAY_S}, "NOT_YET_VALID"),
        ({"time_s": NOW_S + 40 * DAY_S}, "EXPIRED"),
        ({"time_s": NOW_S + 40 * DAY_S}, "STALE"),
    ],
)
async def test_issuer_and_time(world, changes, code):
    shown = world.show()
    for name, value in changes.items():
        setattr(world.ledger, name, value)
    report = await world.verify(shown)
    assert report.verdict is Verdict.REJECT
    assert code in report.codes


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": AnchorState.PENDING_WITNESS}, "PENDING_WITNESS"),
        ({"registered_height": 11}, "NOT_FINAL(11)"),
        ({"state": AnchorState.REVOKED, "reason": RevokeReason.DISPUTED}, "REVOKED(DISPUTED)"),
        ({"state": AnchorState.REVOKED, "reason": 14}, "REVOKED(14)"),
        ({"state": AnchorState.SUSPENDED}, "SUSPENDED"),
        ({"state": AnchorState.SUPERSEDED}, f"SUPERSEDED({'00' * 32})"),
        ({"state": AnchorState.ERASED}, "ERASED"),
        ({"registered_time": NOW_S + 2 * DAY_S}, "REGISTERED_LATE"),
        ({"registered_time": NOW_S - 121}, "NOT_YET_VALID(issued after it was registered)"),
        ({"schema": 4}, "TAMPERED_HEADER(differs from the record)"),
        ({"valid_until_day": 1}, "TAMPERED_HEADER(differs from the record)"),
        ({"suite": 2}, "TAMPERED_HEADER(differs from the record)"),
    ],
)
async def test_record(world, changes, code, monkeypatch):
    monkeypatch.setattr("lowu.institutions.roles.verifier.AGREE_WAIT_S", 0.1)
    ((anchor, record),) = world.ledger.records.items()
    world.ledger.records[anchor] = replace(record, **changes)
    report = await world.verify(world.show())
    assert report.verdict is Verdict.REJECT
    assert code in report.codes


async def test_a_renewed_accreditation_covers_what_came_before(world):
    """N-M4."""
    world.ledger.accreditations = (Accreditation(True, 0, 6), Accreditation(True, 8, 0))
    assert (await world.verify(world.show())).verdict is Verdict.ACCEPT


async def test_keys_retired_or_compromised_later_do_not_matter(world):
    world.ledger.key = OrgKey(1, 0, 6, 6, ISSUER_KEY.public_key)
    assert (await world.verify(world.show())).verdict is Verdict.ACCEPT


async def test_a_receivers_own_limit_of_age(world):
    for limit_s in (30, 0):
        world.nova = world.verifier(max_age_s=limit_s)
        assert (await world.verify(world.show())).codes == ["STALE"]


async def test_one_document_of_a_batch(world):
    place = BatchPlace(b"r" * 32, 3, (b"p" * 32,))
    anchor = replace(world.package.anchors[0], batch=place)
    world.keep(replace(world.package, anchors=(anchor,)))
    world.ledger.records.clear()
    world.ledger.register(world.package.header, place.root, AnchorKind.BATCH)
    shown = world.show()
    assert (await world.verify(shown)).codes == ["NOT_REGISTERED"]
    key = (place.root, anchor.anchor, 3, place.path)
    world.ledger.leaves[key] = (AnchorState.ACTIVE, 0)
    assert (await world.verify(shown)).codes == []
    world.ledger.leaves[key] = (AnchorState.REVOKED, RevokeReason.ISSUED_IN_ERROR)
    assert (await world.verify(shown)).codes == ["REVOKED(ISSUED_IN_ERROR)"]


# --- V7: holder ---------------------------------------------------------------------------------


async def test_who_is_not_the_holder_is_refused(world):
    shown = world.show()
    report = await world.verify(replace(shown, holder_signature=b""))
    assert report.codes == ["HOLDER_PROOF_MISSING"]
    report = await world.verify(shown.signed(ISSUER_KEY))
    assert report.codes == ["HOLDER_MISMATCH"]
    other = Subject("USCC", "91440305MA5DEM020G")
    assert (await world.verify(shown, other)).codes == ["SUBJECT_MISMATCH"]


async def test_what_answers_no_request_of_ours_is_refused(world):
    report = await world.verify(resigned(world.show(), nonce=b"n" * 16))
    assert report.codes == ["HOLDER_MISMATCH(answers no request of ours)"]


# --- V8: consent --------------------------------------------------------------------------------


async def test_no_consent_no_acceptance(world):
    report = await world.verify(resigned(world.show(), consent=None))
    assert report.codes == ["CONSENT_MISSING"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"receiver": "bea-hk"}, "WRONG_AUDIENCE(bea-hk)"),
        ({"purpose": Purpose.KYC_REFRESH}, "PURPOSE_MISMATCH(KYC_REFRESH)"),
        ({"doc_id": "00" * 16}, "CONSENT_MISSING(for another document)"),
        ({"receiver_org": 9}, "WRONG_AUDIENCE(nova)"),
        ({"provider_org": 9}, "CONSENT_MISSING(for another document)"),
        ({"is_cross_border": False}, "CONSENT_MISSING(not across the boundary)"),
        ({"expires_at": NOW_S + 60}, "CONSENT_EXPIRED"),
        ({"fields": ("/header",)}, "FIELDS_NOT_CONSENTED(/summary)"),
        ({"holder_key": "00" * 64}, "CONSENT_MISSING(not signed by the holder)"),
    ],
)
async def test_consent_to_something_else(world, changes, code):
    request = world.ask(fields=("/summary",))
    receipt = replace(world.agree(request), **changes).signed(HOLDER_KEY)
    world.ledger.log(receipt)
    report = await world.verify(world.holder.build(world.doc_id, request, receipt))
    assert report.verdict is Verdict.REJECT
    assert code in report.codes
    assert {finding.split("(")[0] for finding in report.codes} == {code.split("(")[0]}


async def test_sensitive_data_need_a_box_of_their_own():
    document = build_owner_report(1, NOW_S)
    world = World(document)
    world.ledger.schema_hash = SCHEMAS[document.schema].digest
    for record in list(world.ledger.records):
        world.ledger.records[record] = replace(world.ledger.records[record], schema=3)
    request = world.ask()
    receipt = replace(world.agree(request), is_sensitive=False).signed(HOLDER_KEY)
    world.ledger.log(receipt)
    shown = world.holder.build(world.doc_id, request, receipt)
    report = await world.verify(shown, document.subject)
    assert report.codes == ["CONSENT_MISSING(not for sensitive data)"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"granted_height": 0}, "CONSENT_MISSING(not on the ledger)"),
        ({"withdrawn_height": 9}, "CONSENT_WITHDRAWN(9)"),
        ({"expires_at_s": 5}, "CONSENT_MISSING(differs from the ledger)"),
    ],
)
async def test_consent_on_the_ledger(world, changes, code):
    shown = world.show()
    world.ledger.log(shown.consent, **changes)
    assert (await world.verify(shown)).codes == [code]


async def test_two_consents_of_one_holder_cannot_be_linked_on_the_ledger(world):
    one, two = (world.agree(world.ask()) for _ in range(2))
    assert one.ledger_key != two.ledger_key
    assert one.digest != two.digest


# --- V9: replay, and sealing --------------------------------------------------------------------


async def test_what_was_for_another_is_refused(world):
    bea = world.verifier("bea-hk")
    report = await world.verify(world.show(), verifier=bea)
    codes = [code.split("(")[0] for code in report.codes]
    assert codes == ["HOLDER_MISMATCH", "WRONG_AUDIENCE", "WRONG_AUDIENCE"]


async def test_too_late(world):
    request = world.ask()
    shown = world.show(request)
    world.ledger.time_s = request.expires_at
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    world.ledger.time_s += 1
    assert (await world.verify(shown)).codes == ["PRESENTATION_EXPIRED"]


async def test_a_presentation_is_used_up(world):
    request = world.ask()
    sealed = world.holder.present(world.doc_id, request, world.agree(request))
    first, second = [await world.nova.receive(sealed, SUBJECT) for _ in range(2)]
    assert first.verdict is Verdict.ACCEPT
    assert second.codes == ["REPLAYED"]


async def test_what_the_ledger_has_used_up_is_not_shown_again(world):
    shown = world.show()
    world.ledger.consumed[2, shown.id] = 9
    assert (await world.verify(shown)).codes == ["REPLAYED"]


class Refusing:
    """A signer whose transactions all fail with the same error."""

    def __init__(self, error):
        self.error = error

    async def send(self, to, data):
        raise self.error


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [
        (
            RegistryRefused(RegistryErrorCode.PRESENTATION_CONSUMED, ""),
            Verdict.REJECT,
            "REPLAYED",
        ),
        (
            ClientError("gone"),
            Verdict.INDETERMINATE,
            "FRESHNESS_UNKNOWN(not known to be used up: gone)",
        ),
    ],
)
async def test_who_comes_second_on_the_ledger_is_refused(world, error, verdict, code):
    world.nova = world.verifier(signer=Refusing(error))
    request = world.ask()
    sealed = world.holder.present(world.doc_id, request, world.agree(request))
    report = await world.nova.receive(sealed, SUBJECT)
    assert (report.verdict, report.codes) == (verdict, [code])


class TooLate:
    """A signer that is refused for its consent, after a change on the ledger."""

    def __init__(self, ledger, happen):
        self.ledger = ledger
        self.happen = happen

    async def send(self, to, data):
        self.happen(self.ledger)
        raise RegistryRefused(RegistryErrorCode.CONSENT_NOT_LIVE, "")


def withdraw(ledger):
    ((known, consent),) = ledger.consents.items()
    ledger.consents[known] = replace(consent, withdrawn_height=9)


def pass_time(ledger):
    ledger.time_s += 400 * DAY_S


def break_down(ledger):
    ledger.is_down = True


def refuse_to_read(ledger):
    async def get_consent(consent):
        raise RegistryRefused(None, "internal error")

    ledger.get_consent = get_consent


@pytest.mark.parametrize(
    ("happen", "code"),
    [
        (withdraw, "CONSENT_WITHDRAWN(9)"),
        (pass_time, "CONSENT_EXPIRED"),
        (break_down, "CONSENT_MISSING(not live on the ledger)"),
        (refuse_to_read, "CONSENT_MISSING(not live on the ledger)"),
        (lambda ledger: None, "CONSENT_MISSING(not live on the ledger)"),
    ],
)
async def test_a_consent_that_ends_before_the_presentation_is_used_up(world, happen, code):
    world.nova = world.verifier(signer=TooLate(world.ledger, happen))
    request = world.ask()
    sealed = world.holder.present(world.doc_id, request, world.agree(request))
    report = await world.nova.receive(sealed, SUBJECT)
    assert (report.verdict, report.codes) == (Verdict.REJECT, [code])


async def test_a_ledger_that_refuses_for_other_reasons_is_an_error(world):
    world.nova = world.verifier(signer=Refusing(RegistryRefused(None, "no")))
    request = world.ask()
    sealed = world.holder.present(world.doc_id, request, world.agree(request))
    with pytest.raises(RegistryRefused):
        await world.nova.receive(sealed, SUBJECT)


async def test_sealed_for_one_receiver_and_one_password(world):
    request = world.ask()
    receipt = world.agree(request)
    sealed = world.holder.present(world.doc_id, request, receipt, password="8 words")
    assert b"header" not in sealed
    for password in ("", "9 words"):
        report = await world.nova.receive(sealed, SUBJECT, password=password)
        assert report.codes[0].startswith("PKG_MALFORMED")
    report = await world.nova.receive(sealed, SUBJECT, password="8 words")
    assert report.verdict is Verdict.ACCEPT
    report = await world.verifier("bea-hk").receive(sealed, SUBJECT)
    assert report.codes == [
        "PKG_MALFORMED(not sealed for any request that this institution has made)"
    ]
    with pytest.raises(FormError):
        unseal(b"x" * 16, bytes(32))
    with pytest.raises(FormError):
        unseal(seal(b"data", request), b"\x01" * 32)


# --- nodes that do not answer, and nodes that lie -------------------------------------------------


async def test_no_node_no_verdict(world, monkeypatch):
    monkeypatch.setattr("lowu.institutions.roles.verifier.AGREE_WAIT_S", 0.1)
    shown = world.show()
    world.ledger.is_down = True
    report = await world.verify(shown)
    assert report.verdict is Verdict.INDETERMINATE
    assert {code.split("(")[0] for code in report.codes} == {"FRESHNESS_UNKNOWN"}
    wrong = resigned(shown, siblings=shown.siblings[1:], hashes=shown.hashes[::-1])
    assert (await world.verify(wrong)).verdict is Verdict.REJECT
    other = await world.verify(resigned(shown, anchor=replace(shown.anchor, audience="bea-hk")))
    assert "WRONG_AUDIENCE(bea-hk)" in other.codes


async def test_sides_that_disagree(world, monkeypatch):
    monkeypatch.setattr("lowu.institutions.roles.verifier.AGREE_WAIT_S", 0.1)
    liar = Ledger("http://two")
    liar.records, liar.consents = dict(world.ledger.records), world.ledger.consents
    world.nova = world.verifier(other_sides=[liar])
    report = await world.verify(world.show())
    assert report.verdict is Verdict.ACCEPT
    assert report[Check.ANCHOR].evidence["nodes_asked"] == 2
    ((anchor, record),) = liar.records.items()
    liar.records[anchor] = replace(record, registered_time=NOW_S + 7)
    report = await world.verify(world.show())
    assert report.verdict is Verdict.INDETERMINATE
    assert report.codes == ["FRESHNESS_UNKNOWN(the sides disagree)"]
    liar.records[anchor] = replace(record, state=AnchorState.REVOKED, reason=1)
    report = await world.verify(world.show())
    assert report.verdict is Verdict.REJECT
    assert "REVOKED(CORRECTED)" in report.codes
    liar.is_down = True
    report = await world.verify(world.show())
    assert report.verdict is Verdict.INDETERMINATE


class Hanging(Ledger):
    """A node that accepts a request and never answers."""

    async def read_facts(self, query, block_hash):
        await trio.sleep_forever()


async def test_a_side_that_hangs_keeps_nobody_s_answer_back(world, autojump_clock):
    hanging = Hanging("http://two")
    for ledgers in ((world.ledger, hanging), (hanging, world.ledger)):
        world.nova = world.verifier(registry=ledgers[0], other_sides=ledgers[1:])
        assert (await world.verify(world.show())).verdict is Verdict.INDETERMINATE
    ((anchor, record),) = world.ledger.records.items()
    world.ledger.records[anchor] = replace(record, state=AnchorState.REVOKED, reason=1)
    report = await world.verify(world.show())
    assert report.verdict is Verdict.REJECT and "REVOKED(CORRECTED)" in report.codes


async def test_a_node_that_is_behind_is_waited_for(world, autojump_clock):
    shown = world.show()
    late = replace(shown.anchor, registered_height=11)
    shown = resigned(shown, anchor=late)
    asked = 0

    async def get_latest_block():
        nonlocal asked
        asked += 1
        return {"number": 8 + asked, "hash": "0xb", "time": NOW_S + 60}

    world.ledger.get_latest_block = get_latest_block
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    assert asked == 3


def test_two_audiences_share_nothing_on_the_ledger(world):
    other = World()
    assert world.package.anchors[0].anchor != other.package.anchors[0].anchor
    assert world.package.header.subject_commitment != other.package.header.subject_commitment


def test_the_checks_are_bounded(world):
    shown = world.show()
    wrong = resigned(shown, hashes=tuple(bytes(32) for _ in shown.hashes))
    line = check_integrity(wrong, {}, SCHEMAS["cn.ecr/1"])
    assert len(line.findings) == SHOWN_MAX + 1


async def test_without_a_route_it_may_not_be_used_here(world):
    shown = world.show()
    world.ledger.routes.remove((1, 2))
    report = await world.verify(shown)
    assert report.codes == ["JURISDICTION_RULE(no route from SZ)"]
    world.ledger.routes |= {(1, 2)}
    world.ledger.org = replace(world.ledger.org, jurisdiction=3)
    report = await world.verify(shown)
    assert report.codes == ["JURISDICTION_RULE(the issuer is not of SZ)"]
