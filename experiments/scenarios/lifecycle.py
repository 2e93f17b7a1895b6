"""Documents after issuance: corrected, outdated, witnessed, revoked, erased."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import trio

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    AnchorState,
    Jurisdiction,
    RevokeReason,
    Role,
    Suite,
    hash_function,
    org_function,
)
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.experiments.actors.actors import EVERYTHING, Actors
from lowu.experiments.scenarios.presenting import ACME_USCC, issue_report, wait_for_block_time
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import Document, build_enterprise_report, build_kyc_file
from lowu.institutions.documents.personal import (
    build_health_extract,
    build_hk_personal_report,
    build_transcript,
)
from lowu.institutions.exchange.consent import Purpose
from lowu.institutions.exchange.erasure import find_flaw
from lowu.institutions.exchange.trust import decode_trust, encode_trust, read_trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.format import Package
from lowu.institutions.package.leaves import Attachment
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Holder
from lowu.institutions.roles.issuer import Issued
from lowu.institutions.verification.verdicts import Check, Report, Verdict
from lowu.node.topology.plan import derive_key

STUDENTS = 500
WORKERS = 20


async def play_corrected(stage: Stage) -> None:
    """Play E4: a report is superseded by a corrected one, then another is revoked."""
    actors = stage.actors
    document, old = await issue_report(actors, 204, "bea-hk")
    first_height = old.package.anchors[0].registered_height
    report = await actors.hand_over("acme-sz", old, document, "bea-hk")
    stage.verdict("the report before the dispute", "ACCEPT", report)
    newer_document = build_enterprise_report(205, actors.now_s(), ACME_USCC)
    newer = await actors.issue("szcredit", newer_document, "acme-sz", "bea-hk")
    await actors.supersede("szcredit", old.anchor, newer.anchor)
    report = await actors.hand_over("acme-sz", old, document, "bea-hk")
    stage.verdict("the superseded report", f"REJECT SUPERSEDED({newer.anchor.hex()})", report)
    state = await _read_state_at(actors, "szcredit", old.anchor, first_height)
    stage.fact("its state when it was registered", AnchorState.ACTIVE.name, state)
    report = await actors.hand_over("acme-sz", newer, newer_document, "bea-hk")
    stage.verdict("the corrected report", "ACCEPT", report)
    await show_revoked(stage)


async def show_revoked(stage: Stage) -> None:
    """Show a report that was revoked."""
    document, issued = await issue_report(stage.actors, 207)
    await stage.actors.revoke("szcredit", issued.anchor)
    report = await stage.actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a company shows a revoked report", "REJECT REVOKED(CORRECTED)", report)


async def _read_state_at(actors: Actors, issuer: str, anchor: bytes, height: int) -> str:
    call = hash_function("getStatusAt")
    data = call.encode_call(actors.issuers[issuer].member.org_id, anchor, height)
    message = {"to": "0x" + HASH_REGISTRY_ADDRESS.hex(), "data": "0x" + data.hex()}
    answer = await actors.clients["bea-hk"].call("eth_call", message, "latest")
    return AnchorState(call.decode_output(bytes.fromhex(answer[2:]))[0]).name


async def play_old(stage: Stage) -> None:
    """Play E5: reports of different ages, and one whose validity ends."""
    actors = stage.actors
    now_s = actors.now_s()
    for days, expected in ((29, "ACCEPT"), (31, "REJECT STALE")):
        document = build_enterprise_report(205 + days, now_s - days * DAY_S, ACME_USCC)
        issued = await actors.issue_unchecked("szcredit", document, "acme-sz", "nova")
        report = await actors.hand_over("acme-sz", issued, document, "nova")
        stage.verdict(f"a report {days} days old", expected, report)
    try:
        await actors.issue("szcredit", document, "acme-sz", "nova")
        told = "issued"
    except ValueError as error:
        told = str(error).partition(",")[0]
    stage.fact("an issuer's desk, asked for that", "report_time is 31 days ago", told)
    document = build_enterprise_report(250, now_s, ACME_USCC)
    issued = await actors.issue_unchecked(
        "szcredit", document, "acme-sz", "nova", valid_until_s=now_s + 4
    )
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a report seconds before its validity ends", "ACCEPT", report)
    await wait_for_block_time(actors, now_s + 5)
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("the same report a second after that", "REJECT EXPIRED", report)


@dataclass(frozen=True, slots=True)
class _Direction:
    """A transfer from one bank of a group to the other."""

    issuer: str
    receiver: str
    holder: str
    is_hong_kong: bool


_SOUTH = _Direction("bea-cn", "bea-hk", "corp-sz", is_hong_kong=False)
_NORTH = _Direction("bea-hk", "bea-cn", "corp-hk", is_hong_kong=True)


async def _show_file(stage: Stage, way: _Direction) -> tuple[Document, Issued]:
    actors = stage.actors
    document = build_kyc_file(210, actors.now_s(), is_hong_kong=way.is_hong_kong)
    issued = await actors.issue(way.issuer, document, way.holder, way.receiver)
    report = await actors.hand_over(
        way.holder, issued, document, way.receiver, purpose=Purpose.KYC_REFRESH
    )
    stage.verdict(f"a company file goes from {way.issuer} to {way.receiver}", "ACCEPT", report)
    return document, issued


async def show_file_south(stage: Stage) -> None:
    """Show a company file of the mainland bank to the Hong Kong bank."""
    await _show_file(stage, _SOUTH)


async def show_file_north(stage: Stage) -> None:
    """Show a company file of the Hong Kong bank to the mainland bank."""
    await _show_file(stage, _NORTH)


async def play_group(stage: Stage) -> None:
    """Play E10: two banks of one group exchange company files."""
    actors = stage.actors
    for way in (_SOUTH, _NORTH):
        issuer, receiver, holder = way.issuer, way.receiver, way.holder
        document, issued = await _show_file(stage, way)
        doc_id = issued.package.header.doc_id
        request = actors.ask(receiver, document, Purpose.KYC_REFRESH)
        sealed = actors.holders[holder].present(doc_id, request, None)
        report = await actors.verifiers[receiver].receive(sealed, document.subject)
        stage.verdict("within one group, without consent", "REJECT CONSENT_MISSING", report)
        newer_document = build_kyc_file(211, actors.now_s(), is_hong_kong=way.is_hong_kong)
        newer = await actors.issue(issuer, newer_document, holder, receiver)
        height = await actors.supersede(issuer, issued.anchor, newer.anchor)
        seen = await actors.find_events(receiver, "AnchorSuperseded", issued.anchor, height)
        stage.fact(f"events at {receiver} that the file was superseded", 1, len(seen))


async def play_northbound(stage: Stage) -> None:
    """Play E11: personal reports go north and need a witness of the other side."""
    actors = stage.actors
    await actors.register_schema("hk.pcr/1", min_witness=1, is_cross_witnessed=True)
    issuing, hk = Role.ADMIN | Role.ISSUER, Jurisdiction.HK
    await actors.admit("transunion-hk", hk, issuing, ["hk.pcr/1"], via="fusion")
    sz = Jurisdiction.SZ
    await actors.admit("abc-sz", sz, Role.ADMIN | Role.VERIFIER, [], via="webank")
    await actors.admit("notary-sz", sz, Role.ADMIN | Role.WITNESS, [], via="baihang")
    residents = ("owner", "corp-hk", "mallory")
    for number, holder in enumerate(residents):
        document = build_hk_personal_report(220 + number, actors.now_s())
        issued = await actors.issue("transunion-hk", document, holder, "abc-sz")
        if number == 0:
            report = await actors.hand_over(holder, issued, document, "abc-sz")
            stage.verdict("resident 1, before attestation", "REJECT PENDING_WITNESS", report)
        await actors.witness("notary-sz", "transunion-hk", issued.anchor)
        if number < 2:
            report = await actors.hand_over(holder, issued, document, "abc-sz")
            stage.verdict(f"resident {number + 1}, after attestation", "ACCEPT", report)
            continue
        request = actors.ask("abc-sz", document)
        sealed = actors.holders[holder].present(issued.package.header.doc_id, request, None)
        report = await actors.verifiers["abc-sz"].receive(sealed, document.subject)
        stage.verdict("resident 3, without consent", "REJECT CONSENT_MISSING", report)


async def play_health(stage: Stage) -> None:
    """Play E12: a health extract with a password and an image, checked online and offline."""
    actors = stage.actors
    await actors.register_schema("hk.ehr/1")
    issuing = Role.ADMIN | Role.ISSUER
    await actors.admit("hk-ehealth", Jurisdiction.HK, issuing, ["hk.ehr/1"], via="hkstp")
    verifying = Role.ADMIN | Role.VERIFIER
    await actors.admit("sz-clinic", Jurisdiction.SZ, verifying, [], via="webank")
    document = build_health_extract(230, actors.now_s())
    image: Attachment = document.content["radiology"]["image"]
    files = {"/radiology/image": image.data}
    issued = await actors.issue("hk-ehealth", document, "mallory", "sz-clinic")  # a proxy
    doc_id = issued.package.header.doc_id
    proxy = actors.holders["mallory"]
    request = actors.ask("sz-clinic", document, Purpose.CARE)
    receipt = await actors.agree("mallory", doc_id, request)
    sealed = proxy.present(doc_id, request, receipt, password="apple boat cedar")  # noqa: S106
    clinic = actors.verifiers["sz-clinic"]
    report = await clinic.receive(sealed, document.subject, password="apple boat", files=files)  # noqa: S106
    stage.verdict("the extract with a wrong password", "REJECT PKG_MALFORMED", report)
    known = [(issuer.member.org_id, issuer.member.key_id) for issuer in actors.issuers.values()]
    registry = Registry(actors.clients["sz-clinic"])
    trust = await read_trust(registry, actors.org_ids.values(), known)
    is_kept = decode_trust(encode_trust(trust)) == trust
    stage.fact("the trust file keeps validators and keys", True, is_kept)
    offline = clinic.trusting(trust)
    own = offline.request(
        schema=document.schema, purpose=Purpose.CARE, now_s=actors.now_s(), fields=EVERYTHING
    )
    sealed_own = proxy.present(doc_id, own, await actors.agree("mallory", doc_id, own))
    report = await offline.receive(sealed_own, document.subject, files=files)
    stage.verdict("the extract at an offline clinic", "INDETERMINATE FRESHNESS_UNKNOWN", report)
    offline_checks = (Check.INTEGRITY, Check.ISSUER, Check.ANCHOR)
    shown = [report[check].result.value for check in offline_checks]
    stage.fact("offline checks of integrity, issuer and registration", ["PASS"] * 3, shown)
    foreign = clinic.trusting(replace(trust, validators=trust.validators[1:]))
    report = await foreign.receive(sealed_own, document.subject, files=files)
    unsettled = "INDETERMINATE FRESHNESS_UNKNOWN"
    stage.verdict("the proof with other trusted validators", unsettled, report)
    other = clinic.trusting(replace(trust, chain_id="another"))
    report = await other.receive(sealed_own, document.subject, files=files)
    stage.verdict("the proof on another chain", "REJECT PROOF_INVALID", report)
    report = await clinic.receive(
        sealed,
        document.subject,
        password="apple boat cedar",  # noqa: S106
        files={"/radiology/image": image.data[:-1] + b"x"},
    )
    stage.verdict("extract with another image", "REJECT TAMPERED_FIELD(/radiology/image)", report)
    report = await clinic.receive(
        sealed,
        document.subject,
        password="apple boat cedar",  # noqa: S106
        files=files,
    )
    stage.verdict("the extract online, with password and image", "ACCEPT", report)


def _draw_key() -> DocumentKey:
    return DocumentKey((int.from_bytes(secrets.token_bytes(32), "big") >> 1).to_bytes(32, "big"))


async def play_students(stage: Stage) -> None:
    """Play E13: a batch of transcripts, of which one is revoked."""
    actors = stage.actors
    await actors.register_schema("cn.edu/1")
    issuing, sz = Role.ADMIN | Role.ISSUER, Jurisdiction.SZ
    await actors.admit("qianhai-tds", sz, issuing, ["cn.edu/1"], via="qianhai-ix")
    verifying = Role.ADMIN | Role.VERIFIER
    await actors.admit("polyu", Jurisdiction.HK, verifying, [], via="hkstp")
    issuer = actors.issuers["qianhai-tds"]
    students = [
        Holder(f"student {number}", _draw_key(), clock_s=actors.now_s) for number in range(STUDENTS)
    ]
    documents = [build_transcript(1_000 + number, actors.now_s()) for number in range(STUDENTS)]
    height = (await Registry(actors.clients["polyu"]).get_latest_block())["number"]
    packages = await issuer.issue_batch(
        [
            (document, student.key.public_key)
            for document, student in zip(documents, students, strict=True)
        ],
        audience=actors.audience("polyu"),
        issued_at_s=actors.now_s(),
    )
    actors.registrations += 1
    actors.documents += documents[:20]
    actors.anchors.append(packages[0].anchors[0].registered)
    seen = await actors.find_events("polyu", "BatchRegistered", None, height)
    stage.fact(f"registry transactions for {STUDENTS} transcripts", 1, len(seen))
    forged = STUDENTS // 3
    await issuer.revoke_leaf(packages[forged].anchors[0], RevokeReason.ISSUED_IN_ERROR)
    for student, package in zip(students, packages, strict=True):
        actors.holders[student.name] = student
        student.trust = students[0].trust
        await actors.give(student.name, package, "qianhai-tds")
    reports = await _verify_all(actors, packages, documents)
    accepted = sum(report.verdict is Verdict.ACCEPT for report in reports)
    stage.fact(f"transcripts accepted of {STUDENTS}, by {WORKERS} workers", STUDENTS - 1, accepted)
    expected = "REJECT REVOKED(ISSUED_IN_ERROR)"
    stage.verdict("the revoked transcript", expected, reports[forged])


async def _verify_all(
    actors: Actors, packages: list[Package], documents: list[Document]
) -> list[Report]:
    reports: dict[int, Report] = {}
    left = iter(range(len(packages)))

    async def work() -> None:
        for number in left:
            package, document = packages[number], documents[number]
            issued = Issued(package, package.anchors[0].anchor)
            reports[number] = await actors.hand_over(
                f"student {number}", issued, document, "polyu", purpose=Purpose.ADMISSION
            )

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)
    return [reports[number] for number in range(len(packages))]


async def play_compromised(stage: Stage) -> None:
    """Play X1: a thief has szcredit's keys."""
    actors = stage.actors
    before_document, before = await issue_report(actors, 240, "nova")
    since = before.package.anchors[0].registered_height + 1
    forged = [await issue_report(actors, 241 + number, "nova") for number in range(5)]
    org_id, signer = actors.issuers["szcredit"].member.org_id, actors.signers["szcredit"]

    async def order(function: str, *arguments: object) -> None:
        call = org_function(function).encode_call(org_id, *arguments)
        await signer.send(ORG_REGISTRY_ADDRESS, call)

    await order("reportCompromised", 1, since)
    report = await actors.hand_over("acme-sz", before, before_document, "nova")
    stage.verdict("a report registered before the theft", "ACCEPT", report)
    for number, (document, issued) in enumerate(forged, 1):
        report = await actors.hand_over("acme-sz", issued, document, "nova")
        stage.verdict(f"forged with the stolen key, {number}", "REJECT KEY_COMPROMISED", report)
    listed = await actors.find_events("hkma", "AnchorRegistered", None, since)
    found = {issued.anchor for _, issued in forged} <= {item.anchor for item in listed}
    stage.fact("the regulator's node lists all five forgeries", True, found)
    try:
        await issue_report(actors, 248, "nova")
        answer = "registered"
    except RegistryRefused as refusal:
        answer = str(refusal)
    stage.fact("registering with the key reported stolen", "KEY_NOT_VALID", answer)
    key = DocumentKey(derive_key(actors.plan.spec.settings.seed, "document/szcredit/2"))
    await order("addKey", 2, int(Suite.SHA256_P256), key.public_key)
    actors.use_key("szcredit", key, 2)
    document, issued = await issue_report(actors, 249, "nova")
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a report signed with a new key", "ACCEPT", report)


