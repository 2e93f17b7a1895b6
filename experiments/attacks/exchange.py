"""Attacks on the exchange of documents, each by a party that the exchange must survive.

Each has a party with its own keys do what docs/THREATS.md says it cannot do, on a network with the
real contracts, and records what came of it. All of them succeeded on version 1 of the exchange.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lowu.contracts.account import Account
from lowu.contracts.registry import (
    NO_CONSENT,
    VERIFICATION_LOG_ADDRESS,
    Jurisdiction,
    OrgStatus,
    Role,
    VerdictClass,
    encode_consume,
)
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.experiments.actors.actors import Actors
from lowu.experiments.actors.cutting import show_only, show_without
from lowu.experiments.actors.frozen_client import FrozenClient
from lowu.institutions.documents.document import (
    Document,
    Subject,
    build_enterprise_report,
    build_kyc_file,
)
from lowu.institutions.documents.personal import build_health_extract
from lowu.institutions.exchange.consent import Purpose, log_consent, sign_for_ledger
from lowu.institutions.exchange.presentation import (
    Presentation,
    decode_presentation,
    encode_presentation,
    seal,
    unseal,
)
from lowu.institutions.exchange.request import decode_request
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.governance import status_calls, suspension_call
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.format import (
    Profile,
    decode_package,
    encode_package,
)
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import Attachment
from lowu.institutions.roles.issuer import Issued, Issuer
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.verification.verdicts import Report

USCC = "91440300MA5DEM012D"
ALL_ROLES = Role(127)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that an attacker did, what has to come of it, and what did."""

    what: str
    expected: str
    """The verdict or the start of a code, or the start of a refusal."""
    got: str

    @property
    def is_held_off(self) -> bool:
        """Whether it came to what it has to."""
        return self.expected in self.got


@dataclass(slots=True)
class Play:
    """An attack while it is played."""

    actors: Actors
    deeds: list[Deed] = field(default_factory=list)
    passed_s: int = 0
    """How far the clocks of receivers and holders are ahead of an idle ledger's."""

    def set_clocks(self) -> None:
        """Give receivers and holders clocks that `pass_time` moves."""
        usual = self.actors.now_s
        self.actors.now_s = lambda: usual() + self.passed_s
        for name, signer in self.actors.signers.items():
            self.actors.verifiers[name] = Verifier(
                self.actors.verifiers[name].member,
                registry=signer.registry,
                signer=signer,
                clock_s=self.actors.now_s,
                randomness=self.actors.randomness,
            )

    def pass_time(self, seconds: int) -> None:
        """Let time pass while nothing is committed."""
        self.passed_s += seconds

    def judged(self, what: str, expected: str, report: Report) -> None:
        """Record a verdict."""
        self.deeds.append(Deed(what, expected, " ".join([report.verdict.value, *report.codes])))

    def told(self, what: str, expected: str, got: object) -> None:
        """Record anything else."""
        self.deeds.append(Deed(what, expected, str(got)))

    async def refused(self, what: str, expected: str, act: Awaitable[Any]) -> None:
        """Record the refusal of an act."""
        try:
            await act
        except (RegistryRefused, ValueError, KeyError) as error:
            self.told(what, expected, error)
        else:
            self.told(what, expected, "it was done")

    async def issue(
        self, seed: int = 1, receiver: str = "nova", holder: str = "acme-sz"
    ) -> tuple[Document, Issued]:
        """Have szcredit issue a report about a company."""
        document = build_enterprise_report(seed, self.actors.now_s(), USCC)
        return document, await self.actors.issue("szcredit", document, holder, receiver)

    async def show(
        self, document: Document, issued: Issued, receiver: str = "nova", **asked: Any
    ) -> tuple[Presentation, Verifier]:
        """Have the holder answer a receiver's request; return the answer and the receiver."""
        doc_id = issued.package.header.doc_id
        request = self.actors.ask(receiver, document, **asked)
        receipt = await self.actors.agree("acme-sz", doc_id, request)
        shown = self.actors.holders["acme-sz"].build(doc_id, request, receipt)
        return shown, self.actors.verifiers[receiver]

    async def verify(
        self, shown: Presentation, document: Document, verifier: Verifier, **files: Any
    ) -> Report:
        """Have a receiver judge a presentation that Acme has signed as it is."""
        signed = shown.signed(self.actors.holders["acme-sz"].key)
        return await verifier.verify(encode_presentation(signed), document.subject, **files)


