"""Issuers, verifiers and holders with a store: they record each act before it takes effect.

A package is stored before its anchor is registered, so that an interrupted issuer registers the
same anchor again, which is idempotent. A request is stored before it is handed out, and a verdict
before it is returned.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lowu.contracts.named import UnknownName, printable
from lowu.contracts.registry import AnchorState, RevokeReason
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents.document import Document, Subject
from lowu.institutions.documents.schemas import Schemas
from lowu.institutions.exchange.consent import (
    ConsentReceipt,
    consent_fields,
    is_agreed,
    read_consent,
)
from lowu.institutions.exchange.erasure import ErasureReceipt, decode_erasure, encode_erasure
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.exchange.request import Request
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.containers import find_gaps, read_shown
from lowu.institutions.package.format import (
    Anchor,
    Package,
    Profile,
    decode_package,
    encode_package,
)
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.package.tags import FIRST_VERSION
from lowu.institutions.roles.asked import (
    ATTEMPT_BYTES,
    NO_ATTEMPT,
    decode_asked,
    encode_asked,
)
from lowu.institutions.roles.holder import Agreement, Holder
from lowu.institutions.roles.issuer import Audience, Issued, Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.service.store import Store
from lowu.institutions.verification.heads import decode_head, encode_head
from lowu.institutions.verification.report import describe_report
from lowu.institutions.verification.verdicts import Report


def _encode_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


class RecordingIssuer:
    """An issuer that keeps a record of what it issued and erased."""

    def __init__(self, issuer: Issuer, store: Store) -> None:
        self.issuer = issuer
        self._store = store
        self.issued = store.open("issued", encode_package, decode_package)
        """By anchor: the package. Its anchor's height is 0 until the registration is known."""
        self._ordered = store.open("ordered", bytes, bytes)
        """By an order's name: the anchor of its package."""
        self.refused = store.open("refused", encode_package, decode_package)
        """By anchor: the package that the registry refused to register."""
        self.erasures = store.open("erasures", encode_erasure, decode_erasure)
        """By document id."""

    async def issue(
        self,
        document: Document,
        *,
        audience: Audience,
        holder_key: bytes,
        issued_at_s: int,
        profile: Profile = Profile.FIELDS,
        order: bytes = b"",
    ) -> Issued:
        """Build a package, store it, and register its anchor.

        With an order's name, a repeated call returns the same package.
        """
        known = self._ordered.get(order) if order else None
        if known is not None and self._find_erasure(known) is not None:
            raise ValueError("the document of this order was issued and has since been erased")
        if known is not None and known in self.issued:
            package = self.issued[known]
            if package.anchors[-1].registered_height:
                return Issued(package, known)
            return await self._register(package)
        await self.issuer.require_conforming(document, audience, issued_at_s, profile)
        package = self.issuer.build_package(
            document,
            audience=audience,
            holder_key=holder_key,
            issued_at_s=issued_at_s,
            profile=profile,
        )
        anchor = package.anchors[-1].anchor
        with self._store.together():
            self.issued[anchor] = package
            if order:
                self._ordered[order] = anchor
        return await self._register(package)

    async def add_receiver(self, anchor: bytes, audience: Audience, order: bytes = b"") -> Issued:
        """Register another anchor of a document, for another receiver; only once for each.

        Raises:
            KeyError: this issuer has no such document.
            ValueError: the document is not in force, or there is no room for another receiver.
        """
        made = self._find_packages(self.issued[anchor].header.doc_id)
        package = max(made, key=lambda item: len(item.anchors))
        *others, last = package.anchors
        for item in others:
            if item.org == audience.org:
                return Issued(package, item.anchor)
        if last.org != audience.org:
            schema = self.issuer.member.schemas[package.header.schema]
            await self.issuer.require_terms(schema, audience)
            await self._require_in_force(package.anchors)
            package = self.issuer.readdress(package, audience)
            with self._store.together():
                self.issued[package.anchors[-1].anchor] = package
                if order:
                    self._ordered[order] = package.anchors[-1].anchor
        elif last.registered_height:
            return Issued(package, last.anchor)
        return await self._register(package)

    def _find_packages(self, doc_id: str) -> list[Package]:
        """Return all packages made of a document."""
        return [item for item in self.issued.readable() if item.header.doc_id == doc_id]

    async def _require_in_force(self, anchors: Sequence[Anchor]) -> None:
        """Raise `ValueError` if a document is not in force any more for one of its receivers."""
        for item in anchors:
            state, _ = await self.issuer.read_state(item)
            if state is AnchorState.SUSPENDED or state >= AnchorState.REVOKED:
                raise ValueError(
                    f"the document is {state.name} for {item.audience}, so it gets no other "
                    "receiver; issue it anew"
                )

    async def _register(self, package: Package) -> Issued:
        """Register a package's last anchor; an anchor of a document that ended meanwhile ends."""
        *others, last = package.anchors
        anchor = last.anchor
        try:
            issued = await self.issuer.register(package)
            try:
                await self._require_in_force(others)
            except ValueError:
                await self.issuer.revoke(anchor, RevokeReason.CORRECTED)
                raise
        except (RegistryRefused, ValueError):
            with self._store.together():  # kept, but not tried again
                self.refused[anchor] = package
                del self.issued[anchor]
            raise
        self.issued[anchor] = issued.package
        return issued

    async def register_left(self) -> list[Issued]:
        """Register stored packages that may not be registered, as their call may have been lost.

        A package that is refused now, say because its key was retired, moves to `refused`.
        """
        made = self.issued.readable()
        left = [item for item in made if not item.anchors[-1].registered_height]
        done = []
        for package in left:
            with suppress(RegistryRefused, ValueError):
                done.append(await self._register(package))
        return done

    async def erase(self, anchor: bytes, *, reason: str, now_s: int) -> ErasureReceipt:
        """Erase the document behind an anchor, and mark all its anchors erased on the ledger.

        The signed receipt is stored first. Once the ledger has the marks, the packages are
        deleted, with seed and blinds. A repeated call returns the same receipt.

        Raises:
            KeyError: this issuer has no such document.
        """
        with self._store.together():
            receipt = self._find_erasure(anchor)
            if receipt is None:
                doc_id = self.issued[anchor].header.doc_id
                made = self._find_packages(doc_id)
                receipt = self.issuer.draft_erasure(made, reason=reason, erased_at_s=now_s)
                self.erasures[bytes.fromhex(doc_id)] = receipt
        await self.issuer.note_erasure(receipt)
        with self._store.together():
            for item in receipt.anchors:
                self.issued.pop(item.anchor, None)
        self._store.purge()
        return receipt

    def list_anchors(self, anchor: bytes) -> list[Anchor]:
        """Return all anchors of the document behind an anchor, for every receiver.

        Only the given one if this issuer keeps no such document: then it may still be registered.
        """
        known = self.issued.get(anchor)
        if known is None:
            return [Anchor("", 0, b"", anchor)]
        made = self._find_packages(known.header.doc_id)
        return list({item.anchor: item for package in made for item in package.anchors}.values())

    def find_orders(self, receipt: ErasureReceipt) -> list[str]:
        """Return the names of the orders that issued an erased document."""
        anchors = {item.anchor for item in receipt.anchors}
        return [order.decode() for order, anchor in self._ordered.items() if anchor in anchors]

    def _find_erasure(self, anchor: bytes) -> ErasureReceipt | None:
        for receipt in self.erasures.values():
            if any(item.anchor == anchor for item in receipt.anchors):
                return receipt
        return None