async def play_erased(stage: Stage) -> None:
    """Play X6: a document is erased."""
    actors = stage.actors
    document, issued = await issue_report(actors, 270, "nova")
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("the report before its erasure", "ACCEPT", report)
    issuer = actors.issuers["szcredit"]
    receipt = issuer.draft_erasure(
        [issued.package], reason="SUBJECT_REQUEST", erased_at_s=actors.now_s()
    )
    await issuer.note_erasure(receipt)
    flaw = await find_flaw(receipt, Registry(actors.clients["nova"]))
    stage.fact("flaw found in the erasure receipt", "", flaw)
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a kept copy of the erased report", "REJECT ERASED", report)
    record = await Registry(actors.clients["nova"]).get_record(
        actors.issuers["szcredit"].member.org_id, issued.anchor
    )
    stage.fact("state of its record on chain", AnchorState.ERASED.name, record.state.name)
    holder = actors.holders["acme-sz"]
    holder.drop(receipt.doc_id)
    kept = [item.header.doc_id for item in holder.packages]
    stage.fact("the holder still has the report", False, receipt.doc_id in kept)


SCENARIOS = (
    Scenario("E4", "corrected after a dispute", play_corrected),
    Scenario("E5", "outdated, and at the end of its validity", play_old),
    Scenario("E10", "one banking group, two sides", play_group),
    Scenario("E11", "northbound loans with a witness", play_northbound),
    Scenario("E12", "health extract, password and image", play_health),
    Scenario("E13", "500 transcripts in one transaction", play_students),
    Scenario("X1", "an issuer's key is stolen", play_compromised),
    Scenario("X6", "erasure", play_erased),
)
