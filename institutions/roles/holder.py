"""The holder: a company or person that keeps packages and decides which fields a receiver sees.

The holder has no account on the ledger and talks to no node. The holder hands a consent to an
institution, which logs it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, MutableMapping

from lowu.institutions.documents.schemas import SCHEMAS
from lowu.institutions.exchange.consent import (
    Basis,
    ConsentReceipt,
    LedgerConsent,
    ledger_address,
    sign_for_ledger,
)
from lowu.institutions.exchange.presentation import (
    Presentation,
    build_presentation,
    encode_presentation,
    seal,
)
from lowu.institutions.exchange.request import Request
from lowu.institutions.package.format import Package, decode_package
from lowu.institutions.package.forms import FormError, covers
from lowu.institutions.package.salt_seed import find_foreign_leaf, open_seed
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.verification.checks import find_damage

CONSENT_VALID_S = 30 * 86_400
RETENTION_DAYS = 365


class Holder:
    """Keeps packages by document id, and the ledger keys of the consents it gave."""

    def __init__(
        self,
        name: str,
        key: DocumentKey,
        *,
        packages: MutableMapping[bytes, Package] | None = None,
        ledger_keys: MutableMapping[bytes, bytes] | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.name = name
        self.key = key
        self._random = randomness
        self._packages: MutableMapping[bytes, Package] = {} if packages is None else packages
        self._ledger_keys: MutableMapping[bytes, bytes] = {} if ledger_keys is None else ledger_keys
        """By consent digest: the key that can end the consent. Stored maps outlive the process."""

    def receive(self, data: bytes) -> str:
        """Check and keep a package from an issuer; return its document id.

        Raises:
            FormError: the package is malformed, was changed on its way, is for another holder, or
                has leaves that it does not show.
        """
        package = decode_package(data)
        damage = find_damage(package)
        if not damage:
            seed = open_seed(package, self.key)
            foreign = find_foreign_leaf(package, seed, SCHEMAS[package.header.schema].number)
            damage = foreign and f"{foreign}, does not follow from its seed"
        if damage:
            raise FormError(f"the package is damaged: {damage}; ask its issuer for it again")
        return self.keep(package)

    def keep(self, package: Package) -> str:
        """Keep a package without checking it; return its document id."""
        self._packages[bytes.fromhex(package.header.doc_id)] = package
        return package.header.doc_id

    def find(self, doc_id: str) -> Package:
        """Return a package; `KeyError` if this holder does not have it."""
        try:
            return self._packages[bytes.fromhex(doc_id)]
        except (KeyError, ValueError) as error:
            raise KeyError(f"{self.name} has no document {doc_id}") from error

    def drop(self, doc_id: str) -> None:
        """Destroy a package; `KeyError` if this holder does not have it."""
        del self._packages[bytes.fromhex(doc_id)]

    @property
    def packages(self) -> list[Package]:
        """All packages."""
        return list(self._packages.values())

    def consent(
        self,
        doc_id: str,
        request: Request,
        *,
        now_s: int,
        fields: Iterable[str] | None = None,
        purpose: str | None = None,
        valid_s: int = CONSENT_VALID_S,
    ) -> ConsentReceipt:
        """Agree to show a document as a request asks, or more narrowly.

        The receipt always agrees to both extra questions: cross-border transfer and sensitive
        data.
        """
        header = self.find(doc_id).header
        ledger_key = self._draw_ledger_key()
        chosen = request.fields if fields is None else tuple(fields)
        receipt = ConsentReceipt(
            receipt_id=self._random(16).hex(),
            holder_key=self.key.public_key.hex(),
            doc_id=doc_id,
            provider_org=header.issuer_org,
            receiver=request.receiver,
            purpose=request.purpose if purpose is None else purpose,
            fields=(*header.must_disclose, *chosen),
            basis=Basis.PIPL if header.jurisdiction == "SZ" else Basis.PDPO,
            is_cross_border=True,
            is_sensitive=True,
            retention_days=RETENTION_DAYS,
            onward_transfer="",
            issued_at=now_s,
            expires_at=now_s + valid_s,
            ledger_key=ledger_address(ledger_key),
        ).signed(self.key)
        self._ledger_keys[receipt.digest] = ledger_key
        return receipt

    def _draw_ledger_key(self) -> bytes:
        # Below 2^255, so every drawn number is a valid private key of secp256k1.
        number = int.from_bytes(self._random(32), "big") >> 1
        return max(1, number).to_bytes(32, "big")

    def authorise(
        self, receipt: ConsentReceipt, chain_id: int, *, is_withdrawal: bool = False
    ) -> LedgerConsent:
        """Return the signed message with which an institution logs or ends a consent."""
        key = self._ledger_keys[receipt.digest]
        return sign_for_ledger(key, chain_id, receipt, is_withdrawal=is_withdrawal)

    def build(
        self,
        doc_id: str,
        request: Request,
        consent: ConsentReceipt | None,
        fields: Iterable[str] | None = None,
    ) -> Presentation:
        """Return a signed presentation of the requested fields, or of the chosen `fields`.

        Fields that the schema demands are not added to an explicit choice: a receiver refuses a
        presentation that hides them.

        Raises:
            KeyError: there is no such document, or none of its anchors is for that receiver.
            ValueError: none of its fields is chosen.
        """
        package = self.find(doc_id)
        must = package.header.must_disclose
        chosen = (*must, *request.fields) if fields is None else tuple(fields)
        shown = build_presentation(package, request, consent, lambda path: covers(chosen, path))
        return shown.signed(self.key)

    def present(
        self,
        doc_id: str,
        request: Request,
        consent: ConsentReceipt | None,
        fields: Iterable[str] | None = None,
        *,
        password: str = "",
    ) -> bytes:
        """Return a presentation, sealed to the receiver that made the request."""
        shown = self.build(doc_id, request, consent, fields)
        return seal(encode_presentation(shown), request, password)
