"""Presentations: honest, tampered, by the wrong holder, without consent, replayed.

E1 and E2 are the pilot's own. E3 and E6 to E8 show what must fail, E9 what must stay hidden.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio

from lowu.experiments.actors.actors import EVERYTHING, Actors
from lowu.experiments.actors.cutting import show_without
from lowu.experiments.scenarios.stage import Scenario, Stage
from lowu.institutions.documents.document import (
    Document,
    Subject,
    build_enterprise_report,
    build_owner_report,
)
from lowu.institutions.exchange.consent import ConsentReceipt, Purpose
from lowu.institutions.exchange.presentation import Presentation, encode_presentation, seal
from lowu.institutions.exchange.request import Request
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.format import Package
from lowu.institutions.package.leaves import Leaf, LeafType
from lowu.institutions.roles.issuer import Issued
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.verification.verdicts import Report

ACME_USCC = "91440300MA5DEM012D"
OTHER_USCC = "91440305MA5DEM020G"
BALANCE = "/loans/3/balance"
OWNER_FIELDS = ("/repayment/months", "/score", "/loans/1", "/public")


async def issue_report(
    actors: Actors, seed: int, audience: str = "nova"
) -> tuple[Document, Issued]:
    """Have szcredit issue an enterprise report to Acme for a receiver."""
    document = build_enterprise_report(seed, actors.now_s(), ACME_USCC)
    return document, await actors.issue("szcredit", document, "acme-sz", audience)


async def show_report(stage: Stage) -> Issued:
    """Show a company's credit report."""
    document, issued = await issue_report(stage.actors, 101)
    report = await stage.actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a company shows its credit report to Nova", "ACCEPT", report)
    return issued


async def play_southbound(stage: Stage) -> None:
    """Play E1: an enterprise report goes south."""
    actors, issued = stage.actors, await show_report(stage)
    records = set()
    for client in {id(item): item for item in actors.clients.values()}.values():
        org_id = actors.issuers["szcredit"].member.org_id
        records.add(repr(await Registry(client).get_record(org_id, issued.anchor)))
    stage.fact("different records of it on nodes of both sides", 1, len(records))


async def show_some_fields(stage: Stage) -> None:
    """Show some fields of an owner's report, and hide the rest."""
    document = build_owner_report(102, stage.actors.now_s())
    issued = await stage.actors.issue("baihang", document, "owner", "fusion")
    report = await stage.actors.hand_over("owner", issued, document, "fusion", OWNER_FIELDS)
    stage.verdict("an owner shows Fusion some fields of a report", "ACCEPT", report)


async def hide_months(stage: Stage) -> None:
    """Also hide the months that the schema demands."""
    document = build_owner_report(100, stage.actors.now_s())
    issued = await stage.actors.issue("baihang", document, "owner", "fusion")
    report = await stage.actors.hand_over(
        "owner", issued, document, "fusion", OWNER_FIELDS, shown=("/header/report_no", "/score")
    )
    stage.verdict("an owner hides the overdue months", "REJECT MANDATORY_FIELD_HIDDEN", report)


async def play_owner(stage: Stage) -> None:
    """Play E2: an owner shows some fields of a report."""
    await show_some_fields(stage)
    actors, holder = stage.actors, stage.actors.holders["owner"]
    package = max(holder.packages, key=lambda item: item.header.report_time)
    request = actors.ask("fusion", build_owner_report(102, actors.now_s()), fields=OWNER_FIELDS)
    receipt = await actors.agree("owner", package.header.doc_id, request)
    shown = holder.build(package.header.doc_id, request, receipt)
    paths = [leaf.path for leaf in shown.disclosures]
    hidden = [path for path in paths if path.startswith(("/spouse", "/contact"))]
    stage.fact("fields about spouse and contacts that Fusion sees", 0, len(hidden))
    await hide_months(stage)