async def relay(play: Play) -> None:
    """N-H1: a stranger in the middle puts in a sealing key of its own, reads, and passes on."""
    actors, acme = play.actors, play.actors.holders["acme-sz"]
    document, issued = await play.issue()
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    receipt = await actors.agree("acme-sz", doc_id, request)
    own = X25519PrivateKey.generate()
    mine = own.public_key().public_bytes_raw().hex()

    async def answer(changed: Any) -> bytes:
        return acme.present(doc_id, changed, receipt)

    forged = replace(request, sealing_key=mine)
    await play.refused("put its key into Nova's request", "not signed by a key", answer(forged))
    stolen = replace(request, receiver_org=actors.org_ids["bea-hk"])
    await play.refused("asked in Nova's name as another", "is not that", answer(stolen))
    # A member asks for itself, with a key of its own, and seals the answer again for Nova.
    bea = actors.verifiers["bea-hk"]
    asked = bea.request(schema=document.schema, purpose="LOAN", now_s=actors.now_s(), fields=("",))
    relayed = replace(asked, sealing_key=mine).signed(bea.member.document_key)
    await actors.inform(acme, "bea-hk", 1)
    await play.refused("asked itself for an anchor of Nova's", "not issued for", answer(relayed))
    other = await actors.issuers["szcredit"].add_audience(issued, actors.audience("bea-hk"))
    actors.anchors.append(other.anchor)
    await actors.give("acme-sz", other.package, "szcredit")
    read = unseal(await answer(relayed), own.private_bytes_raw())
    resealed = seal(read, request)
    report = await actors.verifiers["nova"].receive(resealed, document.subject)
    play.judged("passed on to Nova what it was shown itself", "HOLDER_MISMATCH", report)
    fair = acme.present(doc_id, request, receipt)
    report = await actors.verifiers["nova"].receive(fair, document.subject)
    play.judged("(the holder answers Nova itself)", "ACCEPT", report)


async def retarget(play: Play) -> None:
    """N-H2: another receiver's anchor is shown as Nova's, whose own is revoked."""
    actors = play.actors
    document, issued = await play.issue()
    both = await actors.issuers["szcredit"].add_audience(issued, actors.audience("fusion"))
    actors.anchors.append(both.anchor)
    await actors.give("acme-sz", both.package, "szcredit")
    shown, nova = await play.show(document, both)
    await actors.revoke("szcredit", issued.anchor, only=True)
    for_fusion = both.package.anchor_for("fusion")
    for what, anchor in (
        ("labelled Fusion's anchor as Nova's", replace(for_fusion, audience="nova")),
        ("and gave it Nova's number", replace(for_fusion, audience="nova", org=nova.member.org_id)),
    ):
        report = await play.verify(replace(shown, anchor=anchor), document, nova)
        play.judged(what, "REJECT", report)
    # By default, revoking is of the document: for every receiver that it was issued for.
    document, issued = await play.issue(2)
    fields: dict[str, Any] = {"anchor": issued.anchor.hex(), "for": "fusion"}
    added = await actors.order("szcredit", "add-receiver", **fields)
    package = decode_package(added.files["package.json"])
    actors.anchors.append(package.anchors[-1].anchor)
    await actors.give("acme-sz", package, "szcredit")
    await actors.revoke("szcredit", issued.anchor)
    for receiver in ("nova", "fusion"):
        shown, verifier = await play.show(document, issued, receiver)
        report = await play.verify(shown, document, verifier)
        play.judged(f"showed {receiver} a document that was revoked", "REVOKED", report)
    another = actors.order("szcredit", "add-receiver", **(fields | {"for": "bea-hk"}))
    await play.refused("had it registered for a third", "is REVOKED for", another)