class RecordingVerifier:
    """A verifier that keeps its requests and its verdicts."""

    def __init__(
        self,
        member: Member,
        *,
        registry: Registry | None,
        signer: Signer | None,
        store: Store,
        clock_s: Callable[[], float],
        other_sides: Sequence[Registry] = (),
        trust: Trust | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.verifier = Verifier(
            member,
            registry=registry,
            signer=signer,
            other_sides=other_sides,
            trust=trust,
            requests=store.open("requests", encode_asked, decode_asked),
            heads=store.open("heads", encode_head, decode_head),
            clock_s=clock_s,
            randomness=randomness,
        )
        self.verdicts = store.open("verdicts", _encode_json, json.loads)
        """By request nonce and attempt, or a count if there is no attempt: the report as JSON."""

    async def receive(
        self,
        sealed: bytes,
        subject: Subject,
        *,
        password: str = "",
        files: Mapping[str, bytes] | None = None,
        attempt: bytes = NO_ATTEMPT,
        show_rejected: bool = False,
    ) -> Report:
        """Check what a holder sent, and store the verdict, without what is shown.

        See `Verifier.receive`.
        """
        report = await self.verifier.receive(
            sealed,
            subject,
            password=password,
            files=files or {},
            attempt=attempt,
            show_rejected=show_rejected,
        )
        number = attempt
        if attempt == NO_ATTEMPT:
            number = len(self.verdicts).to_bytes(ATTEMPT_BYTES, "big")
        self.verdicts[sealed[:16] + number] = describe_report(replace(report, shown=None))
        return report


class Wallet:
    """A holder with a store for packages, consents and their keys, and presentations."""

    def __init__(
        self,
        name: str,
        key: DocumentKey,
        store: Store,
        *,
        trust: Trust | None = None,
        schemas: Schemas = SCHEMAS,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock_s = clock_s
        self.holder = Holder(
            name,
            key,
            trust=trust,
            schemas=schemas,
            clock_s=clock_s,
            packages=store.open("packages", encode_package, decode_package),
            ledger_keys=store.open("ledger_keys", bytes, bytes),
        )
        self.consents = store.open("consents", _encode_consent, _decode_consent)
        """By digest."""
        self.withdrawn = store.open("withdrawn", bytes, bytes)
        """By digest: empty; the consents whose withdrawal the holder has signed."""
        self.presented = store.open("presented", _encode_json, json.loads)
        """By request nonce: what was shown, to which receiver, and when."""
        self.erasures = store.open("erasures", encode_erasure, decode_erasure)
        """By document id."""

    def carry(self, data: bytes) -> str:
        """Check and keep a package from an issuer; return its document id.

        Raises:
            FormError: see `Holder.receive`; or this holder has a receipt that it was erased.
        """
        doc_id = decode_package(data).header.doc_id
        if bytes.fromhex(doc_id) in self.erasures:
            raise FormError(
                f"{self.holder.name} has destroyed document {doc_id}, and has its issuer's receipt"
            )
        return self.holder.receive(data)

    def agree(self, doc_id: str, request: Request, agreement: Agreement) -> ConsentReceipt:
        """Consent to a request for a document, and keep the receipt."""
        receipt = self.holder.consent(doc_id, request, agreement=agreement)
        self.consents[receipt.digest] = receipt
        return receipt

    def choose(self, request: Request, doc_id: str = "") -> str:
        """Return the id of the newest document that fits a request; with `doc_id`, only that one.

        Raises:
            KeyError: no document fits.
        """
        fitting = [
            item.header
            for item in self.holder.packages
            if item.header.schema == request.schema
            and any(anchor.audience == request.receiver for anchor in item.anchors)
            and doc_id in ("", item.header.doc_id)
        ]
        if not fitting:
            told = f" with id {doc_id}" if doc_id else ""
            wanted = printable(f"{request.schema} for {request.receiver}")
            raise UnknownName(f"{self.holder.name} has no {wanted}{told}")
        return max(fitting, key=lambda header: header.issued_at).doc_id

    def preview(self, doc_id: str, request: Request, fields: Sequence[str] = ()) -> Presentation:
        """Return what `present` would seal; nothing is recorded. See `Holder.build`."""
        receipt = self.find_consent(doc_id, request.receiver, request.purpose)
        return self.holder.build(doc_id, request, receipt, tuple(fields) or None)

    def warn(self, shown: Presentation, request: Request) -> list[str]:
        """Return why a receiver will refuse what would be shown, as far as a holder can tell."""
        warnings, receipt = [], shown.consent
        if receipt is None:
            warnings.append("no consent was given, so the receiver will refuse it")
        elif receipt.digest in self.withdrawn:
            warnings.append("the consent was withdrawn, so the receiver will refuse it")
        elif receipt.expires_at <= self._clock_s():
            warnings.append("the consent has expired, so the receiver will refuse it")
        if receipt is not None:
            beyond = [
                leaf.path for leaf in shown.disclosures if not is_agreed(leaf, receipt.fields)
            ]
            if beyond:
                names = ", ".join(path or "the whole document" for path in beyond[:5])
                warnings.append(f"beyond the consent, so the receiver will refuse it: {names}")
        if shown.header.v != FIRST_VERSION:
            known = read_shown(shown.disclosures)
            missing = [
                *find_gaps(known, request.fields),
                *find_gaps(known, shown.header.must_disclose, may_be_absent=False),
            ]
            if missing:
                names = ", ".join(path or "the whole document" for path in missing[:5])
                warnings.append(f"not shown in full, so the receiver will refuse it: {names}")
        return warnings

    def present(
        self,
        doc_id: str,
        request: Request,
        fields: Sequence[str] = (),
        password: str = "",
    ) -> bytes:
        """Return a sealed presentation under the newest consent; record what is shown."""
        receipt = self.find_consent(doc_id, request.receiver, request.purpose)
        chosen = tuple(fields) or None
        sealed = self.holder.present(doc_id, request, receipt, chosen, password=password)
        self.presented[bytes.fromhex(request.nonce)] = {
            "doc_id": doc_id,
            "receiver": request.receiver,
            "purpose": request.purpose,
            "fields": list(fields or request.fields),
            "consent": None if receipt is None else receipt.digest.hex(),
            "presented_at": int(self._clock_s()),
        }
        return sealed

    def forget(self, receipt: ErasureReceipt) -> None:
        """Delete a document that its issuer erased, and keep the erasure receipt.

        Raises:
            KeyError: this holder does not have the document.
            ValueError: the receipt does not list all of its anchors.
        """
        package = self.holder.find(receipt.doc_id)
        if not receipt.is_of(package):
            raise ValueError("the receipt does not list all anchors of this document")
        with self._store.together():
            self.erasures[bytes.fromhex(receipt.doc_id)] = receipt
            self.holder.drop(receipt.doc_id)
        self._store.purge()

    def find_consent(self, doc_id: str, receiver: str, purpose: str) -> ConsentReceipt | None:
        """Return the newest consent to show a document to a receiver for a purpose."""
        wanted = (doc_id, receiver, purpose)
        found = [
            item
            for item in self.consents.readable()
            if (item.doc_id, item.receiver, item.purpose) == wanted
        ]
        return max(found, key=lambda item: item.issued_at, default=None)


def _encode_consent(receipt: ConsentReceipt) -> bytes:
    return _encode_json(consent_fields(receipt))


def _decode_consent(data: bytes) -> ConsentReceipt:
    return read_consent(json.loads(data))
