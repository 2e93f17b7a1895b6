"""Institutions and holders as programs that remember: what they do is in a store before it counts.

A package is stored before its anchor is registered, so that an issuer who was interrupted registers
the same anchor again, which is idempotent; a request before it is handed out; a verdict before
anybody is told of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from institutions.consent import ConsentReceipt, consent_fields, read_consent
from institutions.documents import Document, Subject
from institutions.holder import Holder
from institutions.issuer import Issued, Issuer
from institutions.package import Package, Profile, decode_package, encode_package
from institutions.registry import Registry, RegistryRefused, Signer
from institutions.reports import describe_report
from institutions.signing import DocumentKey
from institutions.store import Store
from institutions.trust import Trust
from institutions.verdicts import Report
from institutions.verifier import Verifier, decode_asked, encode_asked


def _encode_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


class IssuerDesk:
    """An issuer that knows what it has issued."""

    def __init__(self, issuer: Issuer, store: Store) -> None:
        self.issuer = issuer
        self.issued = store.open("issued", encode_package, decode_package)
        """By anchor: the package; its anchor's height is 0 until it is registered."""

    async def issue(
        self,
        document: Document,
        *,
        audience: str,
        holder_key: bytes,
        issued_at_s: int,
        profile: Profile = Profile.FIELDS,
    ) -> Issued:
        """Build a package, store it, register its anchor."""
        package = self.issuer.build_package(
            document,
            audience=audience,
            holder_key=holder_key,
            issued_at_s=issued_at_s,
            profile=profile,
        )
        return await self._register(package)

    async def _register(self, package: Package) -> Issued:
        anchor = package.anchors[-1].anchor
        self.issued[anchor] = package
        try:
            issued = await self.issuer.register(package)
        except RegistryRefused:
            del self.issued[anchor]  # it never will be registered
            raise
        self.issued[anchor] = issued.package
        return issued

    async def register_left(self) -> list[Issued]:
        """Register what was stored and, perhaps, not registered: the call may have been lost."""
        left = [item for item in self.issued.values() if not item.anchors[-1].registered_height]
        return [await self._register(package) for package in left]


class VerifierDesk:
    """A verifier that knows what it asked for and what it decided."""

    def __init__(
        self,
        *,
        name: str,
        org_id: int,
        jurisdiction: str,
        registry: Registry | None,
        document_key: DocumentKey,
        signer: Signer | None,
        store: Store,
        other_sides: Sequence[Registry] = (),
        trust: Trust | None = None,
    ) -> None:
        self.verifier = Verifier(
            name=name,
            org_id=org_id,
            jurisdiction=jurisdiction,
            registry=registry,
            document_key=document_key,
            signer=signer,
            other_sides=other_sides,
            trust=trust,
            requests=store.open("requests", encode_asked, decode_asked),
        )
        self.verdicts = store.open("verdicts", _encode_json, json.loads)
        """By nonce of the request, and how many came before: the report as JSON."""

    async def receive(
        self,
        sealed: bytes,
        subject: Subject,
        *,
        password: str = "",
        files: Mapping[str, bytes] | None = None,
    ) -> Report:
        """Check what a holder has sent, and store the verdict."""
        report = await self.verifier.receive(sealed, subject, password=password, files=files or {})
        number = len(self.verdicts).to_bytes(4, "big")
        self.verdicts[sealed[:16] + number] = describe_report(report)
        return report


class Wallet:
    """A holder that keeps packages, and the keys of consents."""

    def __init__(self, name: str, key: DocumentKey, store: Store) -> None:
        self.holder = Holder(
            name,
            key,
            packages=store.open("packages", encode_package, decode_package),
            ledger_keys=store.open("ledger_keys", bytes, bytes),
        )
        self.consents = store.open("consents", _encode_consent, _decode_consent)
        """By digest."""

    def find_consent(self, doc_id: str, receiver: str, purpose: str) -> ConsentReceipt | None:
        """Return the newest consent to show a document to a receiver for a purpose."""
        wanted = (doc_id, receiver, purpose)
        found = [
            item
            for item in self.consents.values()
            if (item.doc_id, item.receiver, item.purpose) == wanted
        ]
        return max(found, key=lambda item: item.issued_at, default=None)


def _encode_consent(receipt: ConsentReceipt) -> bytes:
    return _encode_json(consent_fields(receipt))


def _decode_consent(data: bytes) -> ConsentReceipt:
    return read_consent(json.loads(data))


def read_document(data: bytes) -> Document:
    """Return the document in a file: an object with schema, subject, report_time and content.

    Raises:
        ValueError: it is not one.
    """
    try:
        raw = json.loads(data)
        id_type, id_value = raw["subject"]
        content = raw["content"]
        if not isinstance(content, dict):
            raise TypeError("content is not an object")
        return Document(
            str(raw["schema"]),
            Subject(str(id_type), str(id_value)),
            int(raw["report_time"]),
            content,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "not a document: an object with schema, subject [type, number], report_time (seconds "
            f"since 1970) and content ({type(error).__name__}: {error})"
        ) from error


def write_document(document: Document) -> bytes:
    """Return a document as a file."""
    raw = {
        "schema": document.schema,
        "subject": [document.subject.id_type, document.subject.id_value],
        "report_time": document.report_time_s,
        "content": document.content,
    }
    return json.dumps(raw, ensure_ascii=False, indent=1).encode()