async def show_changed_amount(stage: Stage) -> None:
    """Show a copy in which the holder changed an amount."""
    document, issued = await issue_report(stage.actors, 105)
    changed = replace(
        issued.package,
        disclosures=tuple(
            replace(leaf, value="1.00") if leaf.path == BALANCE else leaf
            for leaf in issued.package.disclosures
        ),
    )
    stage.actors.holders["acme-sz"].keep(changed)
    report = await stage.actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a company changes an amount", f"REJECT TAMPERED_FIELD({BALANCE})", report)


async def show_cut_list(stage: Stage) -> None:
    """Show all loans but the last two, with a proof that fits."""
    actors = stage.actors
    document, issued = await issue_report(actors, 110)
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    holder = actors.holders["acme-sz"]
    shown = holder.build(doc_id, request, receipt)
    for loan in ("/loans/6", "/loans/7"):
        shown = show_without(shown, issued.package, loan)
    data = encode_presentation(shown.signed(holder.key))
    report = await actors.verifiers["nova"].verify(data, document.subject)
    stage.verdict("the last two loans left out", "REJECT FIELDS_NOT_SHOWN(/loans)", report)


async def show_unregistered(stage: Stage) -> None:
    """Show a report that its issuer signed but never registered."""
    actors = stage.actors
    document = build_enterprise_report(104, actors.now_s(), ACME_USCC)
    actors.documents.append(document)
    holder = actors.holders["acme-sz"]
    package = actors.issuers["szcredit"].build_package(
        document,
        audience=actors.audience("nova"),
        holder_key=holder.key.public_key,
        issued_at_s=actors.now_s(),
    )
    await actors.give("acme-sz", package, "szcredit")
    issued = Issued(package, package.anchors[0].anchor)
    report = await actors.hand_over("acme-sz", issued, document, "nova")
    stage.verdict("a report that was never registered", "REJECT NOT_REGISTERED", report)


async def play_tampered(stage: Stage) -> None:
    """Play E3: the holder signs every change, as a cheating holder would."""
    actors = stage.actors
    document, issued = await issue_report(actors, 103)
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    shown = actors.holders["acme-sz"].build(doc_id, request, receipt)
    leaf = next(item for item in shown.disclosures if item.path == BALANCE)
    at = shown.disclosures.index(leaf)

    def with_leaf(**changes: Any) -> Presentation:
        changed = replace(leaf, **changes)
        return replace(
            shown, disclosures=(*shown.disclosures[:at], changed, *shown.disclosures[at + 1 :])
        )

    field = f"TAMPERED_FIELD({BALANCE})"
    first, second, *rest = shown.disclosures
    extra = Leaf(shown.header.leaf_count - 1, "/zzz", "o", LeafType.ARRAY, "0", b"\xff" * 32)
    for what, changed, code in (
        ("an amount", with_leaf(value="120000.00"), field),
        ("a text for a number", with_leaf(type=LeafType.STRING), "PKG_MALFORMED"),
        ("a salt", with_leaf(salt=bytes([leaf.salt[0] ^ 1]) + leaf.salt[1:]), field),
        (
            "an empty list added",
            replace(
                shown,
                disclosures=(*shown.disclosures, extra),
                hashes=(*shown.hashes, bytes(32)),
            ),
            "TAMPERED_FIELD(/zzz)",
        ),
        (
            "fields in another order",
            replace(shown, disclosures=(second, first, *rest)),
            "PROOF_INVALID",
        ),
        ("a field left out", replace(shown, disclosures=(second, *rest)), "PROOF_INVALID"),
        (
            "a day of validity",
            replace(shown, header=replace(shown.header, valid_until=shown.header.valid_until + 1)),
            "TAMPERED_HEADER",
        ),
        (
            "the schema",
            replace(shown, header=replace(shown.header, schema="cn.smeowner/1")),
            "TAMPERED_HEADER",
        ),
    ):
        resigned = changed.signed(actors.holders["acme-sz"].key)
        data = encode_presentation(resigned)
        report = await actors.verifiers["nova"].verify(data, document.subject)
        stage.verdict(f"changed: {what}", f"REJECT {code}", report)
    await show_changed_amount(stage)
    await show_cut_list(stage)
    await show_unregistered(stage)


