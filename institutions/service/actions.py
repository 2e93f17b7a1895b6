"""The actions of desks and wallets: orders to issuers, witnesses, verifiers and holders.

docs/DESKS.md lists the orders with their fields and files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    RevokeReason,
    hash_function,
)
from lowu.institutions.documents.document import Subject
from lowu.institutions.documents.schemas import SCHEMAS
from lowu.institutions.exchange.consent import (
    Purpose,
    decode_ledger_consent,
    encode_ledger_consent,
    end_consent,
    log_consent,
)
from lowu.institutions.exchange.erasure import encode_erasure
from lowu.institutions.exchange.request import decode_request, encode_request
from lowu.institutions.ledger.registry import RegistryRefused
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.format import Profile, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.service.orders import Answer
from lowu.institutions.service.recording import (
    RecordingIssuer,
    RecordingVerifier,
    Wallet,
    read_document,
)
from lowu.institutions.service.runner import Action, Attempt
from lowu.institutions.verification.report import describe_report, render_html
from lowu.institutions.verification.verdicts import Report, Verdict
from lowu.node.client import ClientError

T = TypeVar("T")
Change = Callable[[Attempt], Awaitable[TransactionReceipt]]
PerTry = Callable[[int], T]
"""Returns the desk or signer for a try: at its own node first, then at others."""


class UndecidedError(ClientError):
    """A verification had no decision; the same order may decide it later."""

    def __init__(self, report: Report) -> None:
        super().__init__("the verdict needs data that the ledger did not supply")
        self.report = report


_LEADS_TO = {
    "revoke": AnchorState.REVOKED,
    "suspend": AnchorState.SUSPENDED,
    "reinstate": AnchorState.ACTIVE,
    "supersede": AnchorState.SUPERSEDED,
}


def issuer_actions(
    desk_for: PerTry[RecordingIssuer], now_s: Callable[[], int]
) -> dict[str, Action]:
    """Return the actions of an issuer's desk."""

    async def issue(attempt: Attempt) -> Answer:
        order = attempt.order
        document = read_document(order.file("document.json"))
        if document.schema not in SCHEMAS:
            raise FormError(f"schema {document.schema!r} is not known")
        for path, data in order.attachments().items():
            document = document.attach(path, data)
        issued = await desk_for(attempt.number).issue(
            document,
            audience=order.text("for"),
            holder_key=order.hex("holder_key", 64),
            issued_at_s=now_s(),
            profile=Profile(order.text("profile", Profile.FIELDS)),
            order=order.id.encode(),
        )
        details = {
            "anchor": issued.anchor.hex(),
            "doc_id": issued.package.header.doc_id,
            "height": issued.package.anchors[-1].registered_height,
        }
        made = {"package.json": encode_package(issued.package)}
        return Answer(True, details, made, is_made_again=True)  # or a copy outlives its erasure

    async def erase(attempt: Attempt) -> Answer:
        order = attempt.order
        anchor = order.hex("anchor", 32)
        reason = _reason(order.text("reason", "SUBJECT_REQUEST")).name
        try:
            desk = desk_for(attempt.number)
            receipt = await desk.erase(anchor, reason=reason, now_s=now_s())
        except KeyError as error:
            raise FormError(f"no document with the anchor {anchor.hex()} here") from error
        files = {"erasure.json": encode_erasure(receipt)}
        details = {
            "doc_id": receipt.doc_id,
            "digest": receipt.digest.hex(),
            "orders_erased": desk.find_orders(receipt),
        }
        return Answer(True, details, files)

    return {"issue": issue, "erase": erase, **_change_actions(desk_for)}


def _change_actions(desk_for: PerTry[RecordingIssuer]) -> dict[str, Action]:
    """Return the actions that change the state of an anchor."""

    async def revoke(attempt: Attempt) -> TransactionReceipt:
        order = attempt.order
        reason = _reason(order.text("reason", "CORRECTED"))
        issuer = desk_for(attempt.number).issuer
        return await issuer.revoke(order.hex("anchor", 32), reason, order.integer("since", 0))

    async def suspend(attempt: Attempt) -> TransactionReceipt:
        return await desk_for(attempt.number).issuer.suspend(attempt.order.hex("anchor", 32))

    async def reinstate(attempt: Attempt) -> TransactionReceipt:
        return await desk_for(attempt.number).issuer.reinstate(attempt.order.hex("anchor", 32))

    async def supersede(attempt: Attempt) -> TransactionReceipt:
        old, new = attempt.order.hex("anchor", 32), attempt.order.hex("newer", 32)
        return await desk_for(attempt.number).issuer.supersede(old, new)

    async def is_made(attempt: Attempt) -> bool:
        order, issuer = attempt.order, desk_for(attempt.number).issuer
        record = await issuer.registry.get_record(issuer.member.org_id, order.hex("anchor", 32))
        if record.state is not _LEADS_TO[order.action]:
            return False
        return order.action != "supersede" or record.superseded_by == order.hex("newer", 32)

    changes = (revoke, suspend, reinstate, supersede)
    return {item.__name__: _once(item, is_made) for item in changes}


