"""The actions of desks and wallets: orders to issuers, witnesses, verifiers and holders.

docs/DESKS.md lists the orders with their fields and files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    RevokeReason,
    hash_function,
)
from lowu.institutions.documents.document import Subject
from lowu.institutions.exchange.consent import (
    Purpose,
    decode_ledger_consent,
    encode_ledger_consent,
    end_consent,
    log_consent,
)
from lowu.institutions.exchange.erasure import encode_erasure
from lowu.institutions.exchange.request import decode_request, encode_request
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.format import Anchor, Profile, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.roles.holder import Agreement
from lowu.institutions.roles.issuer import Audience, Issued, Issuer
from lowu.institutions.service.document_file import read_document
from lowu.institutions.service.orders import Answer, Order
from lowu.institutions.service.recording import (
    RecordingIssuer,
    RecordingVerifier,
    Wallet,
)
from lowu.institutions.service.runner import Action, Attempt
from lowu.institutions.verification.report import (
    NO_NAMES,
    Names,
    describe_report,
    encode_shown,
    render_html,
)
from lowu.institutions.verification.verdicts import Report, Verdict
from lowu.institutions.verification.wording import Language
from lowu.node.client import ClientError

T = TypeVar("T")
Change = Callable[[Attempt], Awaitable[TransactionReceipt]]
Send = Callable[[Issuer, Anchor], Awaitable[TransactionReceipt]]
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


_STATE = ("anchor", "only")
ISSUER_FIELDS = {
    "issue": ("for", "holder_key", "profile", "attach"),
    "add-receiver": ("anchor", "for"),
    "erase": ("anchor", "reason"),
    "revoke": ("anchor", "reason", "since", "only"),
    "suspend": _STATE,
    "reinstate": _STATE,
    "supersede": (*_STATE, "newer"),
}
WITNESS_FIELDS = {"witness": ("issuer", "anchor")}
VERIFIER_FIELDS = {
    "request": ("schema", "purpose", "fields"),
    "consent": (),
    "verify": (
        "subject", "password", "attach", "show_rejected", "lang", "confirm", "offline",
    ),
}  # fmt: skip
WALLET_FIELDS = {
    "key": (),
    "carry": (),
    "consent": ("document", "withdraw", "ended", "cross_border", "sensitive"),
    "present": ("document", "fields", "password"),
}
"""By action: the fields that its orders may have (docs/DESKS.md)."""


def _checked(
    actions: Mapping[str, Action], allowed: Mapping[str, Sequence[str]]
) -> dict[str, Action]:
    """Return actions that refuse orders with other fields: a misspelt one would mean nothing."""

    def check(name: str, action: Action) -> Action:
        async def run(attempt: Attempt) -> Answer:
            for field in attempt.order.fields:
                if field not in allowed[name]:
                    close = get_close_matches(field, allowed[name], 1)
                    known = ", ".join(allowed[name]) or "none"
                    mend = f"did you mean {close[0]!r}?" if close else f"there are: {known}"
                    raise FormError(f"{name}: unknown field {field!r}; {mend}")
            return await action(attempt)

        return run

    return {name: check(name, action) for name, action in actions.items()}


def issuer_actions(
    desk_for: PerTry[RecordingIssuer], org_ids: Mapping[str, int], now_s: Callable[[], int]
) -> dict[str, Action]:
    """Return the actions of an issuer's desk; `org_ids` has the members' ids by name."""

    async def issue(attempt: Attempt) -> Answer:
        order = attempt.order
        document = read_document(order.file("document.json"))
        desk = desk_for(attempt.number)
        _one_of(document.schema, desk.issuer.member.schemas, "schema")
        for path, file in order.attachments().items():
            document = document.attach(path, file)
        audience = order.text("for")
        _one_of(audience, org_ids, "receiver")
        issued = await desk.issue(
            document,
            audience=Audience(audience, org_ids[audience]),
            holder_key=order.hex("holder_key", 64),
            issued_at_s=now_s(),
            profile=Profile(order.text("profile", Profile.FIELDS)),
            order=order.id.encode(),
        )
        return _hand_out(issued)

    async def add_receiver(attempt: Attempt) -> Answer:
        order = attempt.order
        audience, anchor = order.text("for"), order.hex("anchor", 32)
        _one_of(audience, org_ids, "receiver")
        try:
            desk = desk_for(attempt.number)
            return _hand_out(
                await desk.add_receiver(
                    anchor, Audience(audience, org_ids[audience]), order.id.encode()
                )
            )
        except KeyError as error:
            raise FormError(f"no document with the anchor {anchor.hex()} here") from error

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

    more = _change_actions(desk_for)
    made = {"issue": issue, "add-receiver": add_receiver, "erase": erase, **more}
    return _checked(made, ISSUER_FIELDS)


def _hand_out(issued: Issued) -> Answer:
    """Return the answer with a package; it is made again when it is asked for again."""
    details = {
        "anchor": issued.anchor.hex(),
        "doc_id": issued.package.header.doc_id,
        "height": issued.package.anchors[-1].registered_height,
    }
    made = {"package.json": encode_package(issued.package)}
    return Answer(True, details, made, is_made_again=True)  # or a copy outlives its erasure


def _change_actions(desk_for: PerTry[RecordingIssuer]) -> dict[str, Action]:
    """Return the actions that change the state of a document.

    All its anchors, for every receiver, are changed, or with `only` the one that is named.
    """

    async def change(attempt: Attempt, send: Send) -> Answer:
        return await _change(attempt, desk_for(attempt.number), send)

    async def revoke(attempt: Attempt) -> Answer:
        order = attempt.order
        reason, since = _reason(order.text("reason", "CORRECTED")), order.integer("since", 0)

        async def send(issuer: Issuer, item: Anchor) -> TransactionReceipt:
            if item.batch is not None:
                return await issuer.revoke_leaf(item, reason)
            if since and item.anchor != order.hex("anchor", 32):
                # What was registered later ends with its registration.
                record = await issuer.registry.get_record(issuer.member.org_id, item.anchor)
                return await issuer.revoke(
                    item.anchor, reason, max(since, record.registered_height)
                )
            return await issuer.revoke(item.anchor, reason, since)

        return await change(attempt, send)

    async def suspend(attempt: Attempt) -> Answer:
        return await change(attempt, lambda issuer, item: issuer.suspend(item.anchor))

    async def reinstate(attempt: Attempt) -> Answer:
        return await change(attempt, lambda issuer, item: issuer.reinstate(item.anchor))

    async def supersede(attempt: Attempt) -> Answer:
        newer = attempt.order.hex("newer", 32)
        successors = {item.audience: item for item in desk_for(0).list_anchors(newer)}
        named = attempt.order.hex("anchor", 32)
        (audience,) = (
            item.audience for item in desk_for(0).list_anchors(named) if item.anchor == named
        )
        if audience and successors.keys() != {""} and audience not in successors:
            raise FormError(
                f"the newer document is not for {audience}: add it there, or revoke the older one"
            )

        async def send(issuer: Issuer, item: Anchor) -> TransactionReceipt:
            successor = successors.get(item.audience)
            if item.anchor != named:
                # Another's successor would link the two, and only what is in force has one.
                state, _ = await issuer.read_state(item)
                if successor is None or state is AnchorState.SUSPENDED:
                    return await issuer.revoke(item.anchor, RevokeReason.CORRECTED)
            return await issuer.supersede(
                item.anchor, newer if successor is None else successor.anchor
            )

        return await change(attempt, send)

    return {item.__name__: item for item in (revoke, suspend, reinstate, supersede)}


async def _change(attempt: Attempt, desk: RecordingIssuer, send: Send) -> Answer:
    """Change all anchors of an order's document, and say which.

    The one that the order names comes first: if it is refused, nothing is changed, unless it was
    changed before and others are left. A refusal of another does not keep the rest as they were.
    """
    order = attempt.order
    named, wanted = order.hex("anchor", 32), _LEADS_TO[order.action]
    anchors = sorted(desk.list_anchors(named), key=lambda item: item.anchor != named)
    height, changed, refusals = 0, [], []
    for item in anchors[:1] if order.flag("only") else anchors:
        is_done = True
        try:
            height = (await send(desk.issuer, item)).height
        except RegistryRefused as refusal:
            state, successor = await desk.issuer.read_state(item)
            is_done = attempt.is_again and state is wanted  # by an earlier try
            if item.anchor == named:
                newer = order.hex("newer", 32) if order.action == "supersede" else successor
                if state is not wanted or successor != newer:
                    raise
                before = refusal
            elif state is not wanted and AnchorState.NONE < state < AnchorState.REVOKED:
                refusals.append(refusal)
        if is_done:
            changed.append({"anchor": item.anchor.hex(), "for": item.audience})
    if refusals or not changed:
        raise refusals[0] if refusals else before
    done = {"height": height} if height else {"was_done_before": True}
    return Answer(True, {**done, "changed": changed})


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

    return _checked({"witness": _once(witness, is_made)}, WITNESS_FIELDS)


def verifier_actions(
    desk_for: PerTry[RecordingVerifier],
    signer_for: PerTry[Signer],
    now_s: Callable[[], int],
    names: Names = NO_NAMES,
    *,
    confirmations: int = 0,
    is_offline: bool = False,
) -> dict[str, Action]:
    """Return the actions of a verifier's desk; `names` is what its reports call organisations.

    A verification asks nodes of `confirmations` further institutions, or with `is_offline` none:
    an order that says otherwise is refused.
    """

    async def request(attempt: Attempt) -> Answer:
        order = attempt.order
        schema, purpose = order.text("schema"), order.text("purpose", Purpose.LOAN)
        verifier = desk_for(attempt.number).verifier
        _one_of(schema, verifier.member.schemas, "schema")
        _one_of(purpose, list(Purpose), "purpose")
        fields = order.texts("fields")
        asked = verifier.request(
            schema=schema, purpose=purpose, now_s=now_s(), fields=fields or [""]
        )
        return Answer(True, {"nonce": asked.nonce}, {"request.json": encode_request(asked)})

    async def consent(attempt: Attempt) -> TransactionReceipt:
        item = decode_ledger_consent(attempt.order.file("ledger-consent.json"))
        send = end_consent if item.is_withdrawal else log_consent
        return await send(signer_for(attempt.number), item)

    async def verify(attempt: Attempt) -> Answer:
        order = attempt.order
        subject = _read_subject(order)  # all fields are read before the presentation is used up
        _check_sources(order, confirmations, is_offline=is_offline)
        language = _read_language(order)
        report = await desk_for(attempt.number).receive(
            order.file("sealed.bin"),
            subject,
            password=order.text("password", ""),
            files={path: file.data for path, file in order.attachments().items()},
            attempt=order.number,
            show_rejected=order.flag("show_rejected"),
        )
        if report.verdict is Verdict.INDETERMINATE:
            raise UndecidedError(report)
        title = f"{order.id} at {desk_for(attempt.number).verifier.member.name}"
        files = {"report.html": render_html(report, title, names, language).encode()}
        if report.shown is not None:
            files["shown.json"] = encode_shown(report, names)
        return Answer(report.verdict is Verdict.ACCEPT, describe_report(report, names), files)

    async def is_made(attempt: Attempt) -> bool:
        item = decode_ledger_consent(attempt.order.file("ledger-consent.json"))
        known = await signer_for(attempt.number).registry.get_consent(item.id)
        return bool(known.withdrawn_height if item.is_withdrawal else known.granted_height)

    made = {"request": request, "consent": _once(consent, is_made), "verify": verify}
    return _checked(made, VERIFIER_FIELDS)


def _read_subject(order: Order) -> Subject:
    id_type, separator, id_value = order.text("subject").partition(":")
    if not separator:
        raise FormError("verify: 'subject' must be a type and a number, such as USCC:9144…")
    return Subject(id_type, id_value)


def _read_language(order: Order) -> Language:
    text = order.text("lang", Language.EN)
    _one_of(text, list(Language), "language")
    return Language(text)


def _check_sources(order: Order, confirmations: int, *, is_offline: bool) -> None:
    """Refuse an order that asks for other sources than the desk has."""
    if order.flag("offline") is not is_offline or len(order.texts("confirm")) != confirmations:
        raise FormError(
            "verify: 'confirm' and 'offline' are for the command `lowu verify`; a desk asks its "
            "own nodes"
        )


def wallet_actions(
    wallet: Wallet, chain_id: int, read_trust: Callable[[], Awaitable[Trust]]
) -> dict[str, Action]:
    """Return the actions of a holder's wallet.

    `read_trust` returns what is known of the chain now, to tell whose signatures these are.
    """

    async def key(attempt: Attempt) -> Answer:
        return Answer(True, {"holder_key": wallet.holder.key.public_key.hex()})

    async def carry(attempt: Attempt) -> Answer:
        wallet.holder.trust = await read_trust()
        return Answer(True, {"doc_id": wallet.carry(attempt.order.file("package.json"))})

    async def consent(attempt: Attempt) -> Answer:
        order = attempt.order
        wallet.holder.trust = await read_trust()
        request = decode_request(order.file("request.json"))
        doc_id = wallet.choose(request, order.text("document", ""))
        is_withdrawal = order.flag("withdraw")
        if is_withdrawal:
            receipt = wallet.find_consent(doc_id, request.receiver, request.purpose)
            if receipt is None:
                raise FormError("there is no consent to withdraw")
        else:
            receipt = wallet.agree(doc_id, request, _read_agreement(attempt, wallet))
        item = wallet.holder.authorise(receipt, chain_id, is_withdrawal=is_withdrawal)
        if is_withdrawal:
            wallet.withdrawn[receipt.digest] = b""
        files = {"ledger-consent.json": encode_ledger_consent(item)}
        return Answer(True, {"doc_id": doc_id, "consent": receipt.digest.hex()}, files)

    async def present(attempt: Attempt) -> Answer:
        order = attempt.order
        wallet.holder.trust = await read_trust()
        request = decode_request(order.file("request.json"))
        doc_id = wallet.choose(request, order.text("document", ""))
        fields = order.texts("fields")
        shown = wallet.preview(doc_id, request, fields)
        sealed = wallet.present(doc_id, request, fields, order.text("password", ""))
        details = {
            "doc_id": doc_id,
            "shown": [leaf.path for leaf in shown.disclosures],
            "warnings": wallet.warn(shown, request),
        }
        return Answer(True, details, {"sealed.bin": sealed})

    made = {"key": key, "carry": carry, "consent": consent, "present": present}
    return _checked(made, WALLET_FIELDS)


def _read_agreement(attempt: Attempt, wallet: Wallet) -> Agreement:
    """Return what a holder agrees to, with an order; `FormError` asks for what is missing."""
    order = attempt.order
    request = decode_request(order.file("request.json"))
    asked = wallet.holder.find_questions(
        wallet.choose(request, order.text("document", "")), request
    )
    given = Agreement(order.flag("cross_border"), order.flag("sensitive"))
    if asked.to_cross_border and not given.to_cross_border:
        raise FormError(
            f"{request.receiver} is in another jurisdiction than the issuer: the holder has to "
            "agree to that separately (cross_border)"
        )
    if asked.to_sensitive and not given.to_sensitive:
        raise FormError(
            f"{request.schema} has sensitive data: the holder has to agree to showing that "
            "separately (sensitive)"
        )
    return given


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