async def play_wrong_holder(stage: Stage) -> None:
    """Play E6: Mallory has a copy of Acme's package."""
    actors = stage.actors
    document, issued = await issue_report(actors, 106, "fusion")
    doc_id = issued.package.header.doc_id
    acme, mallory = actors.holders["acme-sz"], actors.holders["mallory"]
    request = actors.ask("fusion", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    shown = acme.build(doc_id, request, receipt)
    fusion = actors.verifiers["fusion"]

    async def verify(item: Presentation, subject: Subject) -> Report:
        return await fusion.verify(encode_presentation(item), subject)

    unsigned = replace(shown, holder_signature=b"")
    report = await verify(unsigned, document.subject)
    stage.verdict("a copy without a holder's signature", "REJECT HOLDER_PROOF_MISSING", report)
    report = await verify(shown.signed(mallory.key), document.subject)
    stage.verdict("a copy signed with the thief's own key", "REJECT HOLDER_MISMATCH", report)
    report = await verify(shown, Subject("USCC", OTHER_USCC))
    stage.verdict("a stolen key, for another customer", "REJECT SUBJECT_MISMATCH", report)
    report = await verify(shown, document.subject)
    stage.verdict("signed by the holder, for itself", "ACCEPT", report)


async def play_consent(stage: Stage) -> None:
    """Play E7: presentations with missing, wrong, withdrawn and expired consents."""
    actors = stage.actors
    document, issued = await issue_report(actors, 107)
    doc_id = issued.package.header.doc_id
    acme, nova = actors.holders["acme-sz"], actors.verifiers["nova"]

    async def show(request: Request, receipt: ConsentReceipt | None) -> Report:
        sealed = acme.present(doc_id, request, receipt)
        return await nova.receive(sealed, document.subject)

    request = actors.ask("nova", document)
    stage.verdict("no consent", "REJECT CONSENT_MISSING", await show(request, None))
    elsewhere = actors.ask("bea-hk", document)
    await actors.inform(acme, "bea-hk", elsewhere.key_id)
    receipt = acme.consent(doc_id, elsewhere, agreement=acme.find_questions(doc_id, elsewhere))
    await actors.log("nova", acme.authorise(receipt, actors.plan.genesis.web3_chain_id))
    stage.verdict("consent for BEA only", "REJECT WRONG_AUDIENCE", await show(request, receipt))
    receipt = await actors.agree("acme-sz", doc_id, request, purpose=Purpose.KYC_REFRESH)
    stage.verdict(
        "consent for another purpose", "REJECT PURPOSE_MISMATCH", await show(request, receipt)
    )
    receipt = await actors.agree("acme-sz", doc_id, request, fields=("/summary",))
    report = await show(request, receipt)
    stage.verdict("consent to fewer fields", "REJECT FIELDS_NOT_CONSENTED", report)
    both = acme.find_questions(doc_id, request)
    receipt = acme.consent(doc_id, request)
    await actors.log("nova", acme.authorise(receipt, actors.plan.genesis.web3_chain_id))
    report = await show(request, receipt)
    stage.verdict(
        "consent, but not across the boundary",
        "REJECT CONSENT_MISSING(not across the boundary)",
        report,
    )
    receipt = acme.consent(doc_id, request, agreement=both)
    report = await show(request, receipt)
    stage.verdict("consent not on the ledger", "REJECT CONSENT_MISSING(not on the ledger)", report)
    receipt = await actors.agree("acme-sz", doc_id, request)
    await actors.withdraw("acme-sz", "szcredit", receipt)
    report = await show(request, receipt)
    stage.verdict("consent withdrawn one block before", "REJECT CONSENT_WITHDRAWN", report)
    receipt = acme.consent(doc_id, request, agreement=both, valid_s=2)
    await actors.log("nova", acme.authorise(receipt, actors.plan.genesis.web3_chain_id))
    await wait_for_block_time(actors, receipt.expires_at)
    stage.verdict("expired consent", "REJECT CONSENT_EXPIRED", await show(request, receipt))
    receipt = await actors.agree("acme-sz", doc_id, request)
    stage.verdict("valid consent", "ACCEPT", await show(request, receipt))


async def wait_for_block_time(actors: Actors, time_s: int) -> None:
    """Wait until a block is later than a time: the ledger's time is that of its blocks."""
    await trio.sleep(max(0.0, time_s - actors.now_s()) + 1.0)  # the clock shows whole seconds
    document = build_enterprise_report(199, actors.now_s())
    await actors.issue("szcredit", document, "acme-sz", "nova")


async def play_replay(stage: Stage) -> None:
    """Play E8: a presentation is forwarded, sent twice, and sent to two branches at once."""
    actors = stage.actors
    document, issued = await issue_report(actors, 108)
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    shown = actors.holders["acme-sz"].build(doc_id, request, receipt)
    data = encode_presentation(shown)
    sealed = seal(data, request)
    report = await actors.verifiers["bea-hk"].verify(data, document.subject)
    stage.verdict("a presentation for Nova, forwarded to BEA", "REJECT WRONG_AUDIENCE", report)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    stage.verdict("the presentation sent to Nova", "ACCEPT", report)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    stage.verdict("the presentation sent to Nova again", "REJECT REPLAYED", report)
    await _race(stage, document, issued)


async def _race(stage: Stage, document: Document, issued: Issued) -> None:
    """Have two branches of Nova, with the same request, receive one presentation at once."""
    actors = stage.actors
    doc_id = issued.package.header.doc_id
    branches = [
        Verifier(
            actors.verifiers["nova"].member,
            registry=Registry(actors.clients[via]),
            signer=actors.signers["nova"],
            clock_s=actors.now_s,
            randomness=lambda count: b"b" * count,  # so both branches make the same request
        )
        for via in ("nova", "fusion")
    ]
    now_s = actors.now_s()
    requests = [
        branch.request(schema=document.schema, purpose=Purpose.LOAN, now_s=now_s, fields=EVERYTHING)
        for branch in branches
    ]
    receipt = await actors.agree("acme-sz", doc_id, requests[0])
    sealed = actors.holders["acme-sz"].present(doc_id, requests[0], receipt)
    reports: list[Report] = []

    async def receive(branch: Verifier) -> None:
        reports.append(await branch.receive(sealed, document.subject))

    async with trio.open_nursery() as nursery:
        for branch in branches:
            nursery.start_soon(receive, branch)
    verdicts = sorted(" ".join([item.verdict.value, *item.codes]) for item in reports)
    stage.fact("verdicts of two branches at the same time", ["ACCEPT", "REJECT REPLAYED"], verdicts)


async def play_two_audiences(stage: Stage) -> None:
    """Play E9: one document with an anchor for each of two receivers."""
    actors = stage.actors
    document = build_owner_report(109, actors.now_s())
    issued = await actors.issue("baihang", document, "owner", "fusion")
    issued = await actors.issuers["baihang"].add_audience(issued, actors.audience("bea-hk"))
    actors.registrations += 1
    actors.anchors.append(issued.anchor)
    await actors.give("owner", issued.package, "baihang")
    reports = {}
    for receiver, fields in (("fusion", ("/score",)), ("bea-hk", ("/firm", "/loans"))):
        reports[receiver] = await actors.hand_over("owner", issued, document, receiver, fields)
        stage.verdict(f"the document shown to {receiver}", "ACCEPT", reports[receiver])
    stage.fact("values that the two anchors have in common", set(), _shared(issued.package))


def _shared(package: Package) -> set[bytes]:
    one, two = package.anchors
    return {one.anchor, one.blind} & {two.anchor, two.blind}


SCENARIOS = (
    Scenario("E1", "southbound enterprise report", play_southbound),
    Scenario("E2", "small-business owner shows some fields", play_owner),
    Scenario("E3", "tampered documents", play_tampered),
    Scenario("E6", "wrong holder", play_wrong_holder),
    Scenario("E7", "missing and wrong consents", play_consent),
    Scenario("E8", "replay", play_replay),
    Scenario("E9", "one document, two audiences", play_two_audiences),
)