def witness_actions(
    signer_for: PerTry[Signer], org_id: int, org_ids: Mapping[str, int]
) -> dict[str, Action]:
    """Return the actions of a witness's desk; `org_ids` has the members' ids by name."""

    async def witness(attempt: Attempt) -> TransactionReceipt:
        name = attempt.order.text("issuer")
        if name not in org_ids:
            raise FormError(f"no issuer {name!r}; known issuers: {', '.join(org_ids)}")
        anchor = attempt.order.hex("anchor", 32)
        call = hash_function("witness").encode_call(org_ids[name], anchor)
        return await signer_for(attempt.number).send(HASH_REGISTRY_ADDRESS, call)

    async def is_made(attempt: Attempt) -> bool:
        issuer, anchor = org_ids[attempt.order.text("issuer")], attempt.order.hex("anchor", 32)
        return await signer_for(attempt.number).registry.has_witnessed(issuer, anchor, org_id)

    return {"witness": _once(witness, is_made)}


def verifier_actions(
    desk_for: PerTry[RecordingVerifier], signer_for: PerTry[Signer], now_s: Callable[[], int]
) -> dict[str, Action]:
    """Return the actions of a verifier's desk."""

    async def request(attempt: Attempt) -> Answer:
        order = attempt.order
        schema, purpose = order.text("schema"), order.text("purpose", Purpose.LOAN)
        _one_of(schema, SCHEMAS, "schema")
        _one_of(purpose, list(Purpose), "purpose")
        fields = order.texts("fields")
        asked = desk_for(attempt.number).verifier.request(
            schema=schema, purpose=purpose, now_s=now_s(), fields=fields or [""]
        )
        return Answer(True, {"nonce": asked.nonce}, {"request.json": encode_request(asked)})

    async def consent(attempt: Attempt) -> TransactionReceipt:
        item = decode_ledger_consent(attempt.order.file("ledger-consent.json"))
        send = end_consent if item.is_withdrawal else log_consent
        return await send(signer_for(attempt.number), item)

    async def verify(attempt: Attempt) -> Answer:
        order = attempt.order
        id_type, separator, id_value = order.text("subject").partition(":")
        if not separator:
            raise FormError("verify: 'subject' must be a type and a number, such as USCC:9144…")
        report = await desk_for(attempt.number).receive(
            order.file("sealed.bin"),
            Subject(id_type, id_value),
            password=order.text("password", ""),
            files=order.attachments(),
            attempt=order.number,
        )
        if report.verdict is Verdict.INDETERMINATE:
            raise UndecidedError(report)
        page = render_html(report, f"{order.id} at {desk_for(attempt.number).verifier.member.name}")
        files = {"report.html": page.encode()}
        return Answer(report.verdict is Verdict.ACCEPT, describe_report(report), files)

    async def is_made(attempt: Attempt) -> bool:
        item = decode_ledger_consent(attempt.order.file("ledger-consent.json"))
        known = await signer_for(attempt.number).registry.get_consent(item.digest)
        return bool(known.withdrawn_height if item.is_withdrawal else known.granted_height)

    return {"request": request, "consent": _once(consent, is_made), "verify": verify}


def wallet_actions(wallet: Wallet, chain_id: int, now_s: Callable[[], int]) -> dict[str, Action]:
    """Return the actions of a holder's wallet, which talks to no node."""

    async def key(attempt: Attempt) -> Answer:
        return Answer(True, {"holder_key": wallet.holder.key.public_key.hex()})

    async def carry(attempt: Attempt) -> Answer:
        return Answer(True, {"doc_id": wallet.holder.receive(attempt.order.file("package.json"))})

    async def consent(attempt: Attempt) -> Answer:
        order = attempt.order
        request = decode_request(order.file("request.json"))
        doc_id = wallet.choose(request, order.text("document", ""))
        is_withdrawal = order.fields.get("withdraw") is True
        if is_withdrawal:
            receipt = wallet.find_consent(doc_id, request.receiver, request.purpose)
            if receipt is None:
                raise FormError("there is no consent to withdraw")
        else:
            receipt = wallet.agree(doc_id, request, now_s())
        item = wallet.holder.authorise(receipt, chain_id, is_withdrawal=is_withdrawal)
        files = {"ledger-consent.json": encode_ledger_consent(item)}
        return Answer(True, {"doc_id": doc_id, "consent": receipt.digest.hex()}, files)

    async def present(attempt: Attempt) -> Answer:
        order = attempt.order
        request = decode_request(order.file("request.json"))
        doc_id = wallet.choose(request, order.text("document", ""))
        fields = order.texts("fields")
        sealed = wallet.present(doc_id, request, now_s(), fields, order.text("password", ""))
        return Answer(True, {"doc_id": doc_id}, {"sealed.bin": sealed})

    return {"key": key, "carry": carry, "consent": consent, "present": present}


def _once(change: Change, is_made: Callable[[Attempt], Awaitable[bool]]) -> Action:
    """Make a change an action; if a repeated try is refused, check whether it was made before."""

    async def act(attempt: Attempt) -> Answer:
        try:
            receipt = await change(attempt)
        except RegistryRefused:
            if not (attempt.is_again and await is_made(attempt)):
                raise
            return Answer(True, {"was_done_before": True})
        return Answer(True, {"height": receipt.height})

    return act


def _reason(name: str) -> RevokeReason:
    _one_of(name, RevokeReason.__members__, "reason")
    return RevokeReason[name]


def _one_of(value: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if value not in names:
        raise FormError(f"{what} {value!r} is not known; known values: {', '.join(names)}")