async def omit(play: Play) -> None:
    """N-H3: a holder answers another question than it was asked."""
    actors = play.actors
    document, issued = await play.issue()
    shown, nova = await play.show(document, issued)
    for what, hidden, code in (
        ("left out the last two of eight loans", ("/loans/6", "/loans/7"), "(/loans)"),
        ("left out all loans with their list", ("/loans",), "FIELDS_NOT_SHOWN"),
        ("showed the mandatory fields only", ("/basic", "/loans", "/public"), "FIELDS_NOT_SHOWN"),
    ):
        report = await play.verify(show_without(shown, issued.package, *hidden), document, nova)
        play.judged(what, code, report)
    bare = show_only(shown, issued.package, lambda leaf: leaf.path != "/loans")
    play.judged(
        "hid how many there are", "FIELDS_NOT_SHOWN", await play.verify(bare, document, nova)
    )
    other = build_kyc_file(7, actors.now_s())
    kyc = await actors.issue("bea-cn", other, "acme-sz", "nova")
    asked = actors.ask("nova", document)  # for a credit report
    receipt = await actors.agree("acme-sz", kyc.package.header.doc_id, asked)
    wrong = actors.holders["acme-sz"].build(kyc.package.header.doc_id, asked, receipt)
    report = await nova.verify(encode_presentation(wrong), other.subject)
    play.judged("showed a company file instead of a report", "SCHEMA_MISMATCH", report)


class RacingSigner(Signer):
    """A receiver's signer whose transactions are committed while a document is suspended."""

    def __init__(self, signer: Signer, issuer: Issuer, anchor: bytes) -> None:
        self._signer, self._issuer, self._anchor = signer, issuer, anchor

    async def send(self, to: bytes, data: bytes, *limits: Any, **more: Any) -> TransactionReceipt:
        """Suspend the document, send, and reinstate it."""
        await self._issuer.suspend(self._anchor)
        receipt = await self._signer.send(to, data, *limits, **more)
        await self._issuer.reinstate(self._anchor)
        return receipt


async def _suspend_during_the_use(play: Play) -> None:
    actors = play.actors
    document, issued = await play.issue(3)
    signer = actors.signers["nova"]
    nova = Verifier(
        actors.verifiers["nova"].member,
        registry=signer.registry,
        signer=RacingSigner(signer, actors.issuers["szcredit"], issued.anchor),
        clock_s=actors.now_s,
    )
    request = nova.request(
        schema=document.schema, purpose=Purpose.LOAN, now_s=actors.now_s(), fields=[""]
    )
    doc_id = issued.package.header.doc_id
    receipt = await actors.agree("acme-sz", doc_id, request)
    sealed = actors.holders["acme-sz"].present(doc_id, request, receipt)
    report = await nova.receive(sealed, document.subject)
    play.judged("used it up in the blocks of a suspension", "SUSPENDED", report)


async def freeze(play: Play) -> None:
    """N-M1: an idle ledger, and a node that stands still, hide that time has passed."""
    actors = play.actors
    document, issued = await play.issue()
    shown, nova = await play.show(document, issued)
    frozen = nova.reading(Registry(FrozenClient(actors.clients["nova"])))
    data = encode_presentation(shown)
    report = await frozen.verify(data, document.subject)
    play.judged("(a fresh report)", "ACCEPT", report)
    await actors.revoke("szcredit", issued.anchor)
    await nova.verify(data, document.subject)  # at another time, from a node that is up to date
    report = await frozen.verify(data, document.subject)
    play.judged("showed a block from before the revocation", "FRESHNESS_UNKNOWN", report)
    await _suspend_during_the_use(play)
    document, issued = await play.issue(2)
    shown, nova = await play.show(document, issued)
    data = encode_presentation(shown)
    play.pass_time(11 * 60)
    report = await nova.verify(data, document.subject)
    play.judged("kept an idle ledger's time back", "PRESENTATION_EXPIRED", report)
    shown, nova = await play.show(document, issued)
    data = encode_presentation(shown)
    play.pass_time(40 * DAY_S)
    report = await nova.verify(data, document.subject)
    play.judged("showed an expired report on an idle ledger", "EXPIRED", report)
    late = replace(build_enterprise_report(3, actors.now_s(), USCC), report_time_s=4_102_444_800)
    await play.refused(
        "had a report of the year 2100 issued",
        "in the future",
        actors.issue("szcredit", late, "acme-sz", "nova"),
    )


async def squat_consent(play: Play) -> None:
    """N-M2: a member logs a digest that it saw, or uses up an id that it saw."""
    actors, acme = play.actors, play.actors.holders["acme-sz"]
    document, issued = await play.issue()
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    await actors.inform(acme, "nova", request.key_id)
    receipt = acme.consent(doc_id, request, agreement=acme.find_questions(doc_id, request))
    chain_id = actors.plan.genesis.web3_chain_id
    secret = b"\x21" * 32
    squat = sign_for_ledger(secret, chain_id, receipt, is_withdrawal=False)
    own = bytes.fromhex(Account(secret).address[2:])
    done = await log_consent(actors.signers["bea-cn"], replace(squat, ledger_key=own))
    play.told("logged the holder's digest with a key of its own", "True", done.is_success)
    await log_consent(actors.signers["nova"], acme.authorise(receipt, chain_id))
    sealed = acme.present(doc_id, request, receipt)
    shown = decode_presentation(encode_presentation(acme.build(doc_id, request, receipt)))
    await _use(actors, "fusion", shown)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    play.judged("used up the id that is Nova's", "ACCEPT", report)


async def _use(actors: Actors, verifier: str, shown: Presentation) -> None:
    call = encode_consume(shown.id, NO_CONSENT, VerdictClass.ACCEPT, Jurisdiction.SZ)
    await actors.signers[verifier].send(VERIFICATION_LOG_ADDRESS, call)


async def revive_consent(play: Play) -> None:
    """N-M3: who kept a consent logs it after its holder has withdrawn it."""
    actors, acme = play.actors, play.actors.holders["acme-sz"]
    document, issued = await play.issue()
    doc_id = issued.package.header.doc_id
    request = actors.ask("nova", document)
    await actors.inform(acme, "nova", request.key_id)
    receipt = acme.consent(doc_id, request, agreement=acme.find_questions(doc_id, request))
    chain_id = actors.plan.genesis.web3_chain_id
    await actors.withdraw("acme-sz", "szcredit", receipt)
    await play.refused(
        "logged a consent that was withdrawn before",
        "TERMINAL_STATE",
        log_consent(actors.signers["nova"], acme.authorise(receipt, chain_id)),
    )
    sealed = acme.present(doc_id, request, receipt)
    report = await actors.verifiers["nova"].receive(sealed, document.subject)
    play.judged("showed under it", "CONSENT_WITHDRAWN", report)


async def capture_votes(play: Play) -> None:
    """N-H4, N-M6: a regulator and one side try to decide alone."""
    actors = play.actors
    until = actors.now_s() + DAY_S
    hkma = actors.signers["hkma"]
    for name in ("qianhai-ix", "webank"):
        address, data = suspension_call(actors.org_ids[name], until)
        act = hkma.send(address, data)
        await play.refused(f"suspended {name} of the other side", "JURISDICTION_RULE", act)
    for name in ("hkstp", "bea-hk"):
        address, data = suspension_call(actors.org_ids[name], until)
        await hkma.send(address, data)
    takeover = actors.draft("captured", Jurisdiction.SZ, ALL_ROLES, [], via="qianhai-ix")
    proposal = await actors.propose("qianhai-ix", takeover)
    found = await actors.vote(proposal, "qianhai-ix", "webank")
    play.told("voted with the other side's voters suspended", "OPEN", found.status.name)
    found = await actors.vote(proposal, "hkstp", "bea-hk", is_yes=False)
    play.told("(the suspended vote against it)", "REJECTED", found.status.name)
    proposal = await actors.propose("webank", takeover)
    await actors.vote(proposal, "webank")
    expel = await actors.propose("hkstp", status_calls(actors.org_ids["webank"], OrgStatus.EXITED))
    await actors.vote(expel, "qianhai-ix", "hkstp", "bea-hk")
    found = await actors.vote(proposal, "qianhai-ix")
    play.told("counted the vote of a member that has left", "OPEN", found.status.name)


async def swap_file(play: Play) -> None:
    """N-M8, N-M9: another header, another file, a file beside a leaf, a leaf without its file."""
    actors = play.actors
    await actors.register_schema("hk.ehr/1")
    await actors.admit("hk-ehealth", Jurisdiction.HK, ALL_ROLES, ["hk.ehr/1"], via="hkstp")
    document = build_health_extract(230, actors.now_s())
    issued = await actors.issue("hk-ehealth", document, "acme-sz", "nova")
    image = document.content["radiology"]["image"].data
    shown, nova = await play.show(document, issued, purpose="CARE")
    path = "/radiology/image"
    for what, files, code in (
        ("(the file that was issued)", {path: image}, "ACCEPT"),
        ("another file", {path: image + b"x"}, f"TAMPERED_FIELD({path})"),
        ("no file", {}, f"INDETERMINATE ATTACHMENT_MISSING({path})"),
        ("a file beside it", {path: image, "/Annex": b"forged"}, "ATTACHMENT_UNEXPECTED(/Annex)"),
        ("a file in its place", {"/Radiology/image": b"forged"}, "ATTACHMENT_UNEXPECTED"),
    ):
        report = await play.verify(shown, document, nova, files=files)
        play.judged(what, code, report)
    old = await _issue_scan(play)
    newer = await _issue_scan(play)
    await actors.revoke("szcredit", old.anchor)
    mixed = replace(old.package, anchors=newer.package.anchors)
    try:
        actors.holders["acme-sz"].receive(encode_package(mixed))
        got = "it was taken"
    except FormError as error:
        got = str(error)
    play.told("a revoked header with a newer anchor", "not of this document", got)


async def _issue_scan(play: Play) -> Issued:
    actors, scan = play.actors, Attachment(b"%PDF a scan", "application/pdf")
    document = Document("cn.ecr/1", Subject("USCC", USCC), actors.now_s(), {"file": scan})
    package = actors.issuers["szcredit"].build_package(
        document,
        audience=actors.audience("nova"),
        holder_key=actors.holders["acme-sz"].key.public_key,
        issued_at_s=actors.now_s(),
        profile=Profile.FILE_BLIND,
    )
    return await actors.register("szcredit", package, document, "acme-sz")


async def end_desk(play: Play) -> None:
    """N-H5: an order that nobody foresaw; the desk refuses it and goes on."""
    actors = play.actors
    document, issued = await play.issue()
    shown, _ = await play.show(document, issued)
    raw = json.loads(encode_presentation(shown))
    raw["disclosures"][0][1] = "/" + "x" * 65_536
    asked = await actors.order("nova", "request", schema="cn.ecr/1", fields=[""])
    request = decode_request(asked.files["request.json"])
    data = json.dumps(raw, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    for _ in range(2):
        answer = await actors.order(
            "nova",
            "verify",
            {"sealed.bin": seal(data, request)},
            subject=f"USCC:{USCC}",
        )
        play.told("a path of 65,536 characters", "PKG_MALFORMED", answer.details["codes"])
    done = await actors.order("nova", "request", schema="cn.ecr/1", fields=[""])
    play.told("(the desk's next order)", "nonce", dict(done.details))


ATTACKS: dict[str, Callable[[Play], Awaitable[None]]] = {
    "relay": relay,
    "retarget": retarget,
    "omit": omit,
    "freeze": freeze,
    "squat-consent": squat_consent,
    "revive-consent": revive_consent,
    "capture-votes": capture_votes,
    "swap-file": swap_file,
    "end-desk": end_desk,
}
"""By the name of the command."""


async def play_attack(name: str, actors: Actors) -> list[Deed]:
    """Play an attack, and return what its parties did."""
    play = Play(actors)
    play.set_clocks()
    await ATTACKS[name](play)
    return play.deeds
